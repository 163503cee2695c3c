"""Exactly once: whatever is cut off, refused or repeated, Kaggle gets a file once. Real client, local Kaggle."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agentkd.agents.agent_k.competition import kaggle, kaggle_client, submit_once
from agentkd.agents.agent_k.competition.kaggle import Kaggle
from agentkd.agents.agent_k.competition.submit_once import Submissions, SubmitPolicy
from agentkd.errors import PutOff, UserError, WorldError
from tests.support.kaggle_server import RESET, Board, Server, accuracy, kaggle_server

if find_spec("kaggle") is None:  # importing it would log the user in
    pytest.skip("the kaggle package is not installed: pip install 'agentkd[kaggle]'", allow_module_level=True)
SOLUTION = "id,y,Usage\n1,0,Public\n2,1,Public\n3,1,Private\n4,1,Private\n"
GOOD = "id,y\n1,0\n2,0\n3,1\n4,1\n"
BETTER = "id,y\n1,0\n2,1\n3,0\n4,1\n"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of the user's, no terminal, little waiting."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE_", "AGENTKD_KAGGLE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kaggle_client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(kaggle, "FIRST_POLL", 0.01)
    monkeypatch.setattr(submit_once, "SETTLE", 0.1)
    monkeypatch.setattr(submit_once, "LOOK_EVERY", 0.02)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with kaggle_server(Board("tiny", score=accuracy(SOLUTION))) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


class World:
    """A run directory, its files, and the lines that were printed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []

    def file(self, content: str = GOOD, name: str = "submission.csv") -> Path:
        (self.path / name).write_text(content)
        return self.path / name

    def open(self, mode: Any = "auto", limit: int | None = 5, patience: float = 900.0, **options: Any) -> Submissions:
        policy = SubmitPolicy(mode, limit, patience)
        return Submissions(self.path, Kaggle(), "tiny", policy, self.said.append, **options)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "submissions.jsonl").read_text().splitlines()]

    def kinds(self) -> list[str]:
        return [row["kind"] for row in self.rows()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "run").mkdir()
    return World(tmp_path / "run")


def times(server: Server, content: str = GOOD) -> int:
    return server.received[hashlib.sha256(content.encode()).hexdigest()]


def test_a_submission_and_its_score(server: Server, world: World) -> None:
    runs = world.open()
    done = runs.submit(world.file(), note="baseline\nof LightGBM", score=0.75)
    assert done is not None
    assert (done.status, done.public, done.private, done.score) == ("COMPLETE", 0.5, 1.0, 0.75)
    assert done.message.endswith(f" {done.hash[:12]}: baseline of LightGBM")
    assert server.boards["tiny"].submissions[0]["description"] == done.message
    assert world.kinds() == ["run", "intent", "sent", "scored"]
    assert world.open().all() == [done]


def test_the_best_is_that_of_the_public_score(server: Server, world: World) -> None:
    runs = world.open()
    assert runs.best(lower_is_better=True) is None
    good = runs.submit(world.file(), note="", score=0.9)
    better = runs.submit(world.file(BETTER, "b.csv"), note="", score=0.1)
    assert runs.best(lower_is_better=False) == better
    assert runs.best(lower_is_better=True) == good


@pytest.mark.parametrize("again", ["here", "in a new process", "in another run", "with the journal lost"])
def test_the_same_content_is_sent_once(server: Server, world: World, tmp_path: Path, again: str) -> None:
    runs = world.open()
    first = runs.submit(world.file(), note="one", score=None)
    assert first is not None
    if again != "here":
        runs = world.open()
    if again == "in another run":
        world.path = tmp_path / "other"
        world.path.mkdir()
        runs = world.open()
    elif again == "with the journal lost":
        (world.path / "submissions.jsonl").unlink()
        runs = world.open()
    second = runs.submit(world.file(name="renamed.csv"), note="two", score=None)
    assert second is not None
    assert (second.ref, second.public) == (first.ref, first.public)
    assert times(server) == 1


def test_an_answer_that_is_known_needs_no_network(server: Server, world: World) -> None:
    first = world.open().submit(world.file(), note="", score=None)
    calls = len(server.log)
    assert world.open("never").submit(world.file(), note="", score=None) == first
    assert world.open(limit=1).submit(world.file(), note="", score=None) == first
    assert len(server.log) == calls


