"""`agentkd bench faithful`: how well the independent checker tells true chains from corrupted ones.

For each proven trace one correct answer is picked, and the facts next to it are corrupted in one of three ways: another
relation, another entity, the other direction. A good checker finds a chain in the true facts and none in the corrupted
ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.eval.faithful import RawKB
from agentkd.eval.raw_kb import Triple
from agentkd.proof import Proof
from agentkd.runs.read import read_config, read_traces
from agentkd.runs.terminal import print_line
from agentkd.tasks.load import reload_task
from agentkd.trace import Trace

KINDS = ("relation", "entity", "direction")


def bench_faithful(traces: Path, *, corruptions: int, seed: int) -> dict[str, Any]:
    """Corrupt the verified traces of a run, `corruptions` times at most, and return rates in percent by kind."""
    source = read_config(traces)
    task = reload_task(source)
    if task.kb_path is None:
        raise UserError(f"{traces} was made with a SPARQL endpoint: the checker reads a file")
    raw = RawKB.load(task.kb_path, columns=task.source.columns)
    verified = [trace for trace in read_traces(traces) if trace.verified]
    if not verified:
        raise UserError(f"no verified trace in {traces}: generate some first")
    good, rejected = corrupt(raw, verified, corruptions=corruptions, seed=seed)
    return {
        "traces": str(traces),
        "seed": seed,
        "good": len(good),
        "good_rejected": 100 * (1 - sum(good) / len(good)),
        "corrupted": sum(map(len, rejected.values())),
        **{f"rejected_{kind}": 100 * sum(found) / (len(found) or 1) for kind, found in rejected.items()},
        "rejected": 100 * sum(map(sum, rejected.values())) / (sum(map(len, rejected.values())) or 1),
    }


def corrupt(
    raw: RawKB, traces: Iterable[Trace], *, corruptions: int, seed: int
) -> tuple[list[bool], dict[str, list[bool]]]:
    """Return whether each true chain is found, and by kind whether each corrupted one is rejected."""
    rng = random.Random(seed)
    relations = sorted({fact[1] for fact in raw.triples})
    entities = sorted({fact[0] for fact in raw.triples})
    good: list[bool] = []
    rejected: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for trace in traces:
        if sum(map(len, rejected.values())) >= corruptions:
            break
        topics, answer = list(Proof.of(trace).topics), rng.choice(trace.answers)
        facts = [(fact.head, fact.relation, fact.tail) for fact in trace.triples]
        good.append(raw.chain_exists(facts, topics, answer))

        def corrupted(kind: str, fact: Triple, answer: str = answer) -> Triple:
            head, relation, tail = fact
            if answer not in (head, tail):
                return fact
            if kind == "relation":
                return head, rng.choice([name for name in relations if name != relation]), tail
            if kind == "direction":
                return tail, relation, head
            stranger = rng.choice(entities)
            return (stranger, relation, tail) if tail == answer else (head, relation, stranger)

        for kind in KINDS:
            changed = [corrupted(kind, fact) for fact in facts]
            if kind == "direction" and all(raw.has(*fact) for fact in changed):
                continue  # symmetric or of unknown direction: what the file holds both ways is no corruption
            rejected[kind].append(not raw.chain_exists(changed, topics, answer))
    return good, rejected


def print_faithful(report: dict[str, Any]) -> None:
    """Print the rates."""
    print_line(
        f"{report['good']} true chains of {report['traces']}: {report['good_rejected']:.1f} % rejected\n"
        f"{report['corrupted']} corrupted ones: {report['rejected']:.1f} % rejected ("
        + ", ".join(f"{kind} {report[f'rejected_{kind}']:.1f} %" for kind in KINDS)
        + ")"
    )
