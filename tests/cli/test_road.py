"""The road as a newcomer walks it: own questions without gold, and each printed command run as it is printed."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubts.conftest import ALBUMS, BANDS
from tests.support.warm import KBQA, TRAIN, warm

TRIPLES = [
    (name, relation, value)
    for name, row in ALBUMS.items()
    for relation, value in zip(("performed by", "record label", "release year", "produced by"), row, strict=True)
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a knowledge base, and questions of which only those of the test have answers."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "music.tsv").write_text("".join("\t".join(row) + "\n" for row in TRIPLES))
    rows = [
        {"question": f"When was the release of {name}, which year?", "topic_entities": [name], "split": "train"}
        for name in ALBUMS
    ]
    rows += [
        {"question": f"Which albums did {band} record, on whatever label?", "topic_entities": [band], "split": "train"}
        for band in BANDS
    ]
    for name, (_, _, year, _) in ALBUMS.items():
        rows.append(
            {
                "question": f"What is the release year of {name}?",
                "topic_entities": [name],
                "split": "test",
                "answers": [year],
            }
        )  # type: ignore[dict-item]
    (folder / "music.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(line: str, here: Path, modules: tuple[str, ...] = KBQA) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    assert words[0] == "agentkd"
    return warm(*modules).run([sys.executable, "-m", "agentkd", *words[1:]], cwd=here)


def next_command(told: str) -> str:
    (found,) = re.findall(r"next: (agentkd .*)", told)
    return str(found)


@pytest.fixture(scope="module")
def generated(here: Path) -> subprocess.CompletedProcess[str]:
    return run("agentkd generate --task music.jsonl --kb music.tsv --agent top-path --retriever bm25", here)


def test_without_gold_proven_is_not_called_right(here: Path, generated: subprocess.CompletedProcess[str]) -> None:
    told = generated.stderr
    assert generated.returncode == 0, told
    assert "8 proven, not checked against answers" in told and "verified" not in told and "\\n" not in told
    assert (
        "Which albums did Anchors record, on whatever label? → Polar; Nightjar" in told
    )  # an example of the wrong group
    assert "doubtful: asks “which albums”; the answers are known as “record label”" in told
    assert "warning: 3 of 8 proven traces" in told and "agentkd review runs/music-top-path" in told
    page = (here / "runs/music-top-path/report.html").read_text()
    large = re.findall(r'class="value">([^<]*)<', page)
    assert (
        "proven, not checked against answers" in page
        and large[:2] == ["8", "3"]
        and not any("%" in one for one in large)
    )
    assert "▲ doubtful:" in page and page.index("▲ doubtful:") < page.index("<h2>Cost")
    metrics = json.loads((here / "runs/music-top-path/metrics.json").read_text())
    assert metrics["rungs"] == {"fits": 5, "complete": 3}


@pytest.mark.whole
def test_the_printed_commands_ask_the_runs_own_task(here: Path, generated: subprocess.CompletedProcess[str]) -> None:
    line = next_command(generated.stderr)
    assert line == "agentkd distill --traces runs/music-top-path"
    from tests.support.students import little_student

    little_student(here / "base")
    distilled = run(f"{line} --student base epochs=1 precision=fp32", here, TRAIN)
    assert distilled.returncode == 0, distilled.stderr
    assert "warning: 3 proven traces are left out" in distilled.stderr
    evaluated = run(next_command(distilled.stderr), here, TRAIN)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "task music.jsonl, kb music.tsv, retriever bm25: as students/music-sft was taught" in evaluated.stderr
    assert "music test · 5 questions" in evaluated.stdout and "weighed" in evaluated.stdout
    assert "students/music-sft minus base" in evaluated.stdout
    card = (here / "students/music-sft/README.md").read_text()
    assert "| music | test | 5 |" in card and "geo" not in card
    assert "proven traces, not checked against answers | 8 of 8" in card and "3 of the path" in card
    (use,) = re.findall(r"`(agentkd eval [^`]*)`", card)
    again = run(use, here, TRAIN)
    assert again.returncode == 0 and "music test · 5 questions" in again.stdout, again.stderr


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, words: list[str], here: Path) -> None:
        self.ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "agentkd", *words]
        self.process = subprocess.Popen(command, cwd=here, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        self.seen = ""

    def expect(self, text: str) -> None:
        while text not in self.seen:
            assert select.select([self.ours], [], [], 60)[0], self.seen
            try:
                self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
            except OSError:  # the command has ended
                pytest.fail(self.seen)

    def answer(self, word: str) -> None:
        self.expect("q: quit")
        self.seen = self.seen.partition("q: quit")[2]
        os.write(self.ours, f"{word}\n".encode())


@pytest.fixture
def terminal(here: Path) -> Iterator[Terminal]:
    started = Terminal(["review", "runs/music-top-path", "--count", "4", "--json"], here)
    yield started
    started.process.kill()
    started.process.wait()
    os.close(started.ours)


@pytest.mark.usefixtures("generated")
def test_a_review_needs_a_person(here: Path) -> None:
    done = run("agentkd review runs/music-top-path --json", here)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: review asks a person: run it in a terminal")
    assert not (here / "runs/music-top-path/review.jsonl").exists()


@pytest.mark.usefixtures("generated")
def test_a_review_at_a_terminal(here: Path, terminal: Terminal) -> None:
    for word in ("what?", "y", "n", "s", "q"):  # the first is asked again
        terminal.answer(word)
    out, _ = terminal.process.communicate(timeout=60)
    result = json.loads(out)
    assert (result["right"], result["wrong"], result["skipped"], result["left"]) == (1, 1, 1, 1)
    assert result["error_rate"] == 50.0 and terminal.process.returncode == 0
    assert "1 of 2 reviewed traces are wrong: 50 % [9, 91]" in (here / "runs/music-top-path/report.html").read_text()
