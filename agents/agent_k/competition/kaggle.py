"""Kaggle's information, files and submissions: a thin layer with retries over its client."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from agentkd.agents.agent_k.competition.kaggle_client import (
    NOT_UNDERSTOOD,
    SITE,
    NotFound,
    error_line,
    explain_error,
    guard_session,
    http_status,
    log_in,
    make_client,
    read_endpoint,
    retry_pause,
)
from agentkd.errors import PutOff, WorldError
from agentkd.runs.progress import say

PAGE = 200  # rows asked for at a time; the server may give fewer
FIRST_POLL, LONGEST_POLL = 1.0, 15.0  # seconds between two looks at a submission

T = TypeVar("T")
Say = Callable[[str], None]


class Unanswered(WorldError):
    """A submission was sent and may have arrived: look before sending it again."""


@dataclass(frozen=True)
class Competition:
    slug: str
    title: str
    url: str
    metric: str
    deadline: str | None  # ISO 8601, UTC
    late: bool  # the deadline is over: a submission that Kaggle still takes is scored and not ranked
    daily_submissions: int | None
    entered: bool  # joined, so that its rules were accepted
    notebooks_only: bool  # Kaggle takes notebooks and no files: a run's file cannot be sent
    closed: bool  # Kaggle takes no submissions


@dataclass(frozen=True)
class DataFile:
    name: str
    size: int  # bytes


@dataclass(frozen=True)
class Quota:
    today: int
    total: int
    left: int | None  # of today (UTC); None: unknown, as before one has joined


@dataclass(frozen=True)
class ListedSubmission:
    """A submission as Kaggle lists it. A score is None if there is none yet or it is hidden."""

    ref: int
    file: str
    message: str
    status: str  # PENDING, COMPLETE or ERROR
    public: float | None
    private: float | None
    error: str


class Kaggle:
    """Kaggle for one user. All methods raise UserError or WorldError, with the remedy."""

    def __init__(self, say: Say = say, stop: threading.Event | None = None) -> None:
        """Log in. UserError without credentials, or with ones that Kaggle does not know.

        Once `stop` is set, every wait ends in PutOff."""
        self.endpoint = read_endpoint()
        self._say = say
        self.stop = stop or threading.Event()
        self._client = make_client(self.endpoint)
        self._retry("the login", "", lambda: log_in(self._client))

    def info(self, slug: str) -> Competition:
        found = self._call("information", slug, lambda api: api.get_competition(_make_request("GetCompetition", slug)))
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
        """Name and content (markdown or HTML) of the competition's pages: untrusted text."""
        request = _make_request("ListCompetitionPages", slug)
        answer = self._call("pages", slug, lambda api: api.list_competition_pages(request))
        return [(page.name, page.content) for page in answer.pages]

    def files(self, slug: str) -> Iterator[DataFile]:
        """All files, requested page by page as they are consumed."""
        for file in self._list_rows("files", slug, "ListDataFiles", "list_data_files", "files"):
            yield DataFile(file.name or file.ref, file.total_bytes)

    def download(self, slug: str, folder: Path, say: Say = say) -> None:
        """Download and unpack all files into `folder`, which appears only when it is whole.

        A partial archive stays next to it, even after `kill -9`, and the download goes on from there.
        Nothing is done if the folder is there."""
        from agentkd.agents.agent_k.competition import download

        archive = download.archive_path(folder)
        if download.is_unpacked(folder):
            archive.unlink(missing_ok=True)  # left by a process that was killed in between
            return

        def fetch(api: Any, http: Any) -> None:
            response = api.download_data_files(_make_request("DownloadDataFiles", slug))
            download.fetch_archive(self._client, http, response, archive, say)

        for again in (True, False):
            while True:
                before = download.archive_size(archive)
                try:
                    self._call("files", slug, fetch, http=True)
                    break
                except WorldError as error:  # go on as long as the archive grows, however often it is cut off
                    if not error.retry or download.archive_size(archive) <= before:
                        raise
            try:
                download.unpack_archive(archive, folder, say)
                return
            except download.DamagedArchive as error:
                if not again:
                    remedy = "run the same command again, it is fetched anew; or unpack it yourself and give the folder"
                    raise WorldError(f"{error}, twice in a row: {remedy}") from None
                say(f"{error}: it is fetched anew")

    def quota(self, slug: str) -> Quota:
        request = _make_request("GetSubmissionLimits", slug)
        found = self._call("submission limits", slug, lambda api: api.get_submission_limits(request))
        unknown = not (found.num_today or found.num_total or found.num_allowed_now)  # all 0: not on a team yet
        return Quota(found.num_today, found.num_total, None if unknown else found.num_allowed_now)

    def submissions(self, slug: str) -> Iterator[ListedSubmission]:
        """The team's submissions, newest first, requested page by page as they are consumed."""
        yield from map(
            _to_submission, self._list_rows("submissions", slug, "ListSubmissions", "list_submissions", "submissions")
        )

    def submit(self, slug: str, file: Path, message: str) -> int:
        """Send a file once, and return its ref.

        Unanswered if it may have arrived; after any other error it has not. The only caller is submit_once,
        which looks first."""
        import requests

        token = self._retry("the upload", slug, lambda: self._upload(slug, file))
        request = _make_request("CreateSubmission", slug, blob_file_tokens=token, submission_description=message)
        try:
            with self._client.build_kaggle_client() as built:
                answer = built.competitions.competition_api_client.create_submission(request)
        except (requests.RequestException, *NOT_UNDERSTOOD) as error:
            status = http_status(error)
            if status is not None and 400 <= status < 500 and status not in (408, 429):
                raise explain_error(error, "the submission", slug) from None
            raise Unanswered(f"Kaggle did not say whether {file.name} arrived ({error_line(error)})") from None
        if not answer.ref:
            raise Unanswered(f"Kaggle did not say whether {file.name} arrived: {answer.message or 'an empty answer'}")
        return int(answer.ref)

    def _upload(self, slug: str, file: Path) -> str:
        """Upload the file's bytes to where Kaggle says; returns the token for a submission.

        The client's own upload has no time limit and prints its errors."""
        import requests

        state = file.stat()
        request = _make_request(
            "StartSubmissionUpload",
            slug,
            file_name=file.name,
            content_length=state.st_size,
            last_modified_epoch_seconds=int(state.st_mtime),
        )
        with self._client.build_kaggle_client() as built:
            start = built.competitions.competition_api_client.start_submission_upload(request)
        with requests.Session() as session, file.open("rb") as content:
            guard_session(session, self.endpoint).put(start.create_url, data=content).raise_for_status()
        return str(start.token)

    def wait(self, slug: str, ref: int, timeout: float, say: Say = say) -> ListedSubmission:
        """Wait for a submission's score; returns it as PENDING after `timeout` seconds."""
        end, pause = time.monotonic() + timeout, FIRST_POLL
        request = _make_request("GetSubmission", None, ref=ref)
        while True:
            try:
                found = _to_submission(self._call("the submission", slug, lambda api: api.get_submission(request)))
            except NotFound:  # made a moment ago, and not visible everywhere yet
                if time.monotonic() >= end:
                    raise
                found = ListedSubmission(ref, "", "", "PENDING", None, None, "")
            if found.status != "PENDING" or time.monotonic() >= end:
                return found
            if pause == FIRST_POLL:
                say(f"submission {ref} is being scored")
            self.pause(max(0.0, min(pause, end - time.monotonic())))
            pause = min(2 * pause, LONGEST_POLL)

    def leaderboard(self, slug: str) -> list[float]:
        """All teams' scores (public before the deadline, private after it), first rank first."""
        from agentkd.agents.agent_k.competition import download

        request = _make_request("DownloadLeaderboard", slug)
        content = self._call("the leaderboard", slug, lambda api: api.download_leaderboard(request).content)
        return download.parse_leaderboard(content)

    def _list_rows(self, what: str, slug: str, request_name: str, method: str, rows: str) -> Iterator[Any]:
        token = ""
        while True:
            request = _make_request(request_name, slug, page_size=PAGE, page_token=token)
            answer = self._call(what, slug, lambda api, request=request: getattr(api, method)(request))
            yield from getattr(answer, rows)
            if not answer.next_page_token or answer.next_page_token == token:
                return
            token = answer.next_page_token

    def _call(self, what: str, slug: str, call: Callable[..., T], *, http: bool = False) -> T:
        def one() -> T:
            with self._client.build_kaggle_client() as built:
                api = built.competitions.competition_api_client
                return call(api, built.http_client()) if http else call(api)

        return self._retry(what, slug, one)

    def _retry(self, what: str, slug: str, call: Callable[[], T]) -> T:
        """Make a call that changes nothing at Kaggle, and repeat it while that may help."""
        import requests

        for number in itertools.count(1):
            try:
                return call()
            except (requests.RequestException, *NOT_UNDERSTOOD) as error:
                pause = retry_pause(error, number)
                if pause is None:
                    raise explain_error(error, what, slug) from None
                if pause > 5:
                    self._say(f"Kaggle: {error_line(error)}; trying again in {pause:.0f} s")
                self.pause(pause)
        raise AssertionError("unreachable")

    def pause(self, seconds: float) -> None:
        """Pause; PutOff once `stop` is set."""
        if self.stop.wait(seconds):
            raise PutOff("the run is stopping")


def _make_request(name: str, slug: str | None, **fields: Any) -> Any:
    from kagglesdk.competitions.types import competition_api_service as types

    request = getattr(types, f"Api{name}Request")()
    if slug is not None:
        request.competition_name = slug
    for field, value in fields.items():
        setattr(request, field, value)
    return request


def _to_submission(found: Any) -> ListedSubmission:
    return ListedSubmission(
        ref=int(found.ref),
        file=found.file_name or "",
        message=found.description or "",
        status=found.status.name,
        public=_to_float(found.public_score),
        private=_to_float(found.private_score),
        error=" ".join((found.error_description or "").split()),
    )


def _to_float(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
