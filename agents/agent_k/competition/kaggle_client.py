"""The official client (package `kaggle`, 2.2), made fit for a library: bound to one address, silent, with time limits,
and with errors that say what to do.

It is steered on one object, nothing of it is replaced globally:

- Importing it logs in, prints help and makes a configuration folder. It is imported with HOME and the KAGGLE_ variables
  set aside, so that it finds nothing to log in with; then `authenticate()` is called, where its errors can be caught.
- AGENTKD_KAGGLE_URL sends all calls to another address, which must be on this machine: a switch for tests and trials.
  The client has no variable for that: KAGGLE_API_ENVIRONMENT=TEST or QA is passed over and the calls go to production,
  so any value but PROD is refused here. See `client` for what the switch does.
- It sets no time limit on a call: `guarded` does.
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
from agentkd.teacher.transport import LOOPBACK, retry_after

URL = "AGENTKD_KAGGLE_URL"
SITE = "https://www.kaggle.com"
TIMEOUT = (20.0, 120.0)  # seconds to connect, and between two parts of an answer
TRIES = 5  # of a call that changes nothing
FIRST_PAUSE = 0.5  # seconds, doubled at each try
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is left alone


class Unknown(UserError):
    """Kaggle answered 404."""


# What the client raises where an answer is not JSON, or holds what this version does not know.
NOT_UNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError)


def endpoint() -> str | None:
    """The address in AGENTKD_KAGGLE_URL, None for kaggle.com. UserError where calls would go elsewhere than one thinks.

    There is no exception to loopback: who wants a proxy in between has HTTPS_PROXY, and credentials go nowhere else."""
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


def client(url: str | None) -> Any:
    """The official client as one object that is bound to `url` (None: kaggle.com), not logged in.

    With a url: (1) `--local` among its arguments makes its environment LOCAL, which is http://localhost: if all that
    follows failed, no call would reach production; (2) each HTTP client it builds gets the url in the place of that;
    (3) its session refuses all hosts but this machine, also as the target of a redirect; (4) OAuth is left out, since a
    refusal by a server for tests would make the client delete the user's ~/.kaggle/credentials.json."""
    api = _imported()()
    build = api.build_kaggle_client

    def build_bound() -> Any:
        built = build()
        http = built.http_client()
        if url:
            http._endpoint = url
        http._init_session()
        guarded(http._session, url)
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
def _imported() -> Any:
    """KaggleApi. The import finds no credentials, so it calls nobody; it makes its folder where it is thrown away."""
    ours = ("HOME", "VERBOSE", "VERBOSE_OUTPUT")  # verbose: it would print credentials
    aside = {name: value for name, value in os.environ.items() if name.startswith("KAGGLE_") or name in ours}
    with tempfile.TemporaryDirectory() as nowhere, _silent():
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
    """Where the client looks for kaggle.json: its own rule, which makes the folder as well."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder)
    home = Path("~/.kaggle").expanduser()
    return (
        home if home.exists() else Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "kaggle"
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The client prints, and gives up by `exit(1)`, which closes sys.stdin: nobody could be asked anything after it."""
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.stdin = stdin


def log_in(api: Any) -> None:
    from kagglesdk import get_access_token_from_env

    api.config_values = {}
    with contextlib.suppress(SystemExit), _silent():
        api.authenticate()
    token, place = get_access_token_from_env()
    method = api.config_values.get(api.CONFIG_NAME_AUTH_METHOD)
    if token and method != "ACCESS_TOKEN":  # the client then takes a key, and sends the bad token all the same
        place = place if place.startswith("KAGGLE_") else f"~/.kaggle/{place}"
        raise UserError(
            f"Kaggle does not know the token in {place}: make a new one at {SITE}/settings/api, or remove it"
        )
    if method is None:
        raise UserError(
            "no Kaggle credentials: run `kaggle auth login`; or set KAGGLE_API_TOKEN to a token from "
            f"{SITE}/settings/api; or put kaggle.json into {api.config_dir}/. A local folder needs none"
        )


def guarded(session: Any, url: str | None) -> Any:
    """A session whose requests have a time limit and, with a url, stay on this machine. Redirects pass here, too."""
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


def status_of(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def pause_after(error: Exception, number: int) -> float | None:
    """Seconds until the next try after the `number`-th, None where another would not help."""
    import requests

    status, asked = status_of(error), _asked_for(error)
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, ValueError)
    passing = isinstance(error, broken) if status is None else status in (408, 429) or status >= 500
    if number == TRIES or not passing or not asked <= LONGEST_WAIT:
        return None
    return asked or FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5)


def _asked_for(error: Exception) -> float:
    response = getattr(error, "response", None)
    return retry_after(response.headers.get("Retry-After", "")) if response is not None else 0.0


def short(error: Exception) -> str:
    status = status_of(error)
    text = " ".join(str(error).split())
    return f"{status or type(error).__name__}{': ' if text else ''}{text[:200]}"


def explained(error: Exception, what: str, slug: str) -> AgentkdError:
    """What the client raised, as one line with the remedy."""
    import requests

    status, text = status_of(error), " ".join(str(error).split())[:200]
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
        return Unknown(f"Kaggle knows no {slug!r} (404 for {what}): check the name in the address of its page")
    if status == 429:
        wait = _asked_for(error) or 60
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
            f"cannot reach Kaggle ({short(error)}): check the network and run the same command again; "
            f"a local folder needs none"
        )
    return WorldError(f"Kaggle's answer for {what} is not understood ({short(error)}): pip install -U kaggle")
