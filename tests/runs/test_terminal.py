"""Text of models, servers and files cannot command the terminal, and all that is printed goes one way."""

from __future__ import annotations

import ast
import os
import pty
import re
import sys

import pytest
from rich.table import Table

from agentkd.cli.main import run_command
from agentkd.cli.options import print_result
from agentkd.errors import UserError
from agentkd.runs import progress
from agentkd.runs.progress import LONGEST, Progress, say
from agentkd.runs.terminal import Terminal, escape_controls, print_line
from agentkd.trace import Usage
from tests.support.paths import ROOT

EVIL = (
    "\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x90q\x9c", "\x07", "\x08", "a\rb", "\x00", "\x7f", "\x0b", "\x0c",
    "\x85", *map(chr, (0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069, 0x200E, 0x200F, 0x061C)),
    *map(chr, (0x200B, 0x2060, 0xFEFF, 0x2028, 0x2029, 0xD83D, 0xE0041, 0xAD)),
)  # fmt: skip
HARMLESS = "Größe\t日本語 \n👩\u200d🔬 ن\u200cخ [bold] :smile: c:\\n"


@pytest.mark.parametrize("text", EVIL, ids=ascii)
def test_controls_are_written_as_escapes(text: str) -> None:
    shown = escape_controls(f"before {text} after")
    assert shown.startswith("before ") and shown.endswith(" after") and "\\" in shown
    assert all(char.isprintable() for char in shown)


def test_all_else_stays() -> None:
    assert escape_controls(HARMLESS) == HARMLESS
    assert escape_controls("one\r\ntwo") == "one\ntwo"


def test_a_line_stays_one(capfd: pytest.CaptureFixture[str]) -> None:
    """A name with a line break cannot begin a line that seems to be ours."""

    def fail() -> None:
        raise UserError("no file 'a\nb'")

    say("the file a\nerror: run this\r\nor that\u2028or that is damaged")
    assert capfd.readouterr().err == "the file a\\nerror: run this\\nor that\\u2028or that is damaged\n"
    assert run_command(fail) == 2
    assert capfd.readouterr().err == "error: no file 'a\\nb'\n"


@pytest.mark.parametrize("way", ["say", "table", "print_line", "error", "progress"])
def test_every_way_to_the_terminal(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = "name" + "".join(EVIL)
    if way == "say":
        say(text)
    elif way == "print_line":
        print_line(text)
    elif way == "table":
        table = Table(title=text)
        table.add_column(text)
        table.add_row(text)
        Terminal(width=4000).print(table)
    elif way == "progress":
        with Progress(text, total=1) as shown:
            shown.advance(Usage(), good=True)
    else:

        def fail() -> None:
            raise UserError(text)

        assert run_command(fail) == 2
    out, error = capfd.readouterr()
    assert r"name\x1b]0;title" in out + error
    assert not [char for char in out + error if not char.isprintable() and char != "\n"]


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"name": "".join(EVIL)}, print, as_json=True)
    out = capsys.readouterr().out
    assert out.isascii() and all(char.isprintable() for char in out.rstrip("\n"))


def test_on_a_real_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich styles a terminal's lines by escapes of its own; those of the text are not among them."""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        say("x\x1b]0;title\x07\u202ey\rz")
        with Progress("traces", total=2) as shown:
            shown.advance(Usage(), good=True)
        terminal.flush()
        text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert r"x\x1b]0;title\x07\u202ey\rz" in text and "\x1b]0;" not in text


def test_a_long_text_has_its_middle_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    say("a" * 3_000_000 + "the end")
    shown = capsys.readouterr().err
    assert len(shown) < LONGEST + 100 and "2,990,007 characters" in shown and shown.endswith("the end\n")


def test_a_terminal_that_is_closed_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Closed())
    monkeypatch.setattr(progress, "console", Terminal(stderr=True))
    say("nobody reads this")
    say("nor this")


ELSEWHERE = (
    "agents/agent_k/replay.py",  # processes of their own, whose output is captured, or which other programs read
    "agentkd/runs/watchdog.py", "agentkd/sandbox/", "agentkd/serving/llama_server.py",
    "agentkd/serving/supervisor.py", "agents/agent_k/solvers/",
    "agents/agent_k/model/harness.py", "eval/bench/speed/peers/", "eval/bench/truth/peers/", "eval/bench/mock.py",
)  # fmt: skip


def test_what_is_said_is_one_line() -> None:
    """A line break would be shown as \\n, as if it came from a name."""
    found = []
    for folder in ("agentkd", "agents", "retrievers", "eval"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "say":
                    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                    found += [f"{path}:{node.lineno}" for text in texts if isinstance(text, str) and "\n" in text]
    assert not found


def test_nothing_is_printed_past_it() -> None:
    """`print` is for JSON, which escapes by itself; consoles are `Terminal`s; stderr and stdout are not written."""
    found = []
    for folder in ("agentkd", "agents", "retrievers", "eval"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name == "agentkd/runs/terminal.py" or name.startswith(ELSEWHERE):
                continue
            source = path.read_text()
            if "rich.console" in source:
                found.append(f"{name} imports rich.console")
            if not re.search(r"print\(|sys\.std|input\(|os\.write", source):
                continue
            for node in ast.walk(ast.parse(source)):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
                    continue
                call, first = ast.unparse(node.func), ast.unparse(node.args[0]) if node.args else ""
                raw = call in ("input", "sys.stdout.write", "sys.stderr.write")
                if (
                    raw
                    or (call == "os.write" and first in ("1", "2"))
                    or (call == "print" and not first.startswith(("json.dumps(", "__version__")))
                ):
                    found.append(f"{name}:{node.lineno} {call} {first[:60]}")
    assert not found
