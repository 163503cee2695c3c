"""A thin layer on the official client: what a run asks Kaggle for, with our retries, time limits and one-line errors.

The client (package `kaggle`, 2.2) is steered on one object, nothing of it is replaced globally:

- Importing it logs in, prints help and makes a configuration folder. It is imported with HOME and the KAGGLE_ variables
  set aside, so that it finds nothing to log in with; then `authenticate()` is called, where its errors can be caught.
- AGENTKD_KAGGLE_URL sends all calls to another address, which must be on this machine: a switch for tests and trials.
  The client has no variable for that: KAGGLE_API_ENVIRONMENT=TEST or QA is passed over and the calls go to production,
  so any value but PROD is refused here. See `_client` for what the switch does.
- It sets no time limit on a call: `_guarded` does.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.progress import say
from agentkd.transport import LOOPBACK, retry_after

URL = "AGENTKD_KAGGLE_URL"
SITE = "https://www.kaggle.com"
TIMEOUT = (20.0, 120.0)  # seconds to connect, and between two parts of an answer
TRIES = 5  # of a call that changes nothing
FIRST_PAUSE = 0.5  # seconds, doubled at each try
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is left alone
PAGE = 200  # rows asked for at a time; the server may give fewer
FIRST_POLL, LONGEST_POLL = 1.0, 15.0  # seconds between two looks at a submission

T = TypeVar("T")
Say = Callable[[str], None]


class Unknown(UserError):
    """Kaggle answered 404."""


class Unanswered(WorldError):
    """A submission was sent, and nobody knows whether it arrived: look before sending it again."""


@dataclass(frozen=True)
class Competition:
    slug: str
    title: str
    url: str
    metric: str
    deadline: str | None  # ISO 8601, UTC
    late: bool  # the deadline is over: a submission is scored, where Kaggle takes it, but not ranked
    daily_submissions: int | None
    entered: bool  # joined, so that its rules were accepted
    notebooks_only: bool  # Kaggle takes notebooks, not files: what a run makes cannot be sent
    closed: bool  # Kaggle takes no submissions


@dataclass(frozen=True)
class DataFile:
    name: str
    size: int  # bytes


@dataclass(frozen=True)
class Quota:
    today: int
    total: int
    left: int | None  # of today (UTC); None: Kaggle does not say, as for who has not joined yet


@dataclass(frozen=True)
class Scored:
    """A submission as Kaggle lists it. A score is None where there is none (yet), or Kaggle hides it."""

    ref: int
    file: str
    message: str
    status: str  # PENDING, COMPLETE or ERROR
    public: float | None
    private: float | None
    error: str


class Kaggle:
    """Kaggle for one user. All methods raise UserError or WorldError, with the remedy."""

    def __init__(self, say: Say = say) -> None:
        """Log in. UserError without credentials, or with ones that Kaggle does not know."""
        self.endpoint = endpoint()
        self._say = say
        self._client = _client(self.endpoint)
        self._retried("the login", "", lambda: _log_in(self._client))

    def info(self, slug: str) -> Competition:
        found = self._call("information", slug, lambda api: api.get_competition(_request("GetCompetition", slug)))
        return Competition(
            slug=slug,
            title=found.title or slug,
            url=f"{SITE}/competitions/{slug}",
            metric=found.evaluation_metric or "",
            deadline=found.deadline and found.deadline.isoformat(),
            late=bool(found.deadline and found.deadline < datetime.now(UTC).replace(tzinfo=None)),
            daily_submissions=found.max_daily_submissions or None,
            entered=found.user_has_entered,
            notebooks_only=found.is_kernels_submissions_only,
            closed=found.submissions_disabled,
        )

    def pages(self, slug: str) -> list[tuple[str, str]]:
        """Name and content (markdown or HTML) of the competition's pages. Untrusted text."""
        request = _request("ListCompetitionPages", slug)
        answer = self._call("pages", slug, lambda api: api.list_competition_pages(request))
        return [(page.name, page.content) for page in answer.pages]

    def files(self, slug: str) -> Iterator[DataFile]:
        """All files, asked for page by page as they are taken."""
        for file in self._paged("files", slug, "ListDataFiles", "list_data_files", "files"):
            yield DataFile(file.name or file.ref, file.total_bytes)

    def download(self, slug: str, folder: Path, say: Say = say) -> None:
        """All files, unpacked, in `folder`, which is there when it is whole; nothing is done where it is.

        What has come of the archive stays beside it, also after `kill -9`, and is not fetched again."""
        from agentkd.agents.agent_k import download

        archive = download.archive_of(folder)
        if download.is_there(folder):
            archive.unlink(missing_ok=True)  # of a process that was killed in between
            return

        def fetch(api: Any, http: Any) -> None:
            response = api.download_data_files(_request("DownloadDataFiles", slug))
            download.fetch(self._client, http, response, archive, say)

        while True:
            before = download.size_of(archive)
            try:
                self._call("files", slug, fetch, http=True)
                break
            except WorldError as error:  # one that gets on is not given up, however often it is cut off
                if not error.retry or download.size_of(archive) <= before:
                    raise
        download.unpack(archive, folder, say)

    def quota(self, slug: str) -> Quota:
        request = _request("GetSubmissionLimits", slug)
        found = self._call("submission limits", slug, lambda api: api.get_submission_limits(request))
        unknown = not (found.num_today or found.num_total or found.num_allowed_now)  # all 0: not on a team yet
        return Quota(found.num_today, found.num_total, None if unknown else found.num_allowed_now)

    def submissions(self, slug: str) -> Iterator[Scored]:
        """The team's submissions, the newest first, asked for page by page as they are taken."""
        yield from map(_scored, self._paged("submissions", slug, "ListSubmissions", "list_submissions", "submissions"))

    def submit(self, slug: str, file: Path, message: str) -> int:
        """Send a file and return its ref. It is sent once: Unanswered where it may have arrived; after any other error
        it has not. agent_k.submission, which looks first, is the only caller."""
        import requests

        token = self._retried("the upload", slug, lambda: self._upload(slug, file))
        request = _request("CreateSubmission", slug, blob_file_tokens=token, submission_description=message)
        try:
            with self._client.build_kaggle_client() as client:
                answer = client.competitions.competition_api_client.create_submission(request)
        except (requests.RequestException, *_NOT_UNDERSTOOD) as error:
            status = _status(error)
            if status is not None and 400 <= status < 500 and status not in (408, 429):
                raise explained(error, "the submission", slug) from None
            raise Unanswered(f"Kaggle did not say whether {file.name} arrived ({_short(error)})") from None
        if not answer.ref:
            raise Unanswered(f"Kaggle did not say whether {file.name} arrived: {answer.message or 'an empty answer'}")
        return int(answer.ref)

    def _upload(self, slug: str, file: Path) -> str:
        """The file's bytes, to where Kaggle says; no submission yet. The client's own upload has no time limit and
        prints its errors."""
        import requests

        state = file.stat()
        request = _request("StartSubmissionUpload", slug, file_name=file.name, content_length=state.st_size,
                           last_modified_epoch_seconds=int(state.st_mtime))  # fmt: skip
        with self._client.build_kaggle_client() as client:
            start = client.competitions.competition_api_client.start_submission_upload(request)
        with requests.Session() as session, file.open("rb") as content:
            _guarded(session, self.endpoint).put(start.create_url, data=content).raise_for_status()
        return str(start.token)

    def wait(self, slug: str, ref: int, timeout: float, say: Say = say) -> Scored:
        """A submission once it is scored, or as it is after `timeout` seconds (status PENDING)."""
        end, pause = time.monotonic() + timeout, FIRST_POLL
        request = _request("GetSubmission", None, ref=ref)
        while True:
            try:
                found = _scored(self._call("the submission", slug, lambda api: api.get_submission(request)))
            except Unknown:  # made a moment ago, and not to be seen everywhere yet
                if time.monotonic() >= end:
                    raise
                found = Scored(ref, "", "", "PENDING", None, None, "")
            if found.status != "PENDING" or time.monotonic() >= end:
                return found
            if pause == FIRST_POLL:
                say(f"submission {ref} is being scored")
            time.sleep(max(0.0, min(pause, end - time.monotonic())))
            pause = min(2 * pause, LONGEST_POLL)

    def leaderboard(self, slug: str) -> list[float]:
        """All teams' scores (public before the deadline, private after it), the first rank first."""
        from agentkd.agents.agent_k import download

        request = _request("DownloadLeaderboard", slug)
        content = self._call("the leaderboard", slug, lambda api: api.download_leaderboard(request).content)
        return download.leaderboard_scores(content)

    def _paged(self, what: str, slug: str, request_name: str, method: str, rows: str) -> Iterator[Any]:
        token = ""
        while True:
            request = _request(request_name, slug, page_size=PAGE, page_token=token)
            answer = self._call(what, slug, lambda api, request=request: getattr(api, method)(request))
            yield from getattr(answer, rows)
            if not answer.next_page_token or answer.next_page_token == token:
                return
            token = answer.next_page_token

    def _call(self, what: str, slug: str, call: Callable[..., T], *, http: bool = False) -> T:
        def one() -> T:
            with self._client.build_kaggle_client() as client:
                api = client.competitions.competition_api_client
                return call(api, client.http_client()) if http else call(api)

        return self._retried(what, slug, one)

    def _retried(self, what: str, slug: str, call: Callable[[], T]) -> T:
        """A call that changes nothing at Kaggle, tried again while that may help."""
        import requests

        for number in itertools.count(1):
            try:
                return call()
            except (requests.RequestException, *_NOT_UNDERSTOOD) as error:
                pause = _pause(error, number)
                if pause is None:
                    raise explained(error, what, slug) from None
                if pause > 5:
                    self._say(f"Kaggle: {_short(error)}; trying again in {pause:.0f} s")
                time.sleep(pause)
        raise AssertionError("unreachable")


