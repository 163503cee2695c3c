"""`agentkd bench client`: our client, raw aiohttp, the OpenAI SDK, curator and distilabel on the same loopback server.

Each run is a process with its own mock server (mock.py) and an empty folder for caches. Runs are interleaved, every
client once per pair, so that the machine's noise hits all of them; the order rotates from pair to pair. `seconds` go
from the first request's arrival at the server to its last answer, by the server's clock, so that start-up does not
count; start-up (process start to first request) and the rest (last answer to exit) are listed apart. `ratio` is
seconds over raw aiohttp's in the same pair: median, lowest and highest over the pairs.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, WorldError
from agentkd.eval.bench.mock import LATENCIES, MODEL, OK, Mock, MockWorld, mock_server
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Progress, say
from agentkd.trace import Usage

FLOOR = "aiohttp"  # what the others are divided by
LIMIT = 900.0  # seconds for one run
SCRIPTS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Client:
    """A client of the comparison.

    `packages` are what pip installs into its environment; without any it runs in ours. `cache` is false for a client
    that gets no folder, which is ours without its cache.
    """

    name: str
    script: str
    packages: tuple[str, ...] = ()
    cache: bool = True

    @property
    def venv(self) -> Path:
        """The environment, in the working directory like `.venv-vllm`."""
        return Path(f".venv-peer-{self.name}").absolute()

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python" if self.packages else Path(sys.executable)

    @property
    def missing(self) -> str:
        """Why the client cannot run, with the remedy; empty if it can."""
        stamp = self.venv / "installed"
        return "" if not self.packages or stamp.exists() else f"no {self.venv.name}: add --install-peers"

    def install(self) -> None:
        """Install the packages. Raises WorldError when pip fails."""
        say(f"installing {', '.join(self.packages)} into {self.venv.name} (some minutes)")
        commands = (
            [sys.executable, "-m", "venv", str(self.venv)],
            [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "-q", *self.packages],
        )
        for argv in commands:
            if (done := subprocess.run(argv, capture_output=True, text=True)).returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise WorldError(
                    f"cannot install {self.name}: {last[:200]}; mend it in {self.venv}, or leave it out of --peers"
                )
        (self.venv / "installed").touch()


OURS = (Client("agentkd", "ask_agentkd"), Client("agentkd, no cache", "ask_agentkd", cache=False))
PEERS = {
    FLOOR: Client(FLOOR, "ask_aiohttp"),
    "openai": Client("openai", "ask_openai"),
    "curator": Client("curator", "ask_curator", ("bespokelabs-curator",)),
    # requests: distilabel imports it and forgets to ask for it
    "distilabel": Client("distilabel", "ask_distilabel", ("distilabel[openai]", "requests")),
}


@dataclass(frozen=True)
class Load:
    """The work of each client; pair k has the seed `seed` + k."""

    requests: int
    in_flight: int
    latency: str
    seed: int


@dataclass(frozen=True)
class ClientRun:
    """One client's run: seconds by the server's clock, except `start` and `rest`.

    `cpu` is the client's CPU seconds, start-up included; `again` counts the requests that it sent more than once."""

    seconds: float
    start: float
    rest: float
    cpu: float
    again: int
    version: str


