"""Submit a file exactly once, even if the process dies at the worst moment.

`submissions.jsonl` in the run directory is the journal, one JSON object per line, each synced to disk before the next
step:

    run      a random id of the run, in the first line
    intent   the file's SHA-256, its name and the message: before anything is sent
    sent     Kaggle's ref; `found` if it comes from Kaggle's list instead of its answer
    refused  Kaggle refused it, or it did not arrive: there is no submission
    scored   status, scores, Kaggle's error

The message that goes with a file begins with a tag, `agentkd RUN HASH12`. Before a file is sent, Kaggle's list of
submissions is searched for its hash, and an intent without an outcome gets SETTLE seconds to appear there. This is a
write-ahead log with an idempotency key that we look up ourselves, because Kaggle's protocol has none.
"""

from __future__ import annotations

import json
import re
import secrets
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from agentkd.agents.agent_k.competition.kaggle import Kaggle, Unanswered
from agentkd.errors import AgentkdError, PutOff, UserError, WorldError
from agentkd.runs.disk import disk_error, hash_file, write_atomically
from agentkd.runs.progress import console, say
from agentkd.runs.shard import Shard
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.trace import Frozen

Mode = Literal["ask", "auto", "never"]
SETTLE = 30.0  # seconds after which a submission that arrived is in Kaggle's list
LOOK_EVERY = 3.0  # seconds
SENDS = 3  # times that a call sends one file, if Kaggle does not answer
MAX_NOTE = 200  # characters


@dataclass(frozen=True)
class SubmitPolicy:
    """Whether a run may send files, how many, and how long it waits for a score."""

    mode: Mode  # auto: sends; ask: asks first, and is `never` without a terminal
    limit: int | None = None  # files that the run may send, None for all that Kaggle takes
    patience: float = 900.0  # seconds to wait for a score


@dataclass(frozen=True)
class SentSubmission:
    """A file that was sent, or may have been."""

    hash: str  # SHA-256 of the file
    file: str
    message: str
    score: float | None  # of cross-validation
    when: str  # UTC, when it was last about to be sent
    ref: int | None = None  # Kaggle's number, None while it is not known whether it arrived
    status: str = "PENDING"  # COMPLETE and ERROR are final
    public: float | None = None
    private: float | None = None
    error: str = ""


class _Line(Frozen):
    """Any line of the journal; the classes below are its kinds."""

    hash: str


class _Run(_Line):
    kind: Literal["run"]
    id: str


class _Intent(_Line):
    kind: Literal["intent"]
    file: str
    message: str
    score: float | None
    when: str


class _Sent(_Line):
    kind: Literal["sent"]
    ref: int
    found: bool = False


class _Refused(_Line):
    kind: Literal["refused"]
    why: str = ""


class _Scored(_Line):
    kind: Literal["scored"]
    status: str
    public: float | None
    private: float | None
    error: str


_ROW: TypeAdapter[Any] = TypeAdapter(
    Annotated[_Run | _Intent | _Sent | _Refused | _Scored, Field(discriminator="kind")]
)


