"""`langsmith`: exported runs, `{"id", "trace_id", "run_type", "inputs", "outputs", …}`, one per line or in an array.

Runs of type `llm` are the calls; messages are OpenAI's, LangChain's `{"type": "ai", …}` or its serialised objects
(`{"lc": 1, "id": […, "AIMessage"], "kwargs": {…}}`). Of runs of type `tool` the result is taken where no message tells
it. Other runs hold no messages of their own. Sources: docs.langchain.com/langsmith/run-data-format and
/log-llm-trace; langchain_core's message classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import (
    Said,
    read_arguments,
    read_content,
    read_count,
    read_message,
    read_object,
    read_tools,
    write_message,
)
from agentkd.interchange.grouped import Part, read_gathered
from agentkd.interchange.rows import Malformed, Reject, Row
from agentkd.interchange.session import Call, Session, pair_extras
from agentkd.interchange.tool_runs import note_tool_run
from agentkd.trace import Trace, Usage, content_hash

_CLASSES = {
    "SystemMessage": "system", "HumanMessage": "user", "AIMessage": "assistant", "ToolMessage": "tool",
    "FunctionMessage": "function", "ChatMessage": "",
}  # fmt: skip
_TYPES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool", "function": "function", "chat": ""}
_KWARGS = {
    "content", "type", "name", "role", "tool_calls", "invalid_tool_calls", "additional_kwargs", "tool_call_id",
    "usage_metadata",
}  # fmt: skip


_OF_ROOT = ("id", "name", "start_time", "end_time", "session_id", "tags")
_OF_CALL = ("id", "name", "start_time", "end_time", "parent_run_id")


def claims(value: Any) -> bool:
    """Whether a value looks like a run, or a list of them under `runs`."""
    if isinstance(value, dict) and isinstance(value.get("runs"), list):
        return any(claims(each) for each in value["runs"])
    return isinstance(value, dict) and "run_type" in value and ("inputs" in value or "trace_id" in value)


def read(rows: Iterable[Row], reject: Reject, folder: Path) -> Iterator[Session]:
    """A session per trace."""
    return read_gathered(rows, _split, _make_session, reject, folder)


def _split(value: Any) -> Iterator[Part]:
    runs = value["runs"] if isinstance(value, dict) and isinstance(value.get("runs"), list) else [value]
    for run in runs:
        if not isinstance(run, dict) or not isinstance(run.get("run_type"), str):
            raise Malformed("the row is no run: it has no run_type")
        trace = run.get("trace_id") or run.get("id")
        if not isinstance(trace, str):
            raise Malformed("the run has neither a trace_id nor an id")
        if run["run_type"] == "llm" and not isinstance(run.get("inputs"), dict):
            raise Malformed("the run of a model has no inputs")
        if run["run_type"] == "llm" and not run.get("error") and not isinstance(run.get("outputs"), dict):
            raise Malformed("the run of a model has no outputs")
        yield Part(trace, str(run.get("dotted_order") or run.get("start_time") or ""), run)


def _make_session(name: str, parts: Sequence[Row]) -> Session:
    calls, failed, results, extra = [], set[str](), dict[str, str](), dict[str, Any]()
    model = ""
    for part in parts:
        run = part.value
        if run["run_type"] == "llm" and not run.get("error"):
            try:
                calls.append(_read_call(run))
            except Malformed as error:
                raise Malformed(f"run {run.get('id')} (line {part.line}): {error}") from None
            model = model or calls[-1].about.get("model", "")
        elif run["run_type"] == "tool":
            outputs = run.get("outputs")
            answer = outputs.get("output") if isinstance(outputs, dict) else None
            note_tool_run(_kwargs(answer) or {"content": answer}, bool(run.get("error")), failed, results)
        if not run.get("parent_run_id"):
            kept = {key: run[key] for key in _OF_ROOT if run.get(key)}
            extra = {"run": kept | ({"run_type": run["run_type"]} if run["run_type"] != "chain" else {})}
    if not calls:
        raise Malformed("no run of a model that replied")
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


def _read_call(run: Mapping[str, Any]) -> Call:
    inputs, outputs = run["inputs"], run["outputs"]
    listed = inputs.get("messages")
    if isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], list):
        listed = listed[0]  # LangChain's batch of one
    if not isinstance(listed, list) or not listed:
        raise Malformed("no messages in its inputs")
    prompt = [read_any(each, f"message {number}") for number, each in enumerate(listed, 1)]
    reply, extra = read_any(find_reply(outputs), "the reply")
    if reply.role != "assistant":
        raise Malformed(f"the reply has the role {reply.role!r}")
    more = read_object(run.get("extra"), "extra")
    asked = read_object(more.get("invocation_params"), "invocation_params")
    about = read_object(more.get("metadata"), "metadata")
    told = read_object(outputs.get("llm_output"), "llm_output")
    usage = read_object(outputs.get("usage") or told.get("token_usage") or extra.pop("usage", None), "usage")
    extra.pop("usage", None)
    tokens = {}
    for name, other in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        found = [value for value in (run.get(name), usage.get(name), usage.get(other)) if value is not None]
        tokens[name] = read_count(found[0], name) if found else None
    call = {key: run[key] for key in _OF_CALL if run.get(key)}
    if model := about.get("ls_model_name") or asked.get("model") or asked.get("model_name"):
        call["model"] = str(model)
    known = any(count is not None for count in tokens.values())
    return Call(
        prompt=tuple(message for message, _ in prompt),
        reply=reply,
        tools=read_tools(inputs.get("tools") or asked.get("tools") or None),
        usage=Usage(calls=1, **{name: count or 0 for name, count in tokens.items()}) if known else None,
        extra=extra,
        prompt_extra=tuple(more for _, more in prompt),
        about=call,
    )


def find_reply(outputs: Mapping[str, Any]) -> Any:
    """The model's message in a run's outputs, in the forms in which tracers write it."""
    if isinstance(found := outputs.get("generations"), list) and found:
        first = found[0][0] if isinstance(found[0], list) and found[0] else found[0]
        if isinstance(first, dict):
            return first.get("message") or {"role": "assistant", "content": first.get("text")}
    if isinstance(found := outputs.get("choices"), list) and found and isinstance(found[0], dict):
        return found[0].get("message")
    if isinstance(found := outputs.get("messages"), list) and found:
        return found[-1]
    if isinstance(outputs.get("message"), dict):
        return outputs["message"]
    return outputs


def _kwargs(value: Any) -> dict[str, Any] | None:
    """The fields of a LangChain message, serialised or as `{"type", "data"}`, with its role; None for anything else."""
    if not isinstance(value, dict):
        return None
    if value.get("lc") and isinstance(value.get("kwargs"), dict) and isinstance(value.get("id"), list) and value["id"]:
        kind = str(value["id"][-1]).removesuffix("Chunk")
        return {**value["kwargs"], "role": _CLASSES.get(kind) or value["kwargs"].get("role") or kind}
    named = value.get("type")
    if isinstance(named, str) and "role" not in value:
        data = value["data"] if isinstance(value.get("data"), dict) else value
        short = named.removesuffix("MessageChunk").lower() if named.endswith("Chunk") else named
        return {**data, "role": _TYPES.get(short) or data.get("role") or named}
    return None


def read_any(value: Any, where: str) -> Said:
    """A message in any of the forms."""
    if (fields := _kwargs(value)) is None:
        return read_message(value, where)
    more = fields.get("additional_kwargs")
    more = dict(more) if isinstance(more, dict) else {}
    as_written = {each.get("id"): each for each in more.pop("tool_calls", None) or () if isinstance(each, dict)}
    calls: list[Any] = []
    parsed = [*(fields.get("tool_calls") or ()), *(fields.get("invalid_tool_calls") or ())]
    if len(as_written) == len(parsed):  # it has the text that the model wrote, in its order
        parsed, calls = [], list(as_written.values())
    for call in parsed:
        if not isinstance(call, dict):
            raise Malformed(f"a tool call of {where} is no object")
        text = as_written.get(call.get("id"))
        own = {"name": call.get("name"), "arguments": read_arguments(call.get("args"))}
        calls.append(text or {"id": call.get("id"), "function": own})
    plain = {
        "role": fields["role"],
        "content": read_content(fields.get("content"), where),
        "name": fields.get("name"),
        "tool_calls": calls,
        "tool_call_id": fields.get("tool_call_id"),
        "reasoning_content": more.pop("reasoning_content", None),
    }
    message, extra = read_message(plain, where)
    extra |= {key: each for key, each in fields.items() if key not in _KWARGS and each not in (None, {}, [], False)}
    extra |= {key: each for key, each in more.items() if each is not None}
    if isinstance(usage := fields.get("usage_metadata"), dict):
        extra["usage"] = usage
    return message, extra


def write(sessions: Sequence[Session], trace: Trace, ended: int) -> Iterator[dict[str, Any]]:
    """The runs of a trace: the root, then each call as a run of type `llm`, with OpenAI's messages."""
    first = sessions[0]
    root = first.extra.get("run") or {}
    root_id = str(root.get("id") or first.id)
    start = str(root.get("start_time") or "1970-01-01T00:00:00")
    order = f"{start}Z{root_id}"
    head = {"run_type": "chain", "name": "session", "start_time": start, **root, "id": root_id}
    calls = [call for session in sessions for call in session.calls]
    last = calls[-1]
    yield head | {
        "trace_id": first.id,
        "parent_run_id": None,
        "dotted_order": order,
        "inputs": {"messages": [write_message(one, {}) for one in calls[0].prompt]},
        "outputs": {"messages": [write_message(last.reply, {})]},
    }
    for number, call in enumerate(calls):
        own = dict(call.about)
        model = own.pop("model", first.model)
        run = {
            "id": content_hash([first.id, number])[:32],
            "name": "call",
            "run_type": "llm",
            "start_time": start,
            "parent_run_id": root_id,
            **{key: own[key] for key in _OF_CALL if key in own},
            "trace_id": first.id,
            "dotted_order": f"{order}.{number:08d}",
            "inputs": {"messages": [write_message(*pair) for pair in pair_extras(call)]},
            "outputs": {"choices": [{"message": write_message(call.reply, call.extra)}]},
        }
        about: dict[str, Any] = {}
        if call.tools:
            about["invocation_params"] = {"tools": list(call.tools)}
        if model:
            about["metadata"] = {"ls_model_name": model}
        if call.usage is not None:
            run["prompt_tokens"] = call.usage.prompt_tokens
            run["completion_tokens"] = call.usage.completion_tokens
            run["total_tokens"] = call.usage.tokens
        yield run | ({"extra": about} if about else {})