def bench_client(load: Load, *, pairs: int, peers: str, install: bool, out: Path | None) -> dict[str, Any]:
    """Run every client in interleaved pairs, and report a row for each client.

    Raises UserError for an unknown peer or latency, WorldError when a client fails."""
    names = [name.strip() for name in peers.split(",") if name.strip()]
    if unknown := [name for name in names if name not in PEERS]:
        raise UserError(f"unknown peer '{unknown[0]}': the peers are {', '.join(PEERS)}")
    if load.latency not in LATENCIES:
        raise UserError(f"unknown latency '{load.latency}': use {' or '.join(LATENCIES)}")
    chosen = [PEERS[FLOOR], *OURS, *(PEERS[name] for name in names if name != FLOOR)]
    for client in chosen:
        if client.missing and install:
            client.install()
    able = [client for client in chosen if not client.missing]
    runs: dict[str, list[ClientRun]] = {client.name: [] for client in able}
    with Progress("runs", total=pairs * len(able), unit="") as progress:
        for pair in range(pairs):
            turn = pair % len(able)
            for client in able[turn:] + able[:turn]:
                runs[client.name].append(
                    measure_client(client, load.requests, load.in_flight, MockWorld(load.seed + pair, load.latency))
                )
                progress.advance(Usage(), good=True)
    report = {
        "command": f"agentkd bench client --requests {load.requests} --in-flight {load.in_flight} --pairs {pairs} "
        f"--latency {load.latency} --peers {','.join(names)} --seed {load.seed}",
        "date": time.strftime("%Y-%m-%d"),
        "requests": load.requests,
        "in_flight": load.in_flight,
        "pairs": pairs,
        "latency": load.latency,
        "seeds": [load.seed, load.seed + pairs - 1],
        "load": os.getloadavg()[1],
        "rows": [summarise_client(client, runs, load.requests) for client in chosen],
    }
    if out is not None:
        write_results(report, out)
    return report


def make_prompts(requests: int, seed: int) -> list[str]:
    """Make the distinct prompts of a seed."""
    return [f"Question {number} of seed {seed}: which capital lies on this river?" for number in range(requests)]


def measure_client(client: Client, requests: int, in_flight: int, world: MockWorld) -> ClientRun:
    """Run a client once against a fresh server. Raises WorldError when it fails or leaves prompts unanswered."""
    texts = make_prompts(requests, world.seed)
    with mock_server(world) as mock, tempfile.TemporaryDirectory() as folder:
        job = {
            "url": mock.url,
            "model": MODEL,
            "prompts": texts,
            "in_flight": in_flight,
            "folder": folder if client.cache else None,
        }
        argv = [str(client.python), str(SCRIPTS / f"{client.script}.py")]
        cpu, start = children_cpu_seconds(), time.monotonic()
        code, output, error = run_script(argv, json.dumps(job), client.name)
        wall, cpu = time.monotonic() - start, children_cpu_seconds() - cpu
        said = read_result(client, code, output, error)
        if said["answers"] != requests:
            raise WorldError(f"{client.name} has {said['answers']} of {requests} answers: leave it out of --peers")
        return read_log(mock, texts, start, wall, cpu, said["version"])