# Answers that do not come


@pytest.mark.parametrize("fault", [RESET, 500, 502, (429, {}), (200, {}, b"<html>"), (200, {}, {"message": "?"})])
@pytest.mark.parametrize("lag", [0, 3])
def test_it_arrived_but_the_answer_did_not(
    server: Server, world: World, fault: Any, lag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found in the list, also where that comes late, and not sent again."""
    monkeypatch.setattr(submit_once, "SETTLE", 20.0)
    server.boards["tiny"].lag = lag
    server.late_faults["CreateSubmission"] = [fault]
    done = world.open().submit(world.file(), note="", score=None)
    assert done is not None
    assert done.status == "COMPLETE"
    assert times(server) == len(server.calls("CreateSubmission")) == 1
    assert [row["found"] for row in world.rows() if row["kind"] == "sent"] == [True]


def test_who_does_not_look_sends_twice(server: Server, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counterproof: these tests would see a second submission."""
    monkeypatch.setattr(Submissions, "_find", lambda *_: False)
    server.late_faults["CreateSubmission"] = [RESET]
    world.open().submit(world.file(), note="", score=None)
    assert times(server) == 2


@pytest.mark.parametrize("fault", [RESET, 503, (429, {})])
def test_it_did_not_arrive(server: Server, world: World, fault: Any) -> None:
    server.faults["CreateSubmission"] = [fault, fault]
    done = world.open().submit(world.file(), note="", score=None)
    assert done is not None
    assert times(server) == 1
    assert len(server.calls("CreateSubmission")) == 3
    assert world.kinds() == ["run", "intent", "intent", "intent", "sent", "scored"]


def test_it_never_arrives(server: Server, world: World) -> None:
    server.faults["CreateSubmission"] = [500] * 3
    with pytest.raises(WorldError, match="run the same command again later, it looks first"):
        world.open().submit(world.file(), note="", score=None)
    assert [one.ref for one in world.open().all()] == [None]  # an open intent
    assert times(server) == 0
    done = world.open().submit(world.file(), note="", score=None)
    assert done is not None
    assert times(server) == 1


@pytest.mark.parametrize(("method", "fault"), [("PUT", 503), ("PUT", RESET), ("StartSubmissionUpload", (429, {}))])
def test_the_upload_is_tried_again(server: Server, world: World, method: str, fault: Any) -> None:
    server.faults[method] = [fault]
    assert world.open().submit(world.file(), note="", score=None) is not None
    assert times(server) == 1
    assert len(server.calls(method)) == 2


def test_a_slow_upload(server: Server, world: World) -> None:
    server.rate = 200_000
    server.boards["tiny"].score = lambda content: (len(content) / 1e6, None)
    done = world.open().submit(world.file("x" * 100_000), note="", score=None)
    assert done is not None
    assert (done.public, done.private) == (0.1, None)


# kill -9

SEND = """
import sys
from pathlib import Path
from agentkd.agents.agent_k.competition import kaggle
from agentkd.agents.agent_k.competition.kaggle import Kaggle
from agentkd.agents.agent_k.competition.submit_once import Submissions, SubmitPolicy
run = Path(sys.argv[1])
Submissions(run, Kaggle(), "tiny", SubmitPolicy("auto", 5)).submit(run / "submission.csv", note="", score=None)
"""
MOMENTS = {
    "while it is looked for": "ListSubmissions",
    "before the upload": "StartSubmissionUpload",
    "in the upload": "PUT",
    "between intent and sent": "CreateSubmission",
    "while it is scored": "GetSubmission",
}


@pytest.mark.parametrize("method", MOMENTS.values(), ids=MOMENTS)
def test_kill_9(server: Server, world: World, method: str) -> None:
    server.hold.add(method)
    content = GOOD if method != "PUT" else "x" * 1_000_000
    server.rate = 100_000 if method == "PUT" else 0
    world.file(content)
    process = subprocess.Popen([sys.executable, "-c", SEND, str(world.path)])
    board = server.boards["tiny"]
    received = method in ("CreateSubmission", "GetSubmission")
    assert server.wait_for(lambda: bool([entry for entry in server.log if entry.method == method]))
    if received:
        assert server.wait_for(lambda: bool(board.submissions))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert world.kinds() == ["run", "intent", "sent"][: 3 if method == "GetSubmission" else 2]
    assert len(board.submissions) == received

    server.hold.clear()
    server.release.set()
    server.rate = 0
    done = world.open().submit(world.file(content), note="", score=None)
    assert done is not None
    assert done.status == ("ERROR" if method == "PUT" else "COMPLETE")  # a million x are no CSV
    assert len(board.submissions) == times(server, content) == 1


@pytest.mark.parametrize("torn", [b'{"kind": "sent", "ha', b"\0" * 100, b'{"kind": "sent"}\n', b"[1]\n"])
def test_a_torn_line_is_taken_out(server: Server, world: World, torn: bytes) -> None:
    """The lost line held the ref; Kaggle's list gives it again."""
    world.open().submit(world.file(), note="", score=None)
    journal = world.path / "submissions.jsonl"
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole[:2]) + torn)
    runs = world.open()
    assert journal.read_bytes() == b"".join(whole[:2])
    done = runs.submit(world.file(), note="", score=None)
    assert done is not None
    assert done.ref == 1000
    assert times(server) == 1


