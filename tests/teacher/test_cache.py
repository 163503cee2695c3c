"""Responses on disk: found again, by two processes at once, and never another answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentkd.teacher.cache import Cache
from agentkd.trace import content_hash
from tests.support.paths import ROOT


def key(number: int) -> str:
    return content_hash(number)


def test_what_is_put_is_found_again_and_its_cost_is_summed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert cache.get(key(0)) is None and key(0) not in cache
    cache.put(key(0), {"texts": ["Ä🙂\n\ud800"]}, tokens=7, usd=1e-07)
    cache.put(key(1), {"texts": []}, tokens=3, usd=0.25)
    for again in (cache, Cache(tmp_path / "cache")):
        assert again.get(key(0)) == {"texts": ["Ä🙂\n\ud800"]} and again.get(key(1)) == {"texts": []}
        assert len(again) == 2 and key(1) in again and again.get(key(2)) is None
        assert again.tokens == 10 and again.usd == pytest.approx(0.2500001)


def test_two_writers_have_a_shard_each_and_a_third_goes_on_with_the_first(tmp_path: Path) -> None:
    one, two = Cache(tmp_path), Cache(tmp_path)
    for number in range(0, 40, 2):
        one.put(key(number), {"n": number}, tokens=1)
        two.put(key(number + 1), {"n": number + 1}, tokens=1)
    one.close()
    two.close()
    three = Cache(tmp_path)
    assert [three.get(key(number)) for number in range(40)] == [{"n": number} for number in range(40)]
    assert three.tokens == 40
    three.put(key(99), {"n": 99})
    three.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["responses-0.jsonl", "responses-1.jsonl"]
    three.put(key(100), {"n": 100})
    assert three.get(key(100)) == {"n": 100} and three.get(key(99)) == {"n": 99}, "it opens again after close"


def test_a_line_is_safe_from_kill_9_once_it_is_put(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from agentkd.teacher.cache import Cache\n"
        "from agentkd.trace import content_hash\n"
        "cache = Cache(Path(sys.argv[1]))\n"
        "for number in range(100): cache.put(content_hash(number), {'n': number})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
    assert done.returncode == -9
    assert len(Cache(tmp_path)) == 100


def test_a_torn_line_takes_no_other_with_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(3):
        cache.put(key(number), {"n": number}, tokens=1)
    cache.close()
    file = tmp_path / "responses-0.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    again = Cache(tmp_path)
    assert [again.get(key(number)) for number in range(3)] == [{"n": 0}, {"n": 1}, None] and again.tokens == 2
    again.put(key(3), {"n": 3})
    again.put(key(2), {"n": 2})
    again.close()
    assert [Cache(tmp_path).get(key(number)) for number in range(4)] == [{"n": number} for number in range(4)]


def test_what_is_damaged_after_it_was_read_is_a_miss(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(key(0), {"n": 0})
    file = tmp_path / "responses-0.jsonl"
    file.write_bytes(b"\0" * file.stat().st_size)
    assert cache.get(key(0)) is None
    file.write_bytes(b"")
    assert cache.get(key(0)) is None
