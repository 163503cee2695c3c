"""Traces of a question about a capital, and runs that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.agents.option import Option
from agentkd.agents.survey import survey_step
from agentkd.config import GenerateConfig
from agentkd.runs.store import RunDirectory
from agentkd.trace import Step, Trace, Verdict

CAPITAL = (("capital", 1),)


def make_trace(
    name: str,
    *,
    question: str | None = None,
    verified: bool = True,
    shown: bool = True,
    sample: int = 0,
    answer: str = "Paris",
) -> Trace:
    options = [Option(CAPITAL if shown else (("river", 1),), "capital" if shown else "river", (answer,))]
    gold = Step(kind="gold", verdict=Verdict(ok=True, rung="gold"), reward=1.0)
    fields: dict[str, Any] = {"answers": (answer,), "provenance": {"path": CAPITAL, "topics": ["France"]}}
    return Trace.close(
        id=name,
        sample=sample,
        task="geo",
        question=question or f"What is the capital of {name}?",
        steps=(survey_step(options, ["France"]), gold),
        verified=verified,
        verdict=Verdict(ok=verified, rung="gold"),
        teacher="t",
        **fields,
    )


def several_paths(name: str) -> list[Trace]:
    """A question's samples: one is proven, one holds half of the answers, two are worth nothing."""
    followed = [("capital", True, 1.0), ("river", False, 0.0), ("mayor", False, 0.5), ("border", False, 0.0)]
    leads = {"capital": ("Paris",)}
    options = [Option(((relation, 1),), relation, leads.get(relation, (relation,))) for relation, _, _ in followed]
    return [
        Trace.close(
            id=name,
            sample=sample,
            task="geo",
            question=f"What is the capital of {name}?",
            steps=(survey_step(options, ["France"]), Step(kind="gold", reward=worth)),
            answers=leads.get(relation, (relation,)),
            verified=verified,
            verdict=Verdict(ok=verified, rung="gold"),
            teacher="t",
            provenance={"path": ((relation, 1),), "topics": ["France"]},
        )
        for sample, (relation, verified, worth) in enumerate(followed)
    ]


def write_run(path: Path, traces: list[Trace]) -> Path:
    with RunDirectory(path, "generate", GenerateConfig(task="geo"), {}) as run:
        for trace in traces:
            run.append(trace)
        run.finish({})
    return path
