"""The ladder, the names of verifiers, and users' functions that raise, hang, die or return anything."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkd.errors import UserError, WorldError
from agentkd.trace import Check, Verdict
from agentkd.verifiers.contract import Verifier
from agentkd.verifiers.ladder import Climb, Ladder
from agentkd.verifiers.names import parse_spec, split_specs
from agentkd.verifiers.open import open_ladder

ITEM = {"id": "q1", "answer": "Bern"}
FUNCTIONS = """
import ctypes, os, re, time
from agentkd.trace import Check
def right(item, answer): return answer == item["answer"]
async def score(item, answer): return 0.7
def detailed(item, answer): return Check(name="mine", passed=False, detail="too short")
def raises(item, answer): raise ValueError("first\\nsecond")
def sleeps(item, answer): time.sleep(1000)
def spins(item, answer):
    while True: pass
def backtracks(item, answer): return bool(re.match("(a+)+$", "a" * 50 + "b"))
def dies(item, answer): os._exit(3)
def exits(item, answer): raise SystemExit(0)
def nothing(item, answer): pass
def nan(item, answer): return float("nan")
def prints(item, answer):
    print("{}")
    return True
value = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_checks.py").write_text(FUNCTIONS)
    (tmp_path / "broken_checks.py").write_text("import nowhere_at_all")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield "my_checks"
    sys.path[:] = before


def climb(names: Sequence[str], answer: str = "Bern", *, timeout: float = 20.0, times: int = 1) -> list[Climb]:
    async def run() -> list[Climb]:
        async with open_ladder(names, run=Path("run"), timeout=timeout) as ladder:
            return list(await asyncio.gather(*(ladder.climb(ITEM, answer) for _ in range(times))))

    return asyncio.run(run())


def test_the_verdict_names_the_highest_rung() -> None:
    def short(item: dict[str, Any], answer: str) -> bool:
        return len(answer) < 9

    async def right(item: dict[str, Any], answer: str) -> float:
        return float(answer == item["answer"])

    ladder = Ladder([short, right])
    assert asyncio.run(ladder.climb(ITEM, "Bern")).verdict == Verdict(ok=True, rung="right")
    refused = asyncio.run(ladder.climb(ITEM, "Basel"))
    assert refused.verdict == Verdict(ok=False, rung="short", reason="right: not passed") and refused.score == 0.0
    assert [(item.name, item.passed) for item in refused.evidence if isinstance(item, Check)] == [
        ("short", True),
        ("right", False),
    ]
    assert asyncio.run(ladder.climb(ITEM, "Zollikofen")).verdict.rung == "none"
    whole = asyncio.run(Ladder([ladder, right]).climb(ITEM, "Bern"))
    assert whole.verdict.rung == "right" and len(whole.evidence) == 4


def test_names_are_split_where_a_verifier_begins() -> None:
    text = r"exact,numeric:tolerance=0.1,relative=0.2,regex:^\d{1,3}(a,b)$,my.checks:right,sql:geo.db,rows=5"
    assert split_specs(text) == [
        "exact",
        "numeric:tolerance=0.1,relative=0.2",
        r"regex:^\d{1,3}(a,b)$",
        "my.checks:right",
        "sql:geo.db,rows=5",
    ]
    assert (
        parse_spec("sql:geo.db,rows=5").options == {"rows": 5}
        and parse_spec("my.checks:f,at_least=0.9").argument == "my.checks:f"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exakt", "unknown verifier 'exakt'; did you mean exact"),
        ("exact:x", "exact takes nothing"),
        ("sql", "sql needs DB"),
        ("numeric:tol=1", "unknown option of numeric 'tol'"),
        ("numeric:tolerance=x", "is no number"),
        ("regex:(", "unterminated"),
        ("sql:no.db", "no such file"),
        ("json-schema:no.json", "no such file"),
        ("judge:gpt", "unknown teacher 'gpt'"),
        ("", "no verifier"),
        ("my_checks:rigth", "has no 'rigth'; did you mean right"),
        ("nowhere:f", "there is no module nowhere"),
        ("broken_checks:f", "importing it failed: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("my_checks:value", "is a int: name a function"),
        ("numeric:tolerance=-1", "from 0 on"),
    ],
)
def test_a_wrong_name_is_one_line_before_anything_is_verified(name: str, message: str, module: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        climb([name] if name else [])
    assert "\n" not in str(error.value)


def test_functions_of_the_user(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    passed, *_ = climb(["exact", "my_checks:right,my_checks:score", "my_checks:prints"], times=3)
    assert passed.verdict == Verdict(ok=True, rung="my_checks:prints") and passed.score == 0.7
    assert "{}" not in capfd.readouterr().out
    (strict,) = climb(["my_checks:score,at_least=0.8"])
    assert not strict.verdict.ok and strict.score == 0.7
    (refused,) = climb(["my_checks:right", "my_checks:detailed"])
    assert refused.verdict == Verdict(ok=False, rung="my_checks:right", reason="my_checks:detailed: too short")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "it raised ValueError: first second"),
        ("sleeps", "it took longer than 1 s"),
        ("spins", "it took longer than 1 s"),
        ("backtracks", "it took longer than 1 s"),
        ("dies", "its process ended"),
        ("exits", "it raised SystemExit: 0"),
        ("nothing", "it returned NoneType: return a bool, a score from 0 to 1 or a Check"),
        ("nan", "it returned NaN"),
    ],
)
def test_what_raises_or_hangs_costs_its_sample_only(name: str, message: str, module: str) -> None:
    begin = time.monotonic()
    both = climb([f"my_checks:{name}"], timeout=1, times=2)
    assert time.monotonic() - begin < 20
    for found in both:
        assert not found.verdict.ok and found.failed == found.verdict.reason and "\n" not in found.failed
        assert found.failed.startswith(f"my_checks:{name} failed: {message}")


def test_no_process_is_left(module: str) -> None:
    climb(["my_checks:spins"], timeout=1)
    climb(["my_checks:right"])
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children if Path(f"/proc/{child}").exists()]
    assert not [command for command in commands if b"verifiers.worker" in command]


def test_a_pattern_that_takes_for_ever_is_ended(tmp_path: Path) -> None:
    (found,) = climb(["regex:^(a+)+$"], "a" * 60 + "b", timeout=1)
    assert found.failed == "regex failed: it took longer than 1 s"


def test_a_callable_of_this_process_that_hangs() -> None:
    """It is left behind in its thread; others of the same ladder go on."""

    def hangs(item: dict[str, Any], answer: str) -> bool:
        time.sleep(30)
        return True

    async def both() -> list[Climb]:
        ladder = Ladder([hangs], seconds=0.2)
        return list(await asyncio.gather(*(ladder.climb(ITEM, "x") for _ in range(40))))

    assert {found.failed for found in asyncio.run(both())} == {"hangs failed: it took longer than 0.2 s"}


def test_a_server_that_is_down_leaves_the_verdict_open() -> None:
    async def judge(item: dict[str, Any], answer: str) -> bool:
        raise WorldError("refused")

    with pytest.raises(WorldError):
        asyncio.run(Ladder([judge]).climb(ITEM, "x"))


def test_verifiers_are_callables() -> None:
    verifier: Verifier = Ladder([])
    assert not asyncio.run(Ladder([verifier]).climb(ITEM, "x")).verdict.ok
