"""`agentkd bench losses`: time, memory and value of the chunked divergence against the dense one and TRL's.

Generalised JSD (beta 0.5) between two heads over the same vocabulary, forward and backward, on a CPU. Every run is a
new process. Peak memory is that beyond its inputs, read from the kernel. The order rotates from round to round; ratios
are those within a round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say

IMPLEMENTATIONS = ("dense", "agentkd", "trl")
BETA = 0.5
_ROWS = 257  # every so many rows of the head's gradient are compared


def bench_losses(
    *, tokens: int, vocabulary: int, width: int, rounds: int, seed: int, out: Path | None
) -> dict[str, Any]:
    """Measure each implementation, with ratios to dense in the same round. Raises UserError without torch, trl."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in IMPLEMENTATIONS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            turn = number % len(IMPLEMENTATIONS)
            for name in IMPLEMENTATIONS[turn:] + IMPLEMENTATIONS[:turn]:
                sizes = [str(size) for size in (tokens, vocabulary, width, seed + number)]
                command = [sys.executable, "-m", "agentkd.eval.bench.speed.losses", name, *sizes, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    reason = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
                    raise UserError(f"{name} failed ({reason}); pip install 'agentkd[train]', or fewer --tokens")
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
            for name in IMPLEMENTATIONS[1:]:
                found[name][-1] |= compare_with_dense(Path(folder), name, found["dense"][-1], found[name][-1])
            say(f"round {number + 1} of {rounds}")
    report = {
        "command": f"agentkd bench losses --tokens {tokens} --vocabulary {vocabulary} --width {width} "
        f"--rounds {rounds} --seed {seed}",
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rows": [summarise_runs(name, found[name], found["dense"]) for name in IMPLEMENTATIONS],
        "runs": found,
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "losses.json", json.dumps(report, indent=1) + "\n")
        say(f"wrote {out / 'losses.json'}")
    return report


def compare_with_dense(folder: Path, name: str, dense: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Return the relative error of the value, and the largest error of a gradient.

    The latter is over the largest entry of that gradient.
    """
    import torch

    errors = []
    for one, other in zip(
        *(torch.load(folder / f"{which}.pt", weights_only=True) for which in ("dense", name)), strict=True
    ):
        errors.append(float((one - other).abs().max() / one.abs().max()))
    return {"value_error": abs(ours["value"] - dense["value"]) / dense["value"], "gradient_error": max(errors)}


def summarise_runs(name: str, runs: list[dict[str, Any]], dense: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, ratios to dense in the same round, and the largest errors."""
    row: dict[str, Any] = {"name": name}
    for unit in ("seconds", "peak_mib"):
        ratios = [one[unit] / other[unit] for one, other in zip(runs, dense, strict=True)]
        row |= {
            unit: statistics.median(run[unit] for run in runs),
            f"{unit}_ratio": statistics.median(ratios),
            f"{unit}_ratio_low": min(ratios),
            f"{unit}_ratio_high": max(ratios),
        }
    for error in ("value_error", "gradient_error"):
        row[error] = max(run.get(error, 0.0) for run in runs)
    return row


def print_losses(report: dict[str, Any]) -> None:
    """Print a table."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    table = Table(title=report["command"], title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for column in ("s", "÷ dense", "lowest–highest", "peak MiB", "÷ dense", "value error", "gradient error"):
        table.add_column(column, justify="right")
    for row in report["rows"]:
        table.add_row(
            row["name"],
            f"{row['seconds']:.2f}",
            f"{row['seconds_ratio']:.3f}",
            f"{row['seconds_ratio_low']:.3f}–{row['seconds_ratio_high']:.3f}",
            f"{row['peak_mib']:,.0f}",
            f"{row['peak_mib_ratio']:.3f}",
            f"{row['value_error']:.1e}",
            f"{row['gradient_error']:.1e}",
        )
    Terminal().print(table)


def measure_loss(name: str, tokens: int, vocabulary: int, width: int, seed: int, folder: Path) -> dict[str, float]:
    """Measure one forward and backward pass in this process; the gradients go to NAME.pt."""
    import torch

    from agentkd.distill import losses
    from agentkd.methods.divergences import jsd

    generator = torch.Generator().manual_seed(seed)

    def tensor(rows: int, scale: float) -> torch.Tensor:
        return torch.randn(rows, width, generator=generator) * scale

    hidden, head = tensor(tokens, 1.0).requires_grad_(), tensor(vocabulary, 3 * width**-0.5).requires_grad_()
    with torch.no_grad():  # the teacher is near the student, as in a distillation that goes well
        teacher_hidden, teacher_head = hidden + tensor(tokens, 0.3), head.clone()

    def dense(n: int) -> torch.Tensor:
        log_p = (teacher_hidden[:n] @ teacher_head.T).log_softmax(-1)
        return jsd(log_p, (hidden[:n] @ head.T).log_softmax(-1), BETA).sum()

    def ours(n: int) -> torch.Tensor:
        def loss(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
            return jsd(teacher.log_softmax(-1), logits.log_softmax(-1), BETA)

        return losses.chunked_loss(loss, hidden[:n], head, losses.Head(teacher_hidden[:n], teacher_head))

    def trl(n: int) -> torch.Tensor:
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        divergence, _ = ChunkedDivergenceFunction.apply(
            hidden[:n], head, None, teacher_hidden[:n], teacher_head, None, BETA
        )
        total: torch.Tensor = divergence.sum()
        return total

    loss = {"dense": dense, "agentkd": ours, "trl": trl}[name]
    loss(2).backward()  # type: ignore[no-untyped-call]
    hidden.grad = head.grad = None
    before = read_memory_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    start = time.perf_counter()
    value = loss(tokens)
    value.backward()  # type: ignore[no-untyped-call]
    seconds, peak = time.perf_counter() - start, read_memory_kib("VmHWM") - before
    assert hidden.grad is not None and head.grad is not None
    torch.save([hidden.grad, head.grad[::_ROWS].clone()], folder / f"{name}.pt")
    return {"seconds": seconds, "peak_mib": peak / 1024, "value": float(value.detach()) / tokens}


def read_memory_kib(field: str) -> int:
    """Return a field of the kernel's record of this process, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


if __name__ == "__main__":
    name, tokens, vocabulary, width, seed, folder = sys.argv[1:]
    print(json.dumps(measure_loss(name, int(tokens), int(vocabulary), int(width), int(seed), Path(folder))))
