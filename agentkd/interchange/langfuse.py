"""`langfuse`: exported observations, or traces with their observations, from the UI, the API or blob storage.

Observations of type `GENERATION` are the calls. Names are camelCase (API, UI) or snake_case (blob storage, where input
and output are JSON in a text). Of `TOOL` observations the result is taken where no message tells it. Source:
langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import Said, read_count, read_object, read_tools, to_text, write_message
from agentkd.interchange.grouped import Part, read_gathered
from agentkd.interchange.langsmith import find_reply, read_any
from agentkd.interchange.rows import Malformed, Reject, Row, parse
from agentkd.interchange.session import Call, Session, pair_extras
from agentkd.interchange.tool_runs import note_tool_run
from agentkd.trace import Message, Trace, Usage, content_hash

TYPES = {
    "SPAN", "GENERATION", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL",
}  # fmt: skip
_KEPT = ("id", "name", "start_time", "end_time", "parent_observation_id")
_OF_TRACE = ("name", "timestamp", "session_id", "user_id", "tags", "release", "version", "environment", "metadata")


def is_type(value: Any) -> bool:
    """Whether a value is a type of observations."""
    return isinstance(value, str) and value in TYPES


def claims(value: Any) -> bool:
    """Whether a value looks like an observation, or a trace with some."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("observations"), list):
        return all(isinstance(each, dict) and is_type(each.get("type")) for each in value["observations"])
    return is_type(value.get("type")) and ("traceId" in value or "trace_id" in value)


def read(rows: Iterable[Row], reject: Reject, folder: Path) -> Iterator[Session]:
    """A session per trace."""
    return read_gathered(rows, _split, _make_session, reject, folder)


def _split(value: Any) -> Iterator[Part]:
    if not isinstance(value, dict):
        raise Malformed("the row is no object")
    if isinstance(value.get("observations"), list):
        about = value["trace"] if isinstance(value.get("trace"), dict) else value
        own = {key: each for key, each in about.items() if key not in ("observations", "scores", "input", "output")}
        if not isinstance(own.get("id"), str):
            raise Malformed("the trace has no id")
        yield Part(own["id"], "", {"trace": _snake(own)})
        for each in value["observations"]:
            if not isinstance(each, dict):
                raise Malformed("an observation is no object")
            yield _part({"trace_id": own["id"], **_snake(each)})
        return
    yield _part(_snake(value))


def _part(row: dict[str, Any]) -> Part:
    if not is_type(row.get("type")):
        raise Malformed(f"the row is no observation: its type is {str(row.get('type'))[:40]!r}")
    if not isinstance(row.get("trace_id"), str) or not row["trace_id"]:
        raise Malformed("the observation has no trace_id")
    if row["type"] == "GENERATION" and row.get("level") != "ERROR":
        for name in ("input", "output"):
            if row.get(name) in (None, ""):
                raise Malformed(f"the generation has no {name}")
    return Part(row["trace_id"], str(row.get("start_time") or ""), row)


def _snake(value: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: f"_{m[1].lower()}", key): each for key, each in value.items()}


