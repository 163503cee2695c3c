"""A local Kaggle for tests: the part of the real protocol that Agent K uses, for the real client.

Every call is `POST /api/v1/SERVICE/METHOD` with JSON; downloads answer 302 to a signed address on another host name
(localhost instead of 127.0.0.1, so that the client drops its credentials as it does towards Google's storage), uploads
go by StartSubmissionUpload, PUT and CreateSubmission, and a submission is PENDING before it is COMPLETE or ERROR.

`python -m tests.support.kaggle_server --folder DIR` serves a competition that lies as `public/`,
`private/solution.csv` and `description.md`, for trials by hand.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER, KEY, TOKEN = "ada", "0123456789abcdef", "KGAT_fedcba9876543210"
MODIFIED = "Mon, 03 Mar 2025 10:00:00 GMT"
RESET = "reset"  # a fault: the connection is closed without an answer
Fault = int | str | tuple[int, dict[str, str]] | tuple[int, dict[str, str], Any]
Score = Callable[[bytes], tuple[float | None, float | None]]  # public and private; ValueError: it cannot be scored


@dataclass
class Board:
    """A competition, and how it behaves."""

    slug: str
    files: dict[str, bytes] = field(default_factory=dict)
    score: Score = lambda content: (0.5, 0.5)
    title: str = ""
    metric: str = "Categorization Accuracy"
    pages: dict[str, str] = field(default_factory=dict)
    leaderboard: list[float] = field(default_factory=list)
    deadline: str = "2999-01-01T00:00:00Z"
    daily: int = 5
    entered: bool = True
    rules_accepted: bool = True
    notebooks_only: bool = False
    closed: bool = False
    pending_polls: int = 1  # looks at a submission before it is scored
    lag: int = 0  # looks at the list, or at a submission, in which a new one is not there yet
    archive: bytes = b""  # instead of a zip of the files
    submissions: list[dict[str, Any]] = field(default_factory=list)

    def bundle(self) -> bytes:
        if not self.archive:
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w") as bundle:
                for name, data in self.files.items():
                    bundle.writestr(name, data)
            self.archive = content.getvalue()
        return self.archive


@dataclass
class Entry:
    """A request in the log."""

    method: str  # CreateSubmission, …; GET or PUT for signed addresses
    status: int = 0
    start: int = 0  # a download's first byte
    sent: int = 0  # its bytes handed to the kernel
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, boards: list[Board], port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.boards = {board.slug: board for board in boards}
        self.faults: dict[str, list[Fault]] = {}  # by method: one is taken for each request
        self.late_faults: dict[str, list[Fault]] = {}  # the same, but what was asked for is done all the same
        self.hold: set[str] = set()  # methods that do what is asked and then wait for `release`
        self.release = threading.Event()
        self.rate = 0  # bytes a second of downloads and uploads, 0: no limit
        self.cuts: list[int] = []  # downloads are cut off after so many bytes, one each
        self.page_limit = 20  # rows a page, whatever is asked for
        self.redirect = ""  # where downloads are sent instead
        self.log: list[Entry] = []
        self.received: Counter[str] = Counter()  # submissions by the SHA-256 of their file
        self.uploads: dict[str, bytes | None] = {}
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that bring the client here, logged in."""
        return {"AGENTKD_KAGGLE_URL": self.url, "KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY}

    def calls(self, method: str) -> list[Entry]:
        with self.changed:
            return [entry for entry in self.log if entry.method == method]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60.0) -> bool:
        with self.changed:
            return self.changed.wait_for(condition, timeout=seconds)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        method = self.path.rpartition("/")[2]
        entry = self._log(method, body)
        faults = self.server.faults.get(method)
        if faults:
            self._fail(entry, faults.pop(0))
            return
        try:
            if not self.path.startswith("/api/v1/"):
                raise Refused(404, f"no route {self.path}")
            if method != "IntrospectToken":
                self._check_login()
            answer = METHODS[method](self.server, body)
        except Refused as error:
            self._send_json(entry, error.code, {"code": error.code, "message": str(error)})
            return
        with self.server.changed:
            self.server.changed.notify_all()
        if method in self.server.hold:
            self.server.release.wait(60)
        if late := self.server.late_faults.get(method):
            self._fail(entry, late.pop(0))
        elif isinstance(answer, bytes):
            self._send(entry, 200, answer, {"Content-Type": "application/zip"})
        elif isinstance(answer, str):
            self._send(entry, 302, b"", {"Location": answer})
        else:
            self._send_json(entry, 200, answer)

    def do_GET(self) -> None:
        """A signed address: the archive, or one file. Credentials are not asked for."""
        entry = self._log("GET", {})
        _, _, slug, name = self.path.split("?")[0].split("/", 3)
        board = self.server.boards[slug]
        data = board.bundle() if name == f"{slug}.zip" else board.files[name]
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag, "Last-Modified": MODIFIED, "Accept-Ranges": "bytes", "Content-Type": "application/zip"}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", tag) == tag and int(asked[1]) < len(data):
            entry.start = int(asked[1])
            headers["Content-Range"] = f"bytes {entry.start}-{len(data) - 1}/{len(data)}"
        self._send(entry, 206 if entry.start else 200, data[entry.start :], headers, download=True)

    def do_PUT(self) -> None:
        entry = self._log("PUT", {})
        token, left, parts = self.path.rpartition("/")[2], int(self.headers["Content-Length"]), []
        while left:
            if self.server.rate:
                time.sleep(min(left, 1 << 14) / self.server.rate)
            part = self.rfile.read(min(left, 1 << 14))
            if not part:
                return  # the client was killed
            parts.append(part)
            left -= len(part)
        if faults := self.server.faults.get("PUT"):
            self._fail(entry, faults.pop(0))
            return
        self.server.uploads[token] = b"".join(parts)
        self._send(entry, 201, b"", {})

    def _check_login(self) -> None:
        basic = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        if self.headers.get("Authorization") not in (f"Basic {basic}", f"Bearer {TOKEN}"):
            raise Refused(401, "Unauthenticated")

    def _log(self, method: str, body: dict[str, Any]) -> Entry:
        entry = Entry(method, headers=dict(self.headers), body=body)
        with self.server.changed:
            self.server.log.append(entry)
            self.server.changed.notify_all()
        return entry

    def _fail(self, entry: Entry, fault: Fault) -> None:
        if fault == RESET:
            self.close_connection = True
            self.connection.close()
            return
        code, headers, body = (*(fault if isinstance(fault, tuple) else (int(fault),)), {}, None)[:3]
        self._send_json(entry, code, body or {"code": code, "message": f"scripted {code}"}, headers)

    def _send_json(self, entry: Entry, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._send(entry, code, data, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, entry: Entry, code: int, data: bytes, headers: dict[str, str], *, download: bool = False) -> None:
        entry.status = code
        stop = self.server.cuts.pop(0) if download and self.server.cuts else len(data)
        try:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for at in range(0, stop, 1 << 16):
                if download and self.server.rate:
                    time.sleep((1 << 16) / self.server.rate)
                part = data[at : min(at + (1 << 16), stop)]
                self.wfile.write(part)
                entry.sent += len(part)
                with self.server.changed:
                    self.server.changed.notify_all()
            if stop < len(data):
                self.close_connection = True
                self.connection.close()
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def _board(server: Server, body: dict[str, Any]) -> Board:
    try:
        return server.boards[body["competitionName"]]
    except KeyError:
        raise Refused(404, "Not found") from None


def _downloadable(server: Server, body: dict[str, Any]) -> Board:
    board = _board(server, body)
    if not board.rules_accepted:
        raise Refused(403, "You must accept this competition's rules before you'll be able to download files.")
    return board


def _paged(server: Server, body: dict[str, Any], name: str, rows: list[Any]) -> dict[str, Any]:
    start = int(body.get("pageToken") or 0)
    end = start + min(body.get("pageSize") or 20, server.page_limit)
    return {name: rows[start:end], "nextPageToken": str(end) if end < len(rows) else ""}


def _introspect(server: Server, body: dict[str, Any]) -> Any:
    return {"active": True, "username": USER} if body.get("token") == TOKEN else {"active": False}


def _get_competition(server: Server, body: dict[str, Any]) -> Any:
    board = _board(server, body)
    return {
        "id": 1,
        "ref": f"https://www.kaggle.com/competitions/{board.slug}",
        "title": board.title or board.slug,
        "evaluationMetric": board.metric,
        "deadline": board.deadline,
        "maxDailySubmissions": board.daily,
        "userHasEntered": board.entered,
        "isKernelsSubmissionsOnly": board.notebooks_only,
        "submissionsDisabled": board.closed,
        "aFieldOfNextYear": {"unknown": True},
    }


def _list_pages(server: Server, body: dict[str, Any]) -> Any:
    pages = _board(server, body).pages
    return {"pages": [{"name": name, "content": text, "mimeType": "text/html"} for name, text in pages.items()]}


def _list_files(server: Server, body: dict[str, Any]) -> Any:
    files = [{"name": name, "totalBytes": len(data)} for name, data in _board(server, body).files.items()]
    return _paged(server, body, "files", files)


def _download_all(server: Server, body: dict[str, Any]) -> Any:
    slug = _downloadable(server, body).slug
    return server.redirect or f"http://localhost:{server.server_port}/signed/{slug}/{slug}.zip?signature=x"


def _download_one(server: Server, body: dict[str, Any]) -> Any:
    slug = _downloadable(server, body).slug
    return f"http://localhost:{server.server_port}/signed/{slug}/{body['fileName']}?signature=x"


def _start_upload(server: Server, body: dict[str, Any]) -> Any:
    token = f"blob{len(server.uploads)}"
    server.uploads[token] = None
    return {"token": token, "createUrl": f"http://localhost:{server.server_port}/upload/{token}"}


def _create_submission(server: Server, body: dict[str, Any]) -> Any:
    board = _downloadable(server, body)
    content = server.uploads.get(body["blobFileTokens"])
    if content is None:
        raise Refused(400, "The file was not uploaded")
    if board.notebooks_only or board.closed:
        raise Refused(
            400, "This competition only accepts Submissions from Notebooks" if board.notebooks_only else "Closed"
        )
    with server.changed:
        if len(board.submissions) >= board.daily:
            raise Refused(400, "You have used all your submissions for today")
        server.received[hashlib.sha256(content).hexdigest()] += 1
        ref = 1000 + len(board.submissions)
        row = {
            "ref": ref,
            "fileName": "submission.csv",
            "date": "2025-03-03T10:00:00.123Z",
            "description": body.get("submissionDescription", ""),
            "status": "PENDING",
            "content": content,
            "polls": -board.lag,
        }
        board.submissions.insert(0, row)
    return {"message": "Successfully submitted", "ref": ref}


def _public(board: Board, row: dict[str, Any]) -> dict[str, Any] | None:
    """A submission as it is shown; it is scored at the look after `pending_polls`."""
    if row["polls"] < 0:
        row["polls"] += 1
        return None
    if row["status"] == "PENDING" and row["polls"] >= board.pending_polls:
        try:
            public, private = board.score(row["content"])
            scores = {"publicScore": public, "privateScore": private}
            row.update(status="COMPLETE", **{name: str(value) for name, value in scores.items() if value is not None})
        except ValueError as error:
            row.update(status="ERROR", errorDescription=str(error))
    row["polls"] += 1
    return {name: value for name, value in row.items() if name not in ("content", "polls")}


def _list_submissions(server: Server, body: dict[str, Any]) -> Any:
    board = _board(server, body)
    listed = [_public(board, row) for row in board.submissions]
    return _paged(server, body, "submissions", [row for row in listed if row is not None])


def _get_submission(server: Server, body: dict[str, Any]) -> Any:
    for board in server.boards.values():
        for row in board.submissions:
            if row["ref"] == body.get("ref") and (found := _public(board, row)):
                return found
    raise Refused(404, "Submission not found")


def _get_limits(server: Server, body: dict[str, Any]) -> Any:
    board = _board(server, body)
    if not board.entered:
        return {"numToday": 0, "numTotal": 0, "numAllowedNow": 0}
    count = len(board.submissions)
    return {"numToday": count, "numTotal": count, "numAllowedNow": max(0, board.daily - count)}


def _download_leaderboard(server: Server, body: dict[str, Any]) -> Any:
    """A zip of one CSV with a byte order mark, the last rank first: who reads it must heed the Rank."""
    board = _board(server, body)
    lines = ["Rank,TeamId,TeamName,LastSubmissionDate,Score,SubmissionCount,TeamMemberUserNames"]
    ranked = list(enumerate(board.leaderboard, 1))
    lines += [f'{rank},{rank},"Team, {rank}",2025-03-03 10:00:00,{score},1,u{rank}' for rank, score in reversed(ranked)]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr(f"{board.slug}-publicleaderboard.csv", "\n".join(lines).encode("utf-8-sig"))
    return content.getvalue()


METHODS: dict[str, Callable[[Server, dict[str, Any]], Any]] = {
    "IntrospectToken": _introspect,
    "GetCompetition": _get_competition,
    "ListCompetitionPages": _list_pages,
    "ListDataFiles": _list_files,
    "DownloadDataFiles": _download_all,
    "DownloadDataFile": _download_one,
    "StartSubmissionUpload": _start_upload,
    "CreateSubmission": _create_submission,
    "ListSubmissions": _list_submissions,
    "GetSubmission": _get_submission,
    "GetSubmissionLimits": _get_limits,
    "DownloadLeaderboard": _download_leaderboard,
}


def accuracy(solution: str) -> Score:
    """Scores a CSV (id, label) by a solution's CSV (id, label, Usage): shares of right rows, public and private."""
    truth = {row[0]: (row[1], row[-1]) for row in list(csv.reader(io.StringIO(solution)))[1:]}

    def score(content: bytes) -> tuple[float, float]:
        try:
            rows = [(row[0], row[1]) for row in csv.reader(io.StringIO(content.decode()))][1:]
        except (UnicodeDecodeError, csv.Error, IndexError):
            raise ValueError("Submission is not a CSV file of two columns") from None
        if {row[0] for row in rows} != set(truth) or len(rows) != len(truth):
            raise ValueError(f"Submission must have {len(truth)} rows with the ids of the test set")
        hits: dict[str, list[bool]] = {"Public": [], "Private": []}
        for row in rows:
            label, usage = truth[row[0]]
            hits[usage].append(row[1] == label)
        public, private = (sum(part) / max(len(part), 1) for part in hits.values())
        return public, private

    return score


def board_of(folder: Path) -> Board:
    """The Board of a local competition, scored by accuracy."""
    public = folder / "public"
    files = {str(path.relative_to(public)): path.read_bytes() for path in sorted(public.rglob("*")) if path.is_file()}
    score = accuracy((folder / "private" / "solution.csv").read_text())
    return Board(folder.name, files, score, pages={"description": (folder / "description.md").read_text()})


@contextmanager
def kaggle_server(*boards: Board, port: int = 0) -> Iterator[Server]:
    server = Server(list(boards), port)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, action="append", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with kaggle_server(*map(board_of, arguments.folder), port=arguments.port) as running:
        print(*(f"export {name}={value}" for name, value in running.environment.items()), sep="\n", flush=True)
        threading.Event().wait()
