"""Keys and passwords: where they go, and that they are never printed or kept.

A login or a key that stands in an address (`https://user:password@host`, `?api_key=…`) is taken out of the address as
soon as the address is read, and remembered here for the requests to that host. Keys come from the environment:

- `OPENAI_API_KEY` goes to api.openai.com and to the host of `OPENAI_BASE_URL`, nowhere else;
- `AGENTKD_API_KEY_` and the host's name in capitals (`AGENTKD_API_KEY_API_TOGETHER_XYZ`) goes to that host;
- `AGENTKD_API_KEY` goes to any other server that the user names.

No key goes over plain http to another machine, unless the user says so (`--insecure`).
"""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from agentkd.errors import UserError

OPENAI = "api.openai.com"
MASK = "***"
SHORTEST = 4  # characters of a secret that is masked in messages: shorter ones are parts of words
LONG = 16  # characters of a secret that is masked in answers, too

_AUTHORITY = re.compile(r"(https?://)((?:(?!,\s*https?://)[^/?#\s])*)", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[^\s#,]+", re.IGNORECASE)
_SECRET_FIELD = re.compile(r"key|token|secret|passw|pwd|signature|^sig$|credential|^auth", re.IGNORECASE)

_logins: dict[str, str] = {}  # "user:password" by origin
_queries: dict[str, tuple[tuple[str, str], ...]] = {}  # secret fields of the query by origin
_secrets: set[str] = set()


@dataclass(frozen=True)
class Access:
    """What a request to an address must carry: headers, and fields of the query.

    `variable` names the variable that holds the key, or that may hold one; `note` says, for the user, that a key was
    withheld and why."""

    headers: dict[str, str]
    query: tuple[tuple[str, str], ...]
    variable: str
    note: str


def take_secrets(text: str) -> str:
    """Take logins and keys out of the addresses in a text, remember them, and return the text without them.

    Raises UserError, which does not repeat it, for a password that is not percent-encoded."""

    def without_login(found: re.Match[str]) -> str:
        login, at, host = found[2].rpartition("@")
        origin = _origin(urlsplit(f"{found[1]}{host}"))
        if at and login:
            user, _, password = login.partition(":")
            _logins[origin] = f"{unquote(user)}:{unquote(password)}"
            _remember(password, unquote(password), basic_login(_logins[origin]).removeprefix("Basic "))
        return f"{found[1]}{host}"

    def without_keys(found: re.Match[str]) -> str:
        address, mark, query = found[0].partition("?")
        fields = parse_qsl(query, keep_blank_values=True)
        secret = tuple(field for field in fields if _SECRET_FIELD.search(field[0]))
        if not secret:
            return found[0]
        _queries[_origin(urlsplit(address))] = secret
        _remember(*(value for _, value in secret))
        rest = urlencode([field for field in fields if field not in secret])
        return f"{address}{mark if rest else ''}{rest}"

    return _ADDRESS.sub(without_keys, _AUTHORITY.sub(without_login, text))


def find_access(url: str, *, insecure: bool = False) -> Access:
    """Find what requests to an address must carry. Raises UserError for a key that cannot be sent."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = "AGENTKD_API_KEY_" + re.sub(r"[^A-Z0-9]", "_", host.upper())
    general = "OPENAI_API_KEY" if is_openai(host) else "AGENTKD_API_KEY"
    variable = named if os.environ.get(named, "").strip() else general
    key = os.environ.get(variable, "").strip()
    if re.search(r"[\x00-\x20\x7f]", key):
        raise UserError(f"{variable} has a blank or a line break within: set it to the key alone")
    origin, headers, note = _origin(parts), {}, ""
    plain = parts.scheme.lower() == "http" and not is_loopback(host)
    if login := _logins.get(origin):
        headers["Authorization"] = basic_login(login)
        if plain:
            note = f"the password for {origin} goes over plain http: others on the way can read it"
    elif key and plain and not insecure:
        note = (
            f"{variable} is not sent to {origin}: over plain http others on the way could read it "
            f"(use https, or allow it with --insecure)"
        )
    elif key:
        _remember(key)
        headers = key_headers(parts, key)
    elif general != "OPENAI_API_KEY" and os.environ.get("OPENAI_API_KEY", "").strip():
        note = (
            f"OPENAI_API_KEY is not sent to {origin}: it is for {OPENAI} and $OPENAI_BASE_URL. "
            f"If that server wants a key, set AGENTKD_API_KEY or {named}"
        )
    return Access(headers, _queries.get(origin, ()), variable, note)


def key_headers(parts: SplitResult, key: str) -> dict[str, str]:
    """The headers that carry a key. Azure reads another one, and gateways to Azure read either."""
    azure = is_azure(parts.hostname or "")
    headers = {} if azure else {"Authorization": f"Bearer {key}"}
    if azure or "api-version=" in parts.query:
        headers["api-key"] = key
    return headers


def basic_login(login: str) -> str:
    """The Authorization header of a login (RFC 7617)."""
    return f"Basic {b64encode(login.encode()).decode()}"


def is_openai(host: str) -> bool:
    """Whether a host is OpenAI's, or the one that the user has put in its place."""
    own = urlsplit(os.environ.get("OPENAI_BASE_URL", "").strip()).hostname
    return host in {OPENAI, own} - {None}


def is_azure(host: str) -> bool:
    """Whether a host is one of Azure's."""
    return host.endswith((".azure.com", ".azure-api.net"))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def mask_secrets(text: str) -> str:
    """Mask all known secrets in a message that a server wrote."""
    for secret in _secrets:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    return text


def mask_keys(body: bytes) -> bytes:
    """Mask keys in a response. Short passwords stay: they may be words of an answer."""
    for secret in _secrets:
        if len(secret) >= LONG and (found := secret.encode()) in body:
            body = body.replace(found, MASK.encode())
    return body


def _remember(*secrets: str) -> None:
    _secrets.update(secret for secret in secrets if secret)


def _origin(parts: SplitResult) -> str:
    """Scheme, host and port. Raises UserError where the port is not a number: it is part of a password then."""
    try:
        port = parts.port
    except ValueError:
        raise UserError(
            "an address has no valid port: write http://HOST:PORT/v1, and / ? # @ in a password as %2F %3F %23 %40"
        ) from None
    host = parts.hostname or ""
    return f"{parts.scheme.lower()}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