def run_script(argv: Sequence[str], job: str, name: str) -> tuple[int, str, str]:
    """Run a script and return its exit code, output and errors.

    It leads a process group, because distilabel starts processes that would outlive it. Raises WorldError when it takes
    longer than LIMIT.
    """
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, error = process.communicate(job, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise WorldError(f"{name} did not end in {LIMIT:.0f} s: ask for fewer --requests") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, output, error


def read_result(client: Client, code: int, output: str, error: str) -> dict[str, Any]:
    """Parse the last line that a script prints. Raises WorldError when the script failed."""
    try:
        if code == 0:
            said: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
            return said
    except (ValueError, IndexError):
        pass
    last = ((error or output).strip().splitlines() or ["no message"])[-1]
    raise WorldError(f"{client.name} ended with {code}: {last[:200]}; leave it out of --peers, or mend it")


def read_log(mock: Mock, texts: Sequence[str], start: float, wall: float, cpu: float, version: str) -> ClientRun:
    """Return the run that the server's log shows; it began at `start` (monotonic seconds) and took `wall`."""
    log = mock.log(texts)
    first, last = min(entry.came for entry in log), max(entry.left for entry in log if entry.outcome == OK)
    began = start - mock.get("count")["start"]
    again = len(log) - len({entry.key for entry in log})
    return ClientRun(last - first, first - began, began + wall - last, cpu, again, version)


def children_cpu_seconds() -> float:
    """Return the CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def summarise_client(client: Client, runs: dict[str, list[ClientRun]], requests: int) -> dict[str, Any]:
    """Return a client's medians over the pairs, and the spread of its ratios."""
    if client.name not in runs:
        return {"name": client.name, "missing": client.missing}
    mine = runs[client.name]
    ratios = [run.seconds / floor.seconds for run, floor in zip(mine, runs[FLOOR], strict=True)]
    return {
        "name": client.name,
        "version": mine[0].version,
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "ratios": ratios,
        "seconds": statistics.median(run.seconds for run in mine),
        "requests_per_second": statistics.median(requests / run.seconds for run in mine),
        "start_seconds": statistics.median(run.start for run in mine),
        "rest_seconds": statistics.median(run.rest for run in mine),
        "cpu_ms": statistics.median(1000 * run.cpu / requests for run in mine),
        "sent_again": sum(run.again for run in mine),
    }


def print_client(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    if not console.is_terminal:
        console.width = 140
    title = (
        f"{report['requests']} requests, {report['in_flight']} in flight, latency {report['latency']} · "
        f"{report['pairs']} interleaved pairs, seeds {report['seeds'][0]} to {report['seeds'][1]} · "
        f"load average {report['load']:.1f}"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("client", min_width=16)
    heads = ("version", "× aiohttp", "lowest–highest", "seconds", "requests/s", "start s", "rest s", "CPU ms/request")
    for name in (*heads, "sent again"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in report["rows"]:
        if "missing" in item:
            table.add_row(item["name"], item["missing"])
            continue
        table.add_row(
            item["name"],
            item["version"],
            f"{item['ratio']:.2f}",
            f"{item['ratio_low']:.2f}–{item['ratio_high']:.2f}",
            f"{item['seconds']:.2f}",
            f"{item['requests_per_second']:.0f}",
            f"{item['start_seconds']:.1f}",
            f"{item['rest_seconds']:.1f}",
            f"{item['cpu_ms']:.2f}",
            str(item["sent_again"]),
        )
    console.print(table)
    console.print("agentkd and curator keep every answer on disk, as they do by default; the others keep none.")


def write_results(report: dict[str, Any], out: Path) -> None:
    """Write client-LATENCY.json and client-LATENCY.png into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"client-{report['latency']}.json"
    write_atomically(path, json.dumps(report, indent=1) + "\n")
    plot_ratios(report, path.with_suffix(".png"))
    say(f"wrote {path} and {path.with_suffix('.png').name}")


def plot_ratios(report: dict[str, Any], path: Path) -> None:
    """Plot each client's ratio to raw aiohttp: a bar for the median, a dot for every pair.

    The axis is logarithmic, because the clients are an order of magnitude apart.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("--out draws a plot with matplotlib: pip install 'agentkd[train]'") from None

    rows = [item for item in reversed(report["rows"]) if "missing" not in item]
    figure = Figure(figsize=(8, 0.6 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for height, item in enumerate(rows):
        ours = item["name"].startswith("agentkd")
        axes.barh(height, item["ratio"], height=0.6, color="#1f6f8b" if ours else "#b9c2c9")
        axes.plot(item["ratios"], [height] * len(item["ratios"]), ".", color="#20262b", markersize=4)
        axes.annotate(f"{item['ratio']:.2f} ×", (max(item["ratios"]), height), xytext=(6, 0), va="center",
                      textcoords="offset points")  # fmt: skip
    axes.set_yticks(range(len(rows)), [item["name"] for item in rows])
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set_xlim(min(0.8, *(item["ratio_low"] for item in rows)), 1.6 * max(item["ratio_high"] for item in rows))
    axes.set_xlabel(f"seconds over raw aiohttp's: {report['requests']} requests, {report['in_flight']} in flight, "
                    f"latency {report['latency']}")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