# What the client raises where an answer is not JSON, or holds what this version does not know.
_NOT_UNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError)


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


def _client(url: str | None) -> Any:
    """The official client as one object that is bound to `url` (None: kaggle.com), not logged in.

    With a url: (1) `--local` among its arguments makes its environment LOCAL, which is http://localhost: if all that
    follows failed, no call would reach production; (2) each HTTP client it builds gets the url in the place of that;
    (3) its session refuses all hosts but this machine, also as the target of a redirect; (4) OAuth is left out, since a
    refusal by a server for tests would make the client delete the user's ~/.kaggle/credentials.json."""
    api = _imported()()
    build = api.build_kaggle_client

    def build_bound() -> Any:
        client = build()
        http = client.http_client()
        if url:
            http._endpoint = url
        http._init_session()
        _guarded(http._session, url)
        return client

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
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _log_in(api: Any) -> None:
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


def _guarded(session: Any, url: str | None) -> Any:
    """A session whose requests have a time limit and, with a url, stay on this machine. Redirects pass here, too."""
    send = session.send

    def guarded(request: Any, **settings: Any) -> Any:
        if url and urlsplit(request.url).hostname not in LOOPBACK:
            raise UserError(
                f"{url} sends us on to {urlsplit(request.url).hostname}, which is not this machine: refused"
            )
        settings["timeout"] = settings.get("timeout") or TIMEOUT
        return send(request, **settings)

    session.send = guarded
    session.trust_env = url is None  # no proxy between us and this machine
    return session


