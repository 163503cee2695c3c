"""Code against unit tests, in the sandbox.

The answer's code (its last fenced block) runs first, then each test of the item on its own: a statement such as
`assert add(2, 3) == 5`, or a block of them. The tests of one answer share a process, so code that looks for its tester
can fool it; it can do no more, as the sandbox holds it (docs/sandbox.md).
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
from typing import Any

from agentkd.errors import UserError
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import Sandbox, open_sandbox
from agentkd.sandbox.temporary import temporary_folder
from agentkd.trace import Check, StageTest
from agentkd.verifiers.contract import Finding, Item
from agentkd.verifiers.fenced import unfence

SECONDS, MEMORY_MB = 10.0, 1024
TESTS = ("tests", "test_list", "test")  # the fields of an item that may hold them
# It tells each outcome on a line that begins with a word which the code cannot know before it runs.
_HARNESS = """
import json, os, sys
work = json.load(sys.stdin)
tell = os.dup(1)
os.dup2(2, 1)
def say(**outcome):
    os.write(tell, (work["word"] + json.dumps(outcome) + "\\n").encode())
def attempt(name, text, scope):
    try:
        exec(compile(text, name, "exec"), scope)
    except BaseException as error:
        say(name=name, passed=False, detail=f"{type(error).__name__}: {error}"[:160])
        return False
    say(name=name, passed=True, detail="")
    return True
scope = {"__name__": "answer"}
if attempt("code", work["code"], scope):
    for number, test in enumerate(work["tests"], 1):
        attempt(f"test {number}", test, scope)
say(name="end", passed=True, detail="")
"""


class Code:
    """Check that the answer's Python passes all of the item's tests, in `seconds` for all together.

    The score is the share that pass."""

    name = "code"
    timeout = None  # the sandbox keeps the time

    def __init__(self, seconds: float = SECONDS, sandbox: Sandbox | None = None) -> None:
        self.seconds, self._sandbox, self._lock = seconds, sandbox, threading.Lock()

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox, opened at the first use. Raises UserError where none works here."""
        with self._lock:
            self._sandbox = self._sandbox or open_sandbox()
        return self._sandbox

    def __call__(self, item: Item, answer: str) -> Finding:
        tests = read_tests(item)
        word = secrets.token_hex(16)
        task = {"word": word, "code": unfence(answer), "tests": tests}
        with temporary_folder() as work:
            (work / "task.json").write_text(json.dumps(task), encoding="utf-8")
            # the file is gone before the code runs
            start = "import os, sys; f = open('task.json'); os.remove('task.json'); os.dup2(f.fileno(), 0); " + (
                f"exec({_HARNESS!r})"
            )
            outcome = self.sandbox.run(
                [sys.executable, "-c", start], work=work, limits=Limits(self.seconds, MEMORY_MB, disk_mb=64)
            )
        lines = [line[len(word) :] for line in outcome.output.splitlines() if line.startswith(word)]
        found = [StageTest(**row) for row in map(json.loads, lines) if row["name"] != "end"]
        by_name = {test.name: test for test in found}
        passed = [by_name.get(f"test {number}") for number in range(1, len(tests) + 1)]
        score = sum(test is not None and test.passed for test in passed) / len(tests)
        detail = next((f"{test.name}: {test.detail}" for test in found if not test.passed), "")
        if score < 1 and not detail:
            detail = f"stopped: the limit of {outcome.stopped}" if outcome.stopped else "it ended before the tests did"
        return Finding(Check(name=self.name, passed=score == 1, detail=detail, score=score), tuple(found))


def read_tests(item: Item) -> list[str]:
    """Read the tests of an item: a text, or a list of texts. UserError where there is none."""
    value: Any = next((item[key] for key in TESTS if item.get(key)), None)
    tests = [value] if isinstance(value, str) else list(value or ())
    if not tests or not all(isinstance(test, str) for test in tests):
        raise UserError(
            f"item {str(item.get('id', ''))[:60]!r} has no tests: give `tests`, a list of statements such as "
            "assert add(2, 3) == 5"
        )
    return tests
