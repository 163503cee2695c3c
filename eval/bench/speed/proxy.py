"""`agentkd bench proxy`: what the proxy of a user's agent adds to a model call, on a server that answers at once.

A script on raw aiohttp asks the mock directly, and through the proxy with its session, its teacher and a cache on disk,
as in a run. Client, proxy and mock are a process each. Both ways take turns, so that the machine's noise hits both. All
times are by the mock's log: at one request in flight, the time between two arrivals is that of a call; with several
in flight, requests per second are counted from the first arrival to the last answer. `cpu_ms` is the CPU time of the
proxy's process per call, its teacher and cache included: unlike the others it hardly depends on what else the machine
does.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from agentkd.errors import WorldError
from agentkd.eval.bench.mock import MODEL, OK, Mock, MockWorld, mock_server
from agentkd.eval.bench.speed.client import SCRIPTS, make_prompts, run_script
from agentkd.own_agents.proxy import Proxy
from agentkd.own_agents.session import CallOptions, Session
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Progress, say
from agentkd.teacher.cache import Cache
from agentkd.teacher.client import Teacher
from agentkd.teacher.options import Endpoint
from agentkd.trace import Usage

Way = Callable[[Mock, dict[str, Any], Path], None]
DIRECT, PROXIED = "direct", "through the proxy"


def bench_proxy(*, requests: int, in_flight: int, rounds: int, seed: int, out: Path | None) -> dict[str, Any]:
    """Return milliseconds per call and requests per second of both ways, with what the proxy adds.

    Raises WorldError where the client fails."""
    ways: dict[str, Way] = {DIRECT: ask_directly, PROXIED: ask_through_proxy}
    cpu: list[float] = []
    calls: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with Progress("runs", total=2 * rounds * len(ways), unit="") as progress:
        for number in range(rounds):
            for name, way in list(ways.items())[:: 1 if number % 2 == 0 else -1]:
                calls[name].append(1000 * measure(way, requests, 1, seed + number)[0])
                progress.advance(Usage(), good=True)
                start = time.process_time()
                rates[name].append(measure(way, requests, in_flight, seed + number)[1])
                if name == PROXIED:
                    cpu.append(1000 * (time.process_time() - start) / requests)
                progress.advance(Usage(), good=True)
    added = [mine - floor for mine, floor in zip(calls[PROXIED], calls[DIRECT], strict=True)]
    report = {
        "command": f"agentkd bench proxy --requests {requests} --in-flight {in_flight} --rounds {rounds} --seed {seed}",
        "date": time.strftime("%Y-%m-%d"),
        "requests": requests,
        "in_flight": in_flight,
        "rounds": rounds,
        "load": os.getloadavg()[1],
        "rows": [
            {
                "name": name,
                "p50_ms": statistics.median(calls[name]),
                "p50_ms_low": min(calls[name]),
                "p50_ms_high": max(calls[name]),
                "requests_per_second": statistics.median(rates[name]),
                "requests_per_second_low": min(rates[name]),
                "requests_per_second_high": max(rates[name]),
            }
            for name in ways
        ],
        "added_ms": statistics.median(added),
        "added_ms_low": min(added),
        "added_ms_high": max(added),
        "cpu_ms": statistics.median(cpu),
        "cpu_ms_low": min(cpu),
        "cpu_ms_high": max(cpu),
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "proxy.json", json.dumps(report, indent=1) + "\n")
        say(f"wrote {out / 'proxy.json'}")
    return report


def measure(way: Way, requests: int, in_flight: int, seed: int) -> tuple[float, float]:
    """The median seconds between arrivals, and requests per second, of one run against a fresh server."""
    texts = make_prompts(requests, seed)
    with mock_server(MockWorld(seed)) as mock, tempfile.TemporaryDirectory() as folder:
        way(mock, {"model": MODEL, "prompts": texts, "in_flight": in_flight}, Path(folder))
        log = [entry for entry in mock.log(texts) if entry.outcome == OK]
    if len(log) != requests:
        raise WorldError(f"the mock answered {len(log)} of {requests} requests: run it again")
    came = sorted(entry.came for entry in log)
    between = statistics.median(later - earlier for earlier, later in pairwise(came))
    return between, requests / (max(entry.left for entry in log) - came[0])


def ask_directly(mock: Mock, job: dict[str, Any], folder: Path) -> None:
    """Ask the mock itself."""
    run_client({**job, "url": mock.url})


def ask_through_proxy(mock: Mock, job: dict[str, Any], folder: Path) -> None:
    """Ask the proxy, as an agent does."""

    async def run() -> None:
        teacher = Teacher(Endpoint((mock.url,), MODEL), cache=Cache(folder / "cache"))
        try:
            async with Proxy(MODEL) as proxy:
                key = proxy.new_key()
                proxy.sessions[key] = Session(teacher, CallOptions(most=10**9, tokens=64, temperature=0.0), 0)
                await asyncio.to_thread(run_client, {**job, "url": proxy.url, "key": key})
        finally:
            await teacher.close()

    asyncio.run(run())


def run_client(job: dict[str, Any]) -> None:
    """Run the client's script. Raises WorldError where it fails."""
    code, _, error = run_script([sys.executable, str(SCRIPTS / "ask_aiohttp.py")], json.dumps(job), "the client")
    if code:
        raise WorldError(f"the client ended with {code}: {(error.strip().splitlines() or ['no message'])[-1][:200]}")


def print_proxy(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    title = (
        f"{report['requests']} calls of a mock that answers at once · {report['rounds']} rounds · "
        f"load average {report['load']:.1f}"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("way")
    for name in ("p50 ms a call", "lowest–highest", f"requests/s, {report['in_flight']} in flight", "lowest–highest"):
        table.add_column(name, justify="right")
    for row in report["rows"]:
        table.add_row(
            row["name"],
            f"{row['p50_ms']:.2f}",
            f"{row['p50_ms_low']:.2f}–{row['p50_ms_high']:.2f}",
            f"{row['requests_per_second']:.0f}",
            f"{row['requests_per_second_low']:.0f}–{row['requests_per_second_high']:.0f}",
        )
    console.print(table)
    console.print(
        f"the proxy adds {report['added_ms']:.2f} ms a call at p50 "
        f"({report['added_ms_low']:.2f}–{report['added_ms_high']:.2f}), and takes {report['cpu_ms']:.2f} ms of CPU "
        f"({report['cpu_ms_low']:.2f}–{report['cpu_ms_high']:.2f})"
    )
