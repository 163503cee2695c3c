"""`agentkd bench crash`: kill -9 at seeded moments of a run on a faulty server, and count what is lost.

The same `agentkd generate` command runs first undisturbed, on a server without faults. Then it runs on one with all
faults (429, 500, garbage, hang, reset, refused), is killed again and again, and is started again each time. The servers
give the same answers (mock.py), so in the end the two stores must hold the same traces. The second server's log shows
which requests were sent again. After a fault that was necessary; any other was a waste, and no more may be wasted per
kill than were in flight, which is one for each question in flight.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentkd.errors import WorldError
from agentkd.eval.bench.mock import CUT, FAULTS, OK, LogEntry, Mock, MockWorld, mock_server
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Progress, say
from agentkd.runs.read import read_lines
from agentkd.trace import Trace, Usage

LATENCY = 0.1  # seconds, the mean: a kill lands among open requests, and the run takes less than a minute
FAULT_RATE = 0.2
TIMEOUT = 5.0  # seconds until a request counts as hung; the slowest honest answer of 2,000 takes 3
PAUSE = 0.1  # seconds: a kill comes at most so long after the answer that it waits for
ENDS = 5  # commands that may end with samples to retry, before the run counts as stuck


def bench_crash(*, questions: int, kills: int, in_flight: int, seed: int, out: Path | None) -> dict[str, Any]:
    """Run undisturbed and killed, compare, and return counts and checks.

    With `out` both runs stay there, beside crash.json. Raises WorldError when a command fails by itself, or the run
    ends before the last kill.
    """
    if out is not None and out.exists() and any(out.iterdir()):
        raise WorldError(f"{out} is not empty: the runs must start from nothing, choose another --out")
    with tempfile.TemporaryDirectory() as folder:
        place = out or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        calm, killed = place / "undisturbed", place / "killed"
        world = MockWorld(seed, "lognormal", LATENCY)
        start = time.monotonic()
        say(f"{questions} questions undisturbed")
        with mock_server(world) as mock:
            run_until_complete(generate_command(mock, calm, questions, in_flight))
            total = len({entry.key for entry in mock.log()})
        moments = sorted(random.Random(seed).sample(range(total), min(kills, total)))
        with mock_server(replace(world, fault_rate=FAULT_RATE)) as mock:
            argv = generate_command(mock, killed, questions, in_flight)
            with Progress("kills", total=kills, unit="") as progress:
                for number, moment in enumerate(moments):
                    kill_at_answer(mock, argv, moment, random.Random(f"{seed} {number}").uniform(0, PAUSE))
                    progress.advance(Usage(), good=True)
            commands = run_until_complete(argv)
            log = mock.log()
        report = {
            "command": f"agentkd bench crash --questions {questions} --kills {kills} --in-flight {in_flight} "
            f"--seed {seed}",
            "date": time.strftime("%Y-%m-%d"),
            "questions": questions,
            "kills": len(moments),
            "in_flight": in_flight,
            "seed": seed,
            "seconds": round(time.monotonic() - start, 1),
            "commands_after_the_last_kill": commands,
            "kills_at_answer": moments,
            **count_sends(log, kills=len(moments)),
        }
        report["checks"] = run_checks(report, calm, killed)
    if out is not None:
        write_atomically(out / "crash.json", json.dumps(report, indent=1) + "\n")
        say(f"wrote {out / 'crash.json'}")
    return report


def generate_command(mock: Mock, out: Path, questions: int, in_flight: int) -> list[str]:
    """Return the command that a user would type."""
    options = ["--teacher", mock.spec, "--retriever", "bm25", "--concurrency", str(in_flight), "--out", str(out)]
    task = ["--task", "geo", "--limit", str(questions)]
    return [sys.executable, "-m", "agentkd", "generate", *task, *options, f"timeout={TIMEOUT}", "token_timeout=0"]


def start_command(argv: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command, offline."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def run_until_complete(argv: Sequence[str]) -> int:
    """Run a command until it says that the run is complete, and return how often that took.

    A sample that met too many faults is left for the next time (exit 3).
    """
    for count in range(1, ENDS + 1):
        process = start_command(argv)
        _, error = process.communicate()
        if process.returncode == 0:
            return count
        if process.returncode != WorldError.exit_code:
            break
    raise WorldError(f"`{' '.join(argv)}` ended with {process.returncode}: {last_line(error)}")


def kill_at_answer(mock: Mock, argv: Sequence[str], moment: int, pause: float) -> None:
    """Start a command and kill -9 it `pause` seconds after the server's answer number `moment`."""
    ends = 0
    process = start_command(argv)
    try:
        while mock.answered() < moment:
            if process.poll() is not None:
                ends += 1
                _, error = process.communicate()
                if process.returncode != WorldError.exit_code or ends >= ENDS:
                    raise WorldError(
                        f"the run ended with {process.returncode} before answer {moment}: {last_line(error)}"
                    )
                process = start_command(argv)
            time.sleep(0.01)
        time.sleep(pause)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    mock.mark()


