"""`eval --inspect-log DIR`: an evaluation as logs of inspect-ai, which `inspect view` shows, one file per system.

A question is a sample with its last conversation, its answer beside gold, and its score by each matcher (0..1).
Source: inspect.aisi.org.uk/eval-logs; the files are written by the package itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkd import __version__
from agentkd.errors import UserError
from agentkd.eval.records import Record, summarise
from agentkd.interchange.chat import write_arguments
from agentkd.trace import Message, Trace, Usage


def check_inspect() -> None:
    """Raise UserError where the package is missing, before anything is asked."""
    if find_spec("inspect_ai") is None:
        raise UserError("--inspect-log needs its package: pip install inspect-ai")


def write_log(
    path: Path, task: str, model: str, records: Sequence[Record], traces: Mapping[str, Trace], matchers: Sequence[str]
) -> Path:
    """Write one system's evaluation to a file that ends in .eval or .json, and return its path."""
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
        write_eval_log,
    )

    scores = []
    for matcher in matchers:
        if (means := summarise(records, matcher)) is not None:
            metrics = {name: EvalMetric(name=name, value=means[name] / 100) for name in ("f1", "hit", "hits1", "em")}
            scores.append(EvalScore(name=matcher, scorer=matcher, metrics=metrics, scored_samples=means["n"]))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    usage = Usage.total(traces[record["id"]].usage for record in records)
    spec = EvalSpec(
        created=now,
        task=task,
        model=model,
        dataset=EvalDataset(name=task, samples=len(records), sample_ids=[record["id"] for record in records]),
        config=EvalConfig(),
        packages={"agentkd": __version__},
    )
    log = EvalLog(
        status="success",
        eval=spec,
        results=EvalResults(total_samples=len(records), completed_samples=len(records), scores=scores),
        stats=EvalStats(started_at=now, completed_at=now, model_usage={model: _usage(usage)}),
        samples=[_sample(record, traces[record["id"]], model) for record in records],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(path))
    return path


def _usage(usage: Usage) -> Any:
    from inspect_ai.model import ModelUsage

    return ModelUsage(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.tokens
    )


def _sample(record: Record, trace: Trace, model: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    asked = [(step, prompt) for step, prompt in zip(trace.steps, trace.prompts(), strict=True) if prompt]
    messages = [*asked[-1][1], asked[-1][0].reply] if asked else []
    output = ModelOutput.from_content(model, record["prediction"])
    output.usage = _usage(trace.usage)
    return EvalSample(
        id=record["id"],
        epoch=1,
        input=record["question"],
        target=list(record["ground_truth"]),
        messages=[_message(message) for message in messages],
        output=output,
        scores={
            matcher: Score(value=one["f1"], answer=record["prediction"], metadata=one)
            for matcher, one in record["scores"].items()
        },
        metadata={"rung": record["rung"], "path": record["path"], "topics": record["topics"]},
        total_time=trace.usage.seconds,
    )


def _message(message: Message) -> Any:
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
    )
    from inspect_ai.tool import ToolCall

    if message.role in ("system", "developer"):
        return ChatMessageSystem(content=message.content)
    if message.role == "user":
        return ChatMessageUser(content=message.content)
    if message.role == "tool":
        return ChatMessageTool(content=message.content, tool_call_id=message.tool_call_id, function=message.name)
    calls = []
    for call in message.tool_calls:
        value = write_arguments(call.arguments)
        arguments = value if isinstance(value, dict) else {"text": call.arguments}
        calls.append(ToolCall(id=call.id, function=call.name, arguments=arguments))
    thought = [] if message.reasoning is None else [ContentReasoning(reasoning=message.reasoning)]
    content = [*thought, ContentText(text=message.content)] if thought else message.content
    return ChatMessageAssistant(content=content, tool_calls=calls or None)
