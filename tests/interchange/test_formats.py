"""Traces of others, in and out again: no ids, roles, tool calls or tokens are lost, and what is broken is named."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import ImportConfig
from agentkd.interchange.export_run import export_traces
from agentkd.interchange.import_run import REJECTS, import_traces
from agentkd.interchange.session import KEY
from agentkd.runs.read import read_traces
from agentkd.trace import Message, Trace
from tests.support.foreign_traces import PER_CALL, RENDERERS, Truth, write_file

WITHOUT_TOKENS = ("adp",)  # the format has no place for them
WITHOUT_TOOLS = ("sts", "adp")
WITHOUT_MODEL = ("adp",)


def said(message: Message) -> tuple[Any, ...]:
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    return message.role, message.content, calls, message.tool_call_id, message.reasoning


def expected(message: dict[str, Any], reasoning: bool = True) -> tuple[Any, ...]:
    calls = [(call["id"], call["name"], call["arguments"]) for call in message.get("calls", ())]
    return (
        message["role"],
        message["content"],
        calls,
        message.get("call"),
        message.get("reasoning") if reasoning else None,
    )


def is_lossless(trace: Trace, truth: Truth, form: str) -> bool:
    prompts = trace.prompts()
    whole = [*map(said, prompts[-1]), said(trace.steps[-1].reply)]
    replies = [message for message in truth["messages"] if message["role"] == "assistant"]
    fine = trace.id == truth["id"] and whole == [expected(message) for message in truth["messages"]]
    fine &= [said(step.reply) for step in trace.steps] == [expected(message) for message in replies]
    fine &= all(step.follows for step in trace.steps[1:]) and not trace.verified
    if form not in WITHOUT_TOOLS:
        fine &= list(trace.tools) == truth["tools"]
    if form not in WITHOUT_MODEL:
        fine &= trace.teacher == truth["model"]
    if form in PER_CALL:
        fine &= [(s.usage.prompt_tokens, s.usage.completion_tokens) for s in trace.steps if s.usage] == [
            message["usage"] for message in replies
        ]
    if form not in WITHOUT_TOKENS:
        fine &= trace.usage.prompt_tokens == sum(message["usage"][0] for message in replies)
        fine &= trace.usage.completion_tokens == sum(message["usage"][1] for message in replies)
    heard = {call["id"] for message in replies for call in message.get("calls", ())}
    return fine and heard == {item.id for step in trace.steps for item in step.evidence}


def content(trace: Trace) -> Any:
    """All of a trace but where it was read."""
    found = trace.model_dump()
    for name in ("file", "line", "format"):
        found["provenance"][KEY].pop(name)
    return {key: value for key, value in found.items() if key != "hash"}


def round_trip(form: str, count: int, folder: Path) -> tuple[float, float]:
    """The shares of sessions that were read without loss, and that are the same after export and import."""
    truths = {truth["id"]: truth for truth in write_file(folder / "in.jsonl", form, count)}
    found = import_traces(ImportConfig(files=(str(folder / "in.jsonl"),), out=str(folder / "run")))
    assert (found["traces"], found["rejected"], found["formats"]) == (count, 0, [form])
    lossless = sum(is_lossless(trace, truths[trace.id], form) for trace in read_traces(folder / "run"))
    out = export_traces(folder / "run", form, out=folder / f"out{'' if form == 'sts' else '.jsonl'}")
    again = import_traces(ImportConfig(files=(out["out"],), out=str(folder / "again")))
    assert again["traces"] == count
    before = {trace.id: content(trace) for trace in read_traces(folder / "run")}
    same = sum(before[trace.id] == content(trace) for trace in read_traces(folder / "again"))
    return lossless / count, same / count


@pytest.mark.parametrize("form", RENDERERS)
def test_nothing_is_lost(form: str, tmp_path: Path) -> None:
    assert round_trip(form, 150, tmp_path) == (1.0, 1.0)


@pytest.mark.whole
@pytest.mark.parametrize("form", RENDERERS)
def test_of_ten_thousand_nothing_is_lost(form: str, tmp_path: Path) -> None:
    lossless, same = round_trip(form, 10_000, tmp_path)
    assert lossless >= 0.999 and same >= 0.999


def spoil(line: str, form: str, rng: random.Random) -> str:
    """A row as nobody should write it."""
    value = json.loads(line)
    ways = [lambda: line[: len(line) // 2], lambda: "[1, 2]", lambda: '"text"', lambda: line.replace("{", "", 1)]
    if form == "openai":
        ways += [
            lambda: json.dumps(value | {"messages": None}),
            lambda: json.dumps(value | {"messages": [{"role": "critic", "content": "?"}, {"role": "assistant"}]}),
            lambda: json.dumps(value | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            lambda: json.dumps(value | {"messages": [{"role": "user", "content": "?"}]}),
            lambda: json.dumps(value | {"usage": {"prompt_tokens": "many"}}),
            lambda: json.dumps(value | {"id": {}}),
            lambda: json.dumps(value | {"messages": [{"role": "user", "content": "\ud800"}, {"role": "assistant"}]}),
        ]
    elif form == "adp":
        ways += [
            lambda: json.dumps(value | {"content": "?"}),
            lambda: json.dumps(value | {"content": [{"class_": "dance_action"}]}),
            lambda: json.dumps(value | {"content": [{"class_": "api_action", "function": "f"}]}),
        ]
    elif form == "sts":
        ways += [lambda: '{"type": "note"}', lambda: '{"type": "message"}', lambda: '{"type":"message","message":{}}']
    elif form == "otlp":
        ways += [lambda: '{"resourceSpans": [{}]}', lambda: '{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}']
    elif form == "langsmith":
        ways += [lambda: '{"id": "x"}', lambda: '{"run_type": "llm", "trace_id": "t"}', lambda: '{"run_type": "llm"}']
    else:
        ways += [lambda: '{"type": "GENERATION"}', lambda: '{"type": "GENERATION", "traceId": "t", "input": "?"}']
    return rng.choice(ways)()


@pytest.mark.parametrize("form", RENDERERS)
def test_a_hundred_broken_rows_are_all_named(form: str, tmp_path: Path) -> None:
    write_file(tmp_path / "good.jsonl", form, 60)
    rng = random.Random(1)
    good = (tmp_path / "good.jsonl").read_text().splitlines()
    lines: list[str] = []
    broken = []
    groups = list(sessions_of(good)) if form == "sts" else [[line] for line in good]
    for number in range(100):
        lines += groups[number % len(groups)] if number < len(groups) else []
        broken.append(len(lines) + 1)
        lines.append(spoil(rng.choice([line for line in good if form != "sts" or '"message"' in line]), form, rng))
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = import_traces(ImportConfig(files=(str(tmp_path / "in.jsonl"),), format=form, out=str(tmp_path / "run")))
    rows = [json.loads(line) for line in (tmp_path / "run" / REJECTS).read_text().splitlines()]
    assert [row["line"] for row in rows if row["line"] in broken] == broken and found["rejected"] == len(rows)
    assert all(row["reason"] and row["file"].endswith("in.jsonl") for row in rows)


def sessions_of(lines: list[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for line in lines:
        if '"type": "session"' in line and some:
            yield some
            some = []
        some.append(line)
    yield some


@pytest.mark.parametrize("form", ["openai", "otlp", "langfuse"])
@pytest.mark.parametrize("shape", ["array", "indented array", "gzip", "several documents"])
def test_files_in_other_shapes(form: str, shape: str, tmp_path: Path) -> None:
    truths = {truth["id"]: truth for truth in write_file(tmp_path / "in.jsonl", form, 12)}
    rows = [json.loads(line) for line in (tmp_path / "in.jsonl").read_text().splitlines()]
    file = tmp_path / "other.json"
    if shape == "gzip":
        file.write_bytes(gzip.compress((tmp_path / "in.jsonl").read_bytes()))
    elif shape == "several documents":
        file.write_text("\n".join(json.dumps(row, indent=1) for row in rows))
    else:
        file.write_text(json.dumps(rows, indent=2 if shape == "indented array" else None))
    found = import_traces(ImportConfig(files=(str(file),), out=str(tmp_path / "run")))
    assert found["traces"] == 12 and found["rejected"] == 0
    assert all(is_lossless(trace, truths[trace.id], form) for trace in read_traces(tmp_path / "run"))


@pytest.mark.parametrize("source", RENDERERS)
@pytest.mark.parametrize("target", RENDERERS)
def test_from_any_format_to_any_other(source: str, target: str, tmp_path: Path) -> None:
    """The messages, calls and tokens are the same, though what only one of the formats knows is not."""
    write_file(tmp_path / "in.jsonl", source, 20)
    import_traces(ImportConfig(files=(str(tmp_path / "in.jsonl"),), out=str(tmp_path / "run")))
    out = export_traces(tmp_path / "run", target, out=tmp_path / f"out{'' if target == 'sts' else '.jsonl'}")
    found = import_traces(ImportConfig(files=(out["out"],), out=str(tmp_path / "again")))
    assert found["formats"] == [target] and not found["rejected"]
    before = {trace.id: trace for trace in read_traces(tmp_path / "run")}
    for trace in read_traces(tmp_path / "again"):
        other = before[trace.id]
        assert [step.reply for step in trace.steps] == [step.reply for step in other.steps]
        assert [[said(m) for m in step.messages] for step in trace.steps] == [
            [said(m) for m in step.messages] for step in other.steps
        ]
        assert trace.usage.tokens == other.usage.tokens or target in PER_CALL
        assert trace.tools == other.tools


ODD: list[Any] = [None, True, 0, -1, 1.5, "", "text", [], [[]], [1], {}, {"a": {}}, [{"a": None}], "x" * 300, 10**30]


def mutate(value: Any, rng: random.Random) -> Any:
    """A JSON value with one part of it, at any depth, replaced by something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        return {**value, key: mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        return [*value[:place], mutate(value[place], rng), *value[place + 1 :]]
    if isinstance(value, str) and value[:1] in ("[", "{") and rng.random() < 0.7:
        try:
            return json.dumps(mutate(json.loads(value), rng))
        except ValueError:
            pass
    return rng.choice(ODD)


@pytest.mark.parametrize("form", RENDERERS)
def test_no_row_ends_an_import(form: str, tmp_path: Path) -> None:
    """Parts of rows are replaced by chance: a session is read or rejected, and what is read can be exported."""
    write_file(tmp_path / "good.jsonl", form, 120)
    rng = random.Random(form)
    rows = [json.loads(line) for line in (tmp_path / "good.jsonl").read_text().splitlines()]
    lines = [json.dumps(mutate(row, rng) if rng.random() < 0.4 else row) for row in rows]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    found = import_traces(ImportConfig(files=(str(tmp_path / "in.jsonl"),), format=form, out=str(tmp_path / "run")))
    assert found["traces"] and found["rejected"]
    for target in RENDERERS:
        export_traces(tmp_path / "run", target, out=tmp_path / target)