@pytest.mark.parametrize("length", range(0, 700, 53))
def test_a_journal_cut_anywhere_never_sends_twice(server: Server, world: World, length: int) -> None:
    world.open().submit(world.file(), note="", score=None)
    journal = world.path / "submissions.jsonl"
    journal.write_bytes(journal.read_bytes()[:length])
    done = world.open().submit(world.file(), note="", score=None)
    assert done is not None
    assert (done.ref, done.public, times(server)) == (1000, 0.5, 1)


# Refusals and limits


def test_a_file_that_fails_at_scoring_is_not_sent_again(server: Server, world: World) -> None:
    for _ in range(2):
        done = world.open().submit(world.file("id,y\n1,0\n"), note="", score=0.9)
        assert done is not None
        assert (done.status, done.error) == ("ERROR", "Submission must have 4 rows with the ids of the test set")
    assert any("could not score submission.csv: Submission must have 4 rows" in line for line in world.said)
    assert len(server.boards["tiny"].submissions) == 1


def test_a_refusal_is_told_and_the_file_may_be_sent_later(server: Server, world: World) -> None:
    server.boards["tiny"].rules_accepted = False
    with pytest.raises(UserError, match="competitions/tiny/rules"):
        world.open().submit(world.file(), note="", score=None)
    assert world.kinds() == ["run", "intent", "refused"]
    server.boards["tiny"].rules_accepted = True
    assert world.open().submit(world.file(), note="", score=None) is not None
    assert times(server) == 1


def test_the_daily_limit_is_known_before(server: Server, world: World) -> None:
    server.boards["tiny"].daily = 1
    assert world.open().submit(world.file(), note="", score=None) is not None
    assert world.open().submit(world.file(BETTER), note="", score=None) is None
    assert "used up" in world.said[-1]
    assert len(server.calls("CreateSubmission")) == 1


def test_the_daily_limit_as_a_refusal(server: Server, world: World) -> None:
    """Somebody else of the team was faster than our look at the quota."""
    server.faults["CreateSubmission"] = [(400, {}, {"code": 400, "message": "You have used all your submissions"})]
    with pytest.raises(WorldError, match="400: You have used all your submissions"):
        world.open().submit(world.file(), note="", score=None)
    assert world.kinds()[-1] == "refused"


def test_the_limit_of_the_run(server: Server, world: World) -> None:
    assert world.open(limit=1).submit(world.file(), note="", score=None) is not None
    assert world.open(limit=1).submit(world.file(BETTER), note="", score=None) is None
    assert "--max-submissions" in world.said[-1]
    assert world.open(limit=2).submit(world.file(BETTER), note="", score=None) is not None


@pytest.mark.parametrize(("state", "said"), [("notebooks_only", "takes notebooks, not files"), ("closed", "any more")])
def test_competitions_that_take_no_files(server: Server, world: World, state: str, said: str) -> None:
    setattr(server.boards["tiny"], state, True)
    assert world.open().submit(world.file(), note="", score=None) is None
    assert said in world.said[-1]
    assert not server.calls("StartSubmissionUpload")


def test_who_has_not_joined_yet_may_submit(server: Server, world: World) -> None:
    server.boards["tiny"].entered = False
    assert world.open().submit(world.file(), note="", score=None) is not None