def last_line(text: str) -> str:
    """Return the last line of a text, cut."""
    return (text.strip().splitlines() or ["no message"])[-1][:200]


def count_sends(log: Sequence[LogEntry], *, kills: int) -> dict[str, Any]:
    """Count requests, faults and wasted sends in the server's log.

    A request without a fault that came again later was wasted, and counts for the kill that ended its epoch; waste
    after the last kill has no excuse.
    """
    wasted: Counter[int] = Counter()
    last: dict[str, LogEntry] = {}
    for entry in log:
        before = last.get(entry.key)
        if before is not None and before.outcome in (OK, CUT):
            wasted[before.epoch] += 1
        last[entry.key] = entry
    outcomes = Counter(entry.outcome for entry in log)
    return {
        "requests": len(log),
        "distinct": len(last),
        "faults": {fault: outcomes[fault] for fault in FAULTS},
        "sent_again": sum(wasted.values()),
        "open_at_kills": outcomes[CUT],
        "most_at_a_kill": max((wasted[epoch] for epoch in range(kills)), default=0),
        "without_a_kill": sum(count for epoch, count in wasted.items() if epoch >= kills),
    }


def run_checks(report: dict[str, Any], calm: Path, killed: Path) -> list[dict[str, Any]]:
    """Return the checks that must hold, each with the number found and the most that is allowed."""
    # line by line: `read_traces` refuses a doubled trace, which is counted here
    before, after = ([Trace.model_validate(row) for row in read_lines(path, "traces")] for path in (calm, killed))
    wanted = {trace_key(trace): trace.hash for trace in before}
    found = Counter(trace_key(trace) for trace in after)
    unlike = sum(wanted.get(trace_key(trace)) != trace.hash for trace in after)
    limit = report["in_flight"]
    return [
        make_check("questions lost", len(wanted.keys() - found.keys()) + report["questions"] - len(wanted), 0),
        make_check("questions doubled", sum(found.values()) - len(found), 0),
        make_check("traces unlike the undisturbed run's", unlike, 0),
        make_check("traces whose hash is wrong", sum(trace.hash != trace.content_hash() for trace in after), 0),
        make_check("failures left", sum(not row["retry"] for row in read_lines(killed, "failures")), 0),
        make_check("requests sent again, in all", report["sent_again"], limit * report["kills"]),
        make_check("requests sent again, most at one kill", report["most_at_a_kill"], limit),
        make_check("requests sent again without a kill", report["without_a_kill"], 0),
    ]


def trace_key(trace: Trace) -> tuple[str, int]:
    """Return the id and sample of a trace."""
    return trace.id, trace.sample


def make_check(name: str, found: int, allowed: int) -> dict[str, Any]:
    """Return a check; it holds where no more is found than allowed."""
    return {"name": name, "found": found, "allowed": allowed, "ok": found <= allowed}


def print_crash(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    faults = ", ".join(f"{count} × {name}" for name, count in report["faults"].items())
    console.print(
        f"{report['questions']} questions, {report['in_flight']} in flight, {report['kills']} × kill -9, seed "
        f"{report['seed']}, {report['seconds']:.0f} s · {report['requests']} requests, {report['distinct']} distinct, "
        f"{report['open_at_kills']} open at a kill · faults: {faults}",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("check")
    for name in ("found", "allowed", ""):
        table.add_column(name, justify="right")
    for item in report["checks"]:
        table.add_row(item["name"], str(item["found"]), str(item["allowed"]), "ok" if item["ok"] else "FAILED")
    console.print(table)


def require_passed(report: dict[str, Any]) -> None:
    """Raise WorldError where a check has failed."""
    if failed := [item["name"] for item in report["checks"] if not item["ok"]]:
        raise WorldError(f"{len(failed)} of {len(report['checks'])} checks failed: {', '.join(failed)}")
