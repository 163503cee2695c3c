"""Traces of a question about a capital, and runs that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentkd.agents.option import Option
from agentkd.agents.survey import survey_step
from agentkd.config import GenerateConfig
from agentkd.runs.store import RunDirectory
from agentkd.trace import Message, Step, ToolCall, ToolResult, Trace, Usage, Verdict

CAPITAL = (("capital", 1),)
SECRET = "Atlantis"  # all that is said in a `tooled` trace


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


def tooled() -> Trace:
    """A trace with a call of a model, a tool that failed, and a verdict."""
    call = ToolCall(id="c1", name="search", arguments=f'{{"q": "{SECRET}"}}')
    steps = (
        Step(
            kind="call", messages=(Message(role="user", content=SECRET),), tool_calls=(call,), reasoning=SECRET,
            evidence=(ToolResult(name="search", arguments=call.arguments, result=SECRET, ok=False, id="c1"),),
            usage=Usage(calls=1, prompt_tokens=7, completion_tokens=3, seconds=2),
        ),
        Step(kind="verify", output=SECRET, verdict=Verdict(ok=False, rung="none", reason=SECRET)),
    )  # fmt: skip
    fields: dict[str, Any] = {"verdict": Verdict(ok=False, rung="none"), "verified": False, "answers": (SECRET,)}
    usage = Usage(calls=1, prompt_tokens=7, completion_tokens=3, seconds=2)
    return Trace.close(
        id="q1", sample=0, task="geo", question=SECRET, steps=steps, usage=usage, teacher="openai:gpt-x", **fields
    )
