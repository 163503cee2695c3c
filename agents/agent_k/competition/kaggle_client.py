"""The official client (package `kaggle`, 2.2), made fit for a library.

It is bound to one address, silent, has time limits, and its errors say what to do. Only one object
of it is changed, nothing is replaced globally:

- Importing it logs in, prints help and makes a configuration folder. It is imported with HOME and the KAGGLE_ variables
  set aside, so that it finds no credentials; then `authenticate()` is called, where its errors can be caught.
- AGENTKD_KAGGLE_URL sends all calls to another address, which must be on this machine: a switch for tests and trials.
  The client has no variable for that: it ignores KAGGLE_API_ENVIRONMENT=TEST or QA and calls production, so any value
  but PROD is refused here. `make_client` shows what the switch does.
- The client sets no time limit on a call: `guard_session` does.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.teacher.address import LOOPBACK
from agentkd.teacher.transport import parse_retry_after

URL = "AGENTKD_KAGGLE_URL"
SITE = "https://www.kaggle.com"
TIMEOUT = (20.0, 120.0)  # seconds to connect, and between two parts of an answer
TRIES = 5  # of a call that changes nothing
FIRST_PAUSE = 0.5  # seconds, doubled at each try
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is left alone


class NotFound(UserError):
    """Kaggle answered 404."""


# Errors of the client for an answer that is not JSON, or that holds something unknown to this version.
NOT_UNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError)


def read_endpoint() -> str | None:
    """Return the address in AGENTKD_KAGGLE_URL, None for kaggle.com.

    UserError if calls would go somewhere else. Only addresses of this machine are allowed, so that credentials
    go nowhere else; a proxy is set by HTTPS_PROXY."""
    url = os.environ.get(URL, "").rstrip("/")
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname not in LOOPBACK:
            raise UserError(f"{URL}={url} is not on this machine: give http://127.0.0.1:PORT, or unset it")
        return url
    environment = os.environ.get("KAGGLE_API_ENVIRONMENT", "PROD")
    if environment != "PROD":
        raise UserError(
            f"KAGGLE_API_ENVIRONMENT={environment} would not be heeded and calls would reach kaggle.com: "
            f"unset it, or set {URL} to a server on this machine"
        )
    return None


def make_client(url: str | None) -> Any:
    """Make the official client, bound to `url` (None: kaggle.com) and not logged in.

    With a url: (1) `--local` among its arguments makes its environment LOCAL, which is http://localhost: if the other
    steps failed, no call would reach production; (2) each HTTP client that it builds gets the url instead;
    (3) its session refuses all hosts but this machine, also after a redirect; (4) OAuth is left out, because a
    refusal by a test server would make the client delete the user's ~/.kaggle/credentials.json."""
    api = _import_client()()
    build = api.build_kaggle_client

    def build_bound() -> Any:
        built = build()
        http = built.http_client()
        if url:
            http._endpoint = url
        http._init_session()
        guard_session(http._session, url)
        return built

    api.build_kaggle_client = build_bound
    api.get_response_processor = lambda: None  # it prints that there is a newer version, to stdout
    api.config_dir = str(_config_folder())
    api.config = str(_config_folder() / api.config_file)
    api.args = ["--local"] if url else []
    if url:
        api._authenticate_with_oauth_creds = lambda: False
    return api


@functools.cache
def _import_client() -> Any:
    """Import KaggleApi with a temporary home, where it finds no credentials and calls nobody."""
    ours = ("HOME", "VERBOSE", "VERBOSE_OUTPUT")  # verbose: it would print credentials
    aside = {name: value for name, value in os.environ.items() if name.startswith("KAGGLE_") or name in ours}
    with tempfile.TemporaryDirectory() as nowhere, _silence():
        for name in aside:
            del os.environ[name]
        os.environ["HOME"] = os.environ["KAGGLE_CONFIG_DIR"] = nowhere
        try:
            from kaggle.api.kaggle_api_extended import KaggleApi
        except ModuleNotFoundError as error:
            raise UserError(
                f"Kaggle needs {error.name}: pip install 'agentkd[kaggle]', or give a local folder"
            ) from None
        finally:
            del os.environ["HOME"], os.environ["KAGGLE_CONFIG_DIR"]
            os.environ.update(aside)
    return KaggleApi