def _json(value: Any) -> Any:
    """A payload that may be JSON in a text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return parse(value)
        except Malformed:
            return value
    return value


def _make_session(name: str, parts: Sequence[Row]) -> Session:
    calls, failed, results, extra = [], set[str](), dict[str, str](), dict[str, Any]()
    model = ""
    for part in parts:
        row = part.value
        if isinstance(about := row.get("trace"), dict):
            extra = {"trace": {key: about[key] for key in _OF_TRACE if about.get(key)}}
        elif row["type"] == "GENERATION" and row.get("level") != "ERROR":
            try:
                calls.append(_read_call(row))
            except Malformed as error:
                raise Malformed(f"observation {row.get('id')} (line {part.line}): {error}") from None
            model = model or calls[-1].about.get("model", "")
        elif row["type"] == "TOOL":
            answer = _json(row.get("output"))
            note_tool_run(answer if isinstance(answer, dict) else {}, row.get("level") == "ERROR", failed, results)
        if not extra and "trace_name" in row:
            kept = {key: row[key] for key in ("session_id", "user_id", "tags", "environment") if row.get(key)}
            kept |= {"name": row["trace_name"]} if row["trace_name"] else {}
            extra = {"trace": kept} if kept else {}
    if not calls:
        raise Malformed("no generation that replied")
    first = parts[0]
    return Session(
        id=name,
        calls=tuple(calls),
        file=first.file,
        line=first.line,
        model=model,
        extra=extra,
        failed=frozenset(failed),
        results=results,
    )


def _read_call(row: Mapping[str, Any]) -> Call:
    asked, answered = _json(row["input"]), _json(row["output"])
    tools: Any = None
    if isinstance(asked, dict) and "role" not in asked:
        tools, asked = asked.get("tools"), asked.get("messages", asked.get("input"))
    if isinstance(asked, str):
        asked = [{"role": "user", "content": asked}]
    asked = [asked] if isinstance(asked, dict) else asked
    if isinstance(asked, list) and len(asked) == 1 and isinstance(asked[0], list):
        asked = asked[0]
    if not isinstance(asked, list) or not asked:
        raise Malformed("no messages in its input")
    prompt = [read_any(each, f"message {number}") for number, each in enumerate(asked, 1)]
    reply, extra = _read_reply(answered)
    usage = read_object(row.get("usage_details") or row.get("usage"), "usage_details")
    tokens = [read_count(usage.get(name), f"usage_details.{name}") for name in ("input", "output")]
    extra.pop("usage", None)
    call = {key: row[key] for key in _KEPT if row.get(key)}
    if model := row.get("provided_model_name") or row.get("model"):
        call["model"] = str(model)
    if isinstance(defined := _json(row.get("tool_definitions")), dict) and tools is None:
        read = {name: _json(each) for name, each in defined.items()}
        tools = [{"name": name, **(each if isinstance(each, dict) else {})} for name, each in read.items()] or None
    return Call(
        prompt=tuple(message for message, _ in prompt),
        reply=reply,
        tools=read_tools(tools),
        usage=Usage(calls=1, prompt_tokens=tokens[0], completion_tokens=tokens[1]) if usage else None,
        extra=extra,
        prompt_extra=tuple(more for _, more in prompt),
        about=call,
    )


def _read_reply(value: Any) -> Said:
    if isinstance(value, str):
        return Message(role="assistant", content=value), {}
    value = value[-1] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        raise Malformed("the output holds no message")
    found = find_reply(value)
    if isinstance(found, dict) and "role" not in found and "type" not in found and "lc" not in found:
        if not {"content", "tool_calls"} & found.keys():
            raise Malformed("the output holds no message")
        found = {"role": "assistant", **found}
    reply, extra = read_any(found, "the reply")
    if reply.role != "assistant":
        raise Malformed(f"the reply has the role {reply.role!r}")
    return reply, extra


def write(sessions: Sequence[Session], trace: Trace, ended: int) -> Iterator[dict[str, Any]]:
    """The observations of a trace, as blob storage has them: one of type `GENERATION` per call."""
    first = sessions[0]
    about = first.extra.get("trace") or {}
    shared = {key: about[key] for key in ("session_id", "user_id", "tags", "environment") if key in about}
    shared |= {"trace_name": about["name"]} if "name" in about else {}
    calls = [call for session in sessions for call in session.calls]
    for number, call in enumerate(calls):
        own = dict(call.about)
        model = own.pop("model", first.model)
        messages = [write_message(*pair) for pair in pair_extras(call)]
        row = {
            "id": content_hash([first.id, number])[:32],
            "name": "call",
            "start_time": f"1970-01-01 00:00:00.{number:06d}",
            **{key: own[key] for key in _KEPT if key in own},
            "trace_id": first.id,
            "type": "GENERATION",
            "input": to_text({"messages": messages, "tools": list(call.tools)} if call.tools else messages),
            "output": to_text(write_message(call.reply, call.extra)),
            "provided_model_name": model,
            **shared,
        }
        if call.usage is not None:
            usage = call.usage
            row["usage_details"] = {
                "input": usage.prompt_tokens,
                "output": usage.completion_tokens,
                "total": usage.tokens,
            }
        yield row