def test_a_local_folder_is_never_submitted(world: World) -> None:
    runs = Submissions(world.path, None, "tiny", SubmitPolicy("auto", 5), world.said.append)
    assert runs.submit(world.file(), note="", score=None) is None
    assert "local folder" in world.said[-1]


def test_a_file_that_is_not_there(server: Server, world: World) -> None:
    with pytest.raises(UserError, match=r"cannot read .*nowhere"):
        world.open().submit(world.path / "nowhere", note="", score=None)


def test_a_score_that_takes_too_long_comes_later(server: Server, world: World) -> None:
    server.boards["tiny"].pending_polls = 10**6
    done = world.open(patience=0.05).submit(world.file(), note="", score=None)
    assert done is not None
    assert (done.status, done.ref) == ("PENDING", 1000)
    server.boards["tiny"].pending_polls = 0
    done = world.open().submit(world.file(), note="", score=None)
    assert done is not None
    assert done.status == "COMPLETE"
    assert times(server) == 1


# ask, auto, never


@pytest.mark.parametrize(("answer", "sent"), [("y", 1), ("Yes ", 1), ("", 0), ("n", 0), ("yo", 0), (None, 0)])
def test_ask(server: Server, world: World, answer: str | None, sent: int) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        if answer is None:
            raise EOFError
        return answer

    world.open("ask", ask=ask).submit(world.file(), note="", score=0.81234567)
    assert asked == ["Submit it? [y/N] "]
    assert times(server) == sent
    facts = next(line for line in world.said if "CV score" in line)
    assert all(part in facts for part in ("submission.csv", "tiny", "0.81235", "5 left today", "0 of 5"))


def test_ask_without_a_terminal_and_never(server: Server, world: World) -> None:
    for mode, said in (("ask", "no terminal"), ("never", "--submit never")):
        assert world.open(mode).submit(world.file(), note="", score=None) is None
        assert said in world.said[-1]
    assert not server.log


def test_a_file_whose_sending_was_cut_off_is_asked_about_again(server: Server, world: World) -> None:
    server.faults["CreateSubmission"] = [500] * 3
    with pytest.raises(WorldError):
        world.open("auto").submit(world.file(), note="", score=None)
    assert world.open("ask").submit(world.file(), note="", score=None) is None
    assert world.open("ask", ask=lambda _: "n").submit(world.file(), note="", score=None) is None
    assert times(server) == 0
    assert world.open("ask", ask=lambda _: "y").submit(world.file(), note="", score=None) is not None
    assert times(server) == 1


@pytest.mark.parametrize("answered", [True, False])
def test_a_run_that_is_stopping_sends_nothing(answered: bool, server: Server, world: World) -> None:
    """Also where the yes comes after ctrl-C; the next call asks again."""
    client = Kaggle()

    def ask(question: str) -> str:
        client.stop.set()
        if not answered:
            client.pause(0.1)
        return "y"

    with pytest.raises(PutOff):
        Submissions(world.path, client, "tiny", SubmitPolicy("ask", 5), world.said.append, ask).submit(
            world.file(), note="", score=None
        )
    assert times(server) == 0 and not (world.path / "submissions.jsonl").exists()
    assert world.open().submit(world.file(), note="", score=None) is not None
    assert times(server) == 1


def test_a_run_that_is_stopping_does_not_wait_for_a_score(server: Server, world: World) -> None:
    server.boards["tiny"].pending_polls = 10**6
    client = Kaggle()
    threading.Timer(0.5, client.stop.set).start()
    with pytest.raises(PutOff):
        Submissions(world.path, client, "tiny", SubmitPolicy("auto", 5), world.said.append).submit(
            world.file(), note="", score=None
        )
    server.boards["tiny"].pending_polls = 1
    sent = world.open().submit(world.file(), note="", score=None)
    assert sent is not None and sent.status == "COMPLETE" and times(server) == 1


def test_ask_at_a_terminal(server: Server, world: World) -> None:
    """The question goes to stderr: stdout stays free for --json."""
    leader, follower = pty.openpty()
    world.file()
    process = subprocess.Popen(
        [sys.executable, "-c", SEND.replace('"auto"', '"ask"'), str(world.path)],
        stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(leader, b"y\n")
    out, err = process.communicate(timeout=100)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0, err
    assert out == ""
    assert "Submit it? [y/N]" in err
    assert times(server) == 1