def _config_folder() -> Path:
    """The folder where the client looks for kaggle.json, by its own rule."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder)
    home = Path("~/.kaggle").expanduser()
    return (
        home if home.exists() else Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "kaggle"
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hide what the client prints, and keep sys.stdin open, which its `exit(1)` closes."""
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.stdin = stdin


def log_in(api: Any) -> None:
    """Log the client in with the user's credentials. UserError, with the remedy, without any."""
    from kagglesdk import get_access_token_from_env

    api.config_values = {}
    with contextlib.suppress(SystemExit), _silence():
        api.authenticate()
    token, place = get_access_token_from_env()
    method = api.config_values.get(api.CONFIG_NAME_AUTH_METHOD)
    if token and method != "ACCESS_TOKEN":  # the client then takes a key, and still sends the bad token
        place = place if place.startswith("KAGGLE_") else f"~/.kaggle/{place}"
        raise UserError(
            f"Kaggle does not know the token in {place}: make a new one at {SITE}/settings/api, or remove it"
        )
    if method is None:
        raise UserError(
            "no Kaggle credentials: run `kaggle auth login`; or set KAGGLE_API_TOKEN to a token from "
            f"{SITE}/settings/api; or put kaggle.json into {api.config_dir}/. A local folder needs none"
        )


def guard_session(session: Any, url: str | None) -> Any:
    """Give a session's requests a time limit and, with a url, keep them on this machine.

    Redirects are requests too."""
    send = session.send

    def bounded(request: Any, **settings: Any) -> Any:
        if url and urlsplit(request.url).hostname not in LOOPBACK:
            raise UserError(
                f"{url} sends us on to {urlsplit(request.url).hostname}, which is not this machine: refused"
            )
        settings["timeout"] = settings.get("timeout") or TIMEOUT
        return send(request, **settings)

    session.send = bounded
    session.trust_env = url is None  # no proxy between us and this machine
    return session


def http_status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def retry_pause(error: Exception, number: int) -> float | None:
    """Seconds until the next try after the `number`-th, None if another would not help."""
    import requests

    status, asked = http_status(error), _asked_pause(error)
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, ValueError)
    passing = isinstance(error, broken) if status is None else status in (408, 429) or status >= 500
    if number == TRIES or not passing or not asked <= LONGEST_WAIT:
        return None
    return asked or FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5)


def _asked_pause(error: Exception) -> float:
    response = getattr(error, "response", None)
    return parse_retry_after(response.headers.get("Retry-After", "")) if response is not None else 0.0


def error_line(error: Exception) -> str:
    status = http_status(error)
    text = " ".join(str(error).split())
    return f"{status or type(error).__name__}{': ' if text else ''}{text[:200]}"


def explain_error(error: Exception, what: str, slug: str) -> AgentkdError:
    """Turn an error of the client into one line with the remedy."""
    import requests

    status, text = http_status(error), " ".join(str(error).split())[:200]
    rules = f"{SITE}/competitions/{slug}/rules"
    if status == 401:
        return UserError(
            f"Kaggle does not accept the credentials (401: {text}): run `kaggle auth login`, "
            f"or make a new token at {SITE}/settings/api"
        )
    if status == 403 and "rule" in text.lower():
        return UserError(
            f"you have not accepted the rules of {slug}: open {rules}, accept them, and run the same command again; "
            f"it goes on from here"
        )
    if status == 403:
        return UserError(
            f"Kaggle denies {what} of {slug!r} ({text}): check the name for a typo, and join it at {rules}; "
            f"the same command goes on from here"
        )
    if status == 404:
        return NotFound(f"Kaggle knows no {slug!r} (404 for {what}): check the name in the address of its page")
    if status == 429:
        wait = _asked_pause(error) or 60
        return WorldError(f"Kaggle is asked too often (429): wait {wait:.0f} s and run the same command again")
    if status is not None and status >= 500:
        return WorldError(f"Kaggle failed with {status} ({what} of {slug}): run the same command again later")
    if status is not None:
        return WorldError(
            f"Kaggle refused {what} of {slug} ({status}: {text}): it does so when you have not joined, "
            f"or today's submissions are used up; run the same command again when that is mended"
        )
    if isinstance(error, requests.RequestException) and not isinstance(error, ValueError):  # one is of both: no JSON
        return WorldError(
            f"cannot reach Kaggle ({error_line(error)}): check the network and run the same command again; "
            f"a local folder needs none"
        )
    return WorldError(f"Kaggle's answer for {what} is not understood ({error_line(error)}): pip install -U kaggle")