class Submissions:
    """The submissions of one run.

    The caller holds the run directory's lock (`runs.store.RunDirectory`); otherwise two processes with one
    journal could both send."""

    def __init__(
        self,
        run: Path,
        kaggle: Kaggle | None,
        slug: str,
        policy: SubmitPolicy,
        say: Callable[[str], None] = say,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        """Read the journal of a run, and repair it.

        `kaggle` is None for a local folder: nothing is sent. `ask` gets the question and returns the user's
        answer; by default it asks at the terminal."""
        self.path = run / "submissions.jsonl"
        self.kaggle, self.slug, self.policy = kaggle, slug, policy
        self._say = say
        self._ask = ask or (self._read_line if _at_terminal() else None)
        self._id = ""
        self._known: dict[str, SentSubmission] = {}
        for row in self._repair_journal():
            self._apply(row)

    def submit(self, file: Path, *, note: str, score: float | None) -> SentSubmission | None:
        """Send a file unless its content was sent before, wait for its score, and return its record.

        Returns None, after a line that says why, if it is not sent. UserError or WorldError if Kaggle refuses or cannot
        be reached, PutOff if the run is stopping; the same call goes on from there."""
        try:
            digest = hash_file(file)
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from None
        known = self._known.get(digest)
        if known is None or known.ref is None:
            why = self._why_never()
            if why is None:
                self._settle_intents()
                known = self._known.get(digest)
                why = None if known else self._why_not(file, score)
            if why is not None:
                self._say(f"{file.name} is not submitted: {why}")
                return None
            known = known or self._send(file, digest, note, score)
        return self._await_score(known)

    def all(self) -> list[SentSubmission]:
        """All files that were sent, or may have been, in that order."""
        return list(self._known.values())

    def best(self, *, lower_is_better: bool) -> SentSubmission | None:
        """The submission with the best public score, None if there is none."""
        scored = [(one.public, one) for one in self._known.values() if one.public is not None]
        sign = -1.0 if lower_is_better else 1.0
        return max(scored, key=lambda pair: sign * pair[0], default=(0.0, None))[1]

    def _read_line(self, question: str) -> str:
        """Read a line from the terminal so that ctrl-C ends the wait, which input() does not allow."""
        assert self.kaggle is not None
        console.print(question, end="")  # on stderr
        while not select.select([sys.stdin], [], [], 0)[0]:
            self.kaggle.pause(0.2)
        return sys.stdin.readline()

    def _why_never(self) -> str | None:
        if self.policy.mode == "never":
            return "--submit never"
        if self.kaggle is None:
            return "the data is a local folder"
        if self.policy.mode == "ask" and self._ask is None:
            return "there is no terminal to ask at; --submit auto sends without asking"
        return None

    def _why_not(self, file: Path, score: float | None) -> str | None:
        """The reason not to send a new file, None for none. The user is asked last."""
        assert self.kaggle is not None
        used = len(self._known)
        if self.policy.limit is not None and used >= self.policy.limit:
            return f"the run has made the {self.policy.limit} that --max-submissions allows"
        info = self.kaggle.info(self.slug)
        if info.notebooks_only:
            return f"{self.slug} takes notebooks, not files: submit a notebook that writes it, from {info.url}"
        if info.closed:
            return f"{self.slug} takes no submissions any more"
        left = self.kaggle.quota(self.slug).left
        if left == 0:
            return "today's submissions are used up; Kaggle's day begins at 00:00 UTC"
        if self.policy.mode == "ask" and self._ask is not None:
            self._say(
                f"{file} · {self.slug} · CV score {'unknown' if score is None else f'{score:.5g}'} · "
                f"{'unknown' if left is None else left} left today · "
                f"{used} of {'any number' if self.policy.limit is None else self.policy.limit} made by this run"
                + (" · the deadline is over: scored, not ranked" if info.late else "")
            )
            try:
                answer = self._ask("Submit it? [y/N] ")
            except EOFError:
                answer = ""
            self.kaggle.pause(0)
            if answer.strip().lower() not in ("y", "yes"):
                return "you said no"
        return None

    def _settle_intents(self) -> None:
        """Find the outcome of intents without one: the process died, or Kaggle did not answer."""
        for one in [one for one in self._known.values() if one.ref is None]:
            if not self._find(one, SETTLE):  # the time since it was sent is not known for sure
                self._write("refused", one.hash, why="it did not arrive")

    def _find(self, one: SentSubmission, seconds: float) -> bool:
        """Look for a file in Kaggle's list, at least once, for `seconds`, and record what is found."""
        assert self.kaggle is not None
        end = time.monotonic() + seconds
        mark = re.compile(rf"\bagentkd \w+ {one.hash[:12]}\b")
        if seconds:
            self._say(f"looking at Kaggle for {one.file}, for at most {seconds:.0f} s")
        while True:
            for listed in self.kaggle.submissions(self.slug):
                if mark.search(listed.message):
                    self._say(f"{one.file} is at Kaggle already: submission {listed.ref}")
                    self._write("sent", one.hash, ref=listed.ref, found=True)
                    return True
            if (left := end - time.monotonic()) <= 0:
                return False
            self.kaggle.pause(min(LOOK_EVERY, left))

    def _send(self, file: Path, digest: str, note: str, score: float | None) -> SentSubmission:
        assert self.kaggle is not None
        if not self._id:
            self._write("run", "", id=secrets.token_hex(4))
        message = f"agentkd {self._id} {digest[:12]}: {' '.join(note.split())[:MAX_NOTE]}"
        silence: Unanswered | None = None
        for number in range(SENDS + 1):
            self.kaggle.pause(0)
            if number < SENDS:  # the last round only looks
                self._write(
                    "intent",
                    digest,
                    file=file.name,
                    message=message,
                    score=score,
                    when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                )
            if self._find(self._known[digest], SETTLE if silence else 0.0):
                return self._known[digest]
            if number == SENDS:
                break
            try:
                ref = self.kaggle.submit(self.slug, file, message)
            except Unanswered as error:
                silence = error
                self._say(f"{error}: looking for it")
            except AgentkdError as error:
                self._write("refused", digest, why=str(error))
                raise
            else:
                self._write("sent", digest, ref=ref)
                return self._known[digest]
        raise WorldError(f"{silence}, and it is not in the list: run the same command again later, it looks first")

    def _await_score(self, one: SentSubmission) -> SentSubmission:
        if self.kaggle is None or one.ref is None or one.status != "PENDING":
            return one
        try:
            scored = self.kaggle.wait(self.slug, one.ref, self.policy.patience, self._say)
        except PutOff:
            raise
        except WorldError as error:  # the file is sent all the same
            self._say(f"submission {one.ref} of {one.file} has no score yet: {error}")
            return one
        if scored.status == "PENDING":
            self._say(f"submission {one.ref} of {one.file} is still being scored; the same command looks again")
            return one
        self._write(
            "scored", one.hash, status=scored.status, public=scored.public, private=scored.private, error=scored.error
        )
        if scored.status == "ERROR":
            self._say(f"Kaggle could not score {one.file}: {scored.error or 'it gives no reason'}")
        else:
            self._say(f"{one.file}: public score {'hidden' if scored.public is None else scored.public}")
        return self._known[one.hash]

    def _write(self, kind: str, digest: str, **values: Any) -> None:
        """Write one line of the journal, synced to disk."""
        row = {"kind": kind, "hash": digest, **values}
        shard = Shard(self.path)
        try:
            shard.append(json.dumps(row).encode())
            shard.sync()
        finally:
            shard.close()
        self._apply(row)

    def _apply(self, row: dict[str, Any]) -> None:
        """Take in one line of the journal."""
        kind, digest = row["kind"], row["hash"]
        values = {key: value for key, value in row.items() if key not in ("kind", "hash", "found", "why")}
        if kind == "run":
            self._id = row["id"]
        elif kind == "intent":
            self._known[digest] = SentSubmission(hash=digest, **values)
        elif kind == "refused":
            self._known.pop(digest, None)
        elif digest in self._known:
            self._known[digest] = replace(self._known[digest], **values)

    def _repair_journal(self) -> list[dict[str, Any]]:
        """Return the journal's rows, and remove lines that a crash has torn.

        Such a line is not missed, because Kaggle's list is searched before a file is sent."""
        try:
            lines = read_small(self.path, METRICS_BYTES).splitlines(keepends=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise disk_error(self.path, error) from None
        rows = [(line, _parse_row(line)) for line in lines]
        if any(row is None for _, row in rows):
            self._say(f"{self.path}: {sum(row is None for _, row in rows)} torn line taken out")
            write_atomically(self.path, b"".join(line for line, row in rows if row is not None))
        return [row for _, row in rows if row is not None]


def _at_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _parse_row(line: bytes) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = parse_json(line)
        _ROW.validate_python(row, strict=True)
    except ValueError:
        return None
    return row if line.endswith(b"\n") else None