def _request(name: str, slug: str | None, **fields: Any) -> Any:
    from kagglesdk.competitions.types import competition_api_service as types

    request = getattr(types, f"Api{name}Request")()
    if slug is not None:
        request.competition_name = slug
    for field, value in fields.items():
        setattr(request, field, value)
    return request


def _scored(found: Any) -> Scored:
    return Scored(
        ref=int(found.ref),
        file=found.file_name or "",
        message=found.description or "",
        status=found.status.name,
        public=_number(found.public_score),
        private=_number(found.private_score),
        error=" ".join((found.error_description or "").split()),
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _pause(error: Exception, number: int) -> float | None:
    """Seconds until the next try after the `number`-th, None where another would not help."""
    import requests

    status, asked = _status(error), _asked_for(error)
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, ValueError)
    passing = isinstance(error, broken) if status is None else status in (408, 429) or status >= 500
    if number == TRIES or not passing or not asked <= LONGEST_WAIT:
        return None
    return asked or FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5)


def _asked_for(error: Exception) -> float:
    response = getattr(error, "response", None)
    return retry_after(response.headers.get("Retry-After", "")) if response is not None else 0.0


def _short(error: Exception) -> str:
    status = _status(error)
    text = " ".join(str(error).split())
    return f"{status or type(error).__name__}{': ' if text else ''}{text[:200]}"


def explained(error: Exception, what: str, slug: str) -> AgentkdError:
    """What the client raised, as one line with the remedy."""
    import requests

    status, text = _status(error), " ".join(str(error).split())[:200]
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
    if isinstance(error, requests.RequestException):
        return WorldError(
            f"cannot reach Kaggle ({_short(error)}): check the network and run the same command again; "
            f"a local folder needs none"
        )
    return WorldError(f"Kaggle's answer for {what} is not understood ({_short(error)}): pip install -U kaggle")
