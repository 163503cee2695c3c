"""A fuzzing loop: seeded, bounded in time, with a limit of time and of memory.

A target has the same rounds every time, and 20 s for them. `make nightly` looks for new faults instead: it sets
`AGENTKD_FUZZ_SECONDS`, which has no limit of rounds, and `AGENTKD_FUZZ_SEED` (0), the seed of the first round. A
failure names the seed of its round.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

NIGHTLY = "AGENTKD_FUZZ_SECONDS" in os.environ
SECONDS = float(os.environ.get("AGENTKD_FUZZ_SECONDS", "20"))
SEED = int(os.environ.get("AGENTKD_FUZZ_SEED", "0"))
ROUND_SECONDS = 30  # for one round: longer is a hang
MEMORY_MB = 1200  # more than the process had at its start, when it is a copy of the one that tests


def fuzz(one_round: Callable[[random.Random], object], *, rounds: int) -> int:
    """Call `one_round` so many times, each with a new random generator; return the number of rounds.

    It runs in a forked process. Fails with the seed where a round raises, takes 30 s or more, or where the process
    has used more than 1.2 GB of its own, and where the time was up before a quarter of the rounds."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_rounds, args=(one_round, sys.maxsize if NIGHTLY else rounds, theirs))
    process.start()
    theirs.close()
    done, failure = 0, ""
    try:
        while True:
            done, failure = ours.recv()
    except EOFError:
        pass
    process.join()
    assert not failure, f"round with AGENTKD_FUZZ_SEED={SEED + done}:\n{failure}"
    assert process.exitcode == 0, f"AGENTKD_FUZZ_SEED={SEED + done}: the process ended with {process.exitcode}"
    assert done >= rounds / 4, f"{done} of {rounds} rounds in {SECONDS:g} s: make a round smaller"
    return done


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _rounds(one_round: Callable[[random.Random], object], most: int, report: Connection) -> None:
    def hang(*_: object) -> None:
        raise TimeoutError(f"a round took {ROUND_SECONDS} s")

    signal.signal(signal.SIGALRM, hang)
    end, rounds, inherited = time.monotonic() + SECONDS, 0, _peak_mb()
    while rounds < most and time.monotonic() < end:
        report.send((rounds, ""))
        signal.alarm(ROUND_SECONDS)
        try:
            one_round(random.Random(SEED + rounds))
        except BaseException:
            report.send((rounds, traceback.format_exc()))
            return
        signal.alarm(0)
        rounds += 1
        used = _peak_mb() - inherited
        if used > MEMORY_MB:
            report.send((rounds - 1, f"{used} MB of memory, at most {MEMORY_MB} are allowed"))
            return
    report.send((rounds, ""))


def damage(random: random.Random, data: bytes) -> bytes:
    """Return the bytes with some of them flipped, cut, doubled, swapped or replaced."""
    made = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(made) + 1)
        end = min(len(made), at + random.choice((1, 2, 16, 256)))
        change = random.randrange(6)
        if change == 0 and at < len(made):
            made[at] ^= 1 << random.randrange(8)
        elif change == 1:
            del made[at:]
        elif change == 2:
            del made[at:end]
        elif change == 3:
            made[at:at] = made[at:end] * random.choice((1, 3, 50))
        elif change == 4:
            made[at:end] = random.randbytes(end - at)
        else:
            made[at:at] = random.choice(
                (b"\0", b"\xff\xfe", b"\x1b[31m", b"\xed\xa0\xbd", b"\n", b'"', b"[" * 2000, b"1e999")
            )
    return bytes(made)


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, 10**400, 1e999, float("nan"), "", "x", "half \ud83d", "\x1b[31m\0\u202e", "a\nb",
    "/dev/zero", "..", "https://127.0.0.1:9/#m", "9" * 5000, [], {}, [[]], [None], {"": None}, {"id": 1}, [1, "a"],
)  # fmt: skip


def damage_value(random: random.Random, value: Any) -> Any:
    """Return a JSON value in which one to three of the values are replaced, left out, doubled or renamed."""
    whole = [copy.deepcopy(value)]
    for _ in range(random.randint(1, 3)):
        holder: Any = whole
        while True:
            key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[key], dict | list) or not holder[key] or random.random() < 0.1:
                break
            holder = holder[key]
        change = random.randrange(5)
        if holder is whole or change < 3:
            holder[key] = random.choice(ODD)
        elif change == 3:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            holder[random.choice(("x", "id", "error"))] = holder.pop(key)
        if not holder:
            return whole[0] if whole else None
    return whole[0]
