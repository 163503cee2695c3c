"""What a run asks Kaggle for, through the official client: a thin layer with our retries."""

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
    Unknown,
    client,
    endpoint,
    explained,
    guarded,
    log_in,
    pause_after,
    short,
    status_of,
)
from agentkd.errors import PutOff, WorldError
from agentkd.runs.progress import say

PAGE = 200  # rows asked for at a time; the server may give fewer
FIRST_POLL, LONGEST_POLL = 1.0, 15.0  # seconds between two looks at a submission

T = TypeVar("T")
Say = Callable[[str], None]


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

    def __init__(self, say: Say = say, stop: threading.Event | None = None) -> None:
        """Log in. UserError without credentials, or with ones that Kaggle does not know. Once `stop` is set nothing is
        waited for any more: PutOff."""
        self.endpoint = endpoint()
        self._say = say
        self.stop = stop or threading.Event()
        self._client = client(self.endpoint)
        self._retried("the login", "", lambda: log_in(self._client))

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
        from agentkd.agents.agent_k.competition import download

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
            with self._client.build_kaggle_client() as built:
                answer = built.competitions.competition_api_client.create_submission(request)
        except (requests.RequestException, *NOT_UNDERSTOOD) as error:
            status = status_of(error)
            if status is not None and 400 <= status < 500 and status not in (408, 429):
                raise explained(error, "the submission", slug) from None
            raise Unanswered(f"Kaggle did not say whether {file.name} arrived ({short(error)})") from None
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
        with self._client.build_kaggle_client() as built:
            start = built.competitions.competition_api_client.start_submission_upload(request)
        with requests.Session() as session, file.open("rb") as content:
            guarded(session, self.endpoint).put(start.create_url, data=content).raise_for_status()
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
            self.rest(max(0.0, min(pause, end - time.monotonic())))
            pause = min(2 * pause, LONGEST_POLL)

    def leaderboard(self, slug: str) -> list[float]:
        """All teams' scores (public before the deadline, private after it), the first rank first."""
        from agentkd.agents.agent_k.competition import download

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
            with self._client.build_kaggle_client() as built:
                api = built.competitions.competition_api_client
                return call(api, built.http_client()) if http else call(api)

        return self._retried(what, slug, one)

    def _retried(self, what: str, slug: str, call: Callable[[], T]) -> T:
        """A call that changes nothing at Kaggle, tried again while that may help."""
        import requests

        for number in itertools.count(1):
            try:
                return call()
            except (requests.RequestException, *NOT_UNDERSTOOD) as error:
                pause = pause_after(error, number)
                if pause is None:
                    raise explained(error, what, slug) from None
                if pause > 5:
                    self._say(f"Kaggle: {short(error)}; trying again in {pause:.0f} s")
                self.rest(pause)
        raise AssertionError("unreachable")

    def rest(self, seconds: float) -> None:
        """A pause that `stop` ends."""
        if self.stop.wait(seconds):
            raise PutOff("the run is stopping")


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
