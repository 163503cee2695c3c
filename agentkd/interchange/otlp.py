"""`otlp`: spans of OpenTelemetry as JSON (OTLP), by the semantic conventions for generative AI.

Spans that have `gen_ai.output.messages` are the calls; those of `execute_tool` tell results that no message repeats.
Agent spans repeat what the calls inside of them say, so they are read only where a trace has no others. Attributes are
objects, or JSON in a text; messages may also be those of the event `gen_ai.client.inference.operation.details`, or, as
OpenLLMetry and OpenInference write them, attributes with numbers. `spans.py` writes them. Sources:
github.com/open-telemetry/semantic-conventions-genai (`docs/gen-ai/`, `model/gen-ai/*.json`), opentelemetry.io/docs/
specs/otel/protocol/file-exporter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import Extra, Said, read_arguments, read_count, read_message, read_tools, to_text
from agentkd.interchange.grouped import Part, read_gathered
from agentkd.interchange.rows import Malformed, Reject, Row, parse
from agentkd.interchange.session import APART, Call, Session
from agentkd.interchange.spans import to_request, trace_spans
from agentkd.interchange.tool_runs import note_tool_run
from agentkd.trace import ToolCall, Trace, Usage

EVENT = "gen_ai.client.inference.operation.details"
TOKENS = {
    "prompt": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "completion": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
}
AGENTS = ("invoke_agent", "create_agent", "invoke_workflow", "plan")


def claims(value: Any) -> bool:
    """Whether a value is an export of traces."""
    return isinstance(value, dict) and isinstance(value.get("resourceSpans", value.get("resource_spans")), list)


def read(rows: Iterable[Row], reject: Reject, folder: Path) -> Iterator[Session]:
    """A session per trace."""
    return read_gathered(rows, _split, _make_session, reject, folder)


def _split(value: Any) -> Iterator[Part]:
    if not claims(value):
        raise Malformed("the row has no resourceSpans")
    for resource in value.get("resourceSpans", value.get("resource_spans")):
        scopes = resource.get("scopeSpans", resource.get("scope_spans")) if isinstance(resource, dict) else None
        if not isinstance(scopes, list):
            raise Malformed("an entry of resourceSpans has no scopeSpans")
        for scope in scopes:
            if not isinstance(scope, dict) or not isinstance(scope.get("spans"), list):
                raise Malformed("an entry of scopeSpans has no spans")
            for span in scope["spans"]:
                yield _part(span)


def _part(span: Any) -> Part:
    if not isinstance(span, dict) or not isinstance(name := span.get("traceId", span.get("trace_id")), str) or not name:
        raise Malformed("a span has no traceId")
    start = str(span.get("startTimeUnixNano", span.get("start_time_unix_nano")) or 0)
    attributes = read_attributes(span.get("attributes"))
    for event in span.get("events") or ():
        if isinstance(event, dict) and event.get("name") == EVENT:
            attributes = {**read_attributes(event.get("attributes")), **attributes}
    kept = {"start": start, "end": str(span.get("endTimeUnixNano", span.get("end_time_unix_nano")) or start)}
    spellings = {"id": ("spanId", "span_id"), "name": ("name",), "parent": ("parentSpanId", "parent_span_id")}
    for key, names in spellings.items():
        kept[key] = next((span[name] for name in names if span.get(name)), "")
        if not isinstance(kept[key], str):
            raise Malformed(f"the {names[0]} of a span is no text")
    status = span.get("status") if isinstance(span.get("status"), dict) else {}
    failed = (status or {}).get("code") in (2, "STATUS_CODE_ERROR")
    return Part(name, start.zfill(20), {"span": kept, "failed": failed, "attributes": attributes})


def read_attributes(value: Any) -> dict[str, Any]:
    """Decode OTLP's list of attributes."""
    if value is None:
        return {}
    if not isinstance(value, list):
        raise Malformed("the attributes of a span are no list")
    found = {}
    for each in value:
        if not isinstance(each, dict) or not isinstance(each.get("key"), str):
            raise Malformed("an attribute has no key")
        found[each["key"]] = _any_value(each.get("value"))
    return found


def _any_value(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        raise Malformed("the value of an attribute is none that OTLP has") if value else Malformed("a value is empty")
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [_any_value(each) for each in (inner or {}).get("values") or ()]
    if kind == "kvlistValue":
        return read_attributes((inner or {}).get("values"))
    if kind == "intValue":
        try:
            return int(inner)
        except (TypeError, ValueError):
            raise Malformed(f"the number {str(inner)[:40]!r} of an attribute is none") from None
    if kind in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        return inner
    raise Malformed(f"the value of an attribute is of the unknown kind {kind[:40]!r}")


def _make_session(name: str, parts: Sequence[Row]) -> Session:
    failed, results = set[str](), dict[str, str]()
    calls: list[Call] = []
    agents: list[Call] = []
    extra: dict[str, Any] = {}
    for part in parts:
        attributes = part.value["attributes"]
        operation = attributes.get("gen_ai.operation.name")
        if not part.value["span"]["parent"]:
            extra = {"root": part.value["span"]}
        if conversation := attributes.get("gen_ai.conversation.id"):
            extra["conversation"] = str(conversation)
        if operation == "execute_tool":
            answer = {
                "tool_call_id": attributes.get("gen_ai.tool.call.id"),
                "content": attributes.get("gen_ai.tool.call.result"),
            }
            note_tool_run(answer, part.value["failed"], failed, results)
            continue
        try:
            call = _read_call(part.value)
        except Malformed as error:
            raise Malformed(f"span {part.value['span']['id']} (line {part.line}): {error}") from None
        if call is not None:
            (agents if operation in AGENTS else calls).append(call)
    if not (calls := calls or agents):
        raise Malformed(
            "no span with the messages of a model (gen_ai.output.messages): contents are often not recorded by default"
        )
    first = parts[0]
    return Session(
        id=name,
        calls=tuple(calls),
        file=first.file,
        line=first.line,
        model=next((call.about["model"] for call in calls if "model" in call.about), ""),
        extra=extra,
        failed=frozenset(failed),
        results=results,
    )


def _read_call(value: Mapping[str, Any]) -> Call | None:
    """The call of a span; None for a span of another kind."""
    attributes = value["attributes"]
    if "gen_ai.output.messages" in attributes:
        asked = _system(attributes) + _messages(attributes.get("gen_ai.input.messages"), "input")
        answered = _messages(attributes["gen_ai.output.messages"], "output")
        tools = _json(attributes.get("gen_ai.tool.definitions"))
    elif found := _numbered(attributes):
        asked, answered, tools = found
    else:
        return None
    if not asked:
        raise Malformed("a reply without the messages before it (gen_ai.input.messages)")
    if not answered or answered[0][0].role != "assistant":
        raise Malformed("no message of the assistant in its output")
    reply, extra = answered[0]
    tokens = {name: next((attributes[key] for key in keys if key in attributes), None) for name, keys in TOKENS.items()}
    counts = {f"{name}_tokens": read_count(count, f"the {name} tokens") for name, count in tokens.items()}
    kept: Extra = {"span": value["span"]}
    if len(answered) > 1:
        kept["choices"] = [message.model_dump() for message, _ in answered[1:]]
    if reason := extra.pop("finish_reason", None):
        kept["finish_reason"] = reason
    names = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
    if model := next((attributes[key] for key in names if attributes.get(key)), None):
        kept["model"] = str(model)
    for key, short in (("gen_ai.response.id", "response_id"), ("gen_ai.provider.name", "provider")):
        if attributes.get(key):
            kept[short] = attributes[key]
    if reasons := attributes.get("gen_ai.response.finish_reasons"):
        kept["finish_reasons"] = reasons
    known = any(count is not None for count in tokens.values())
    return Call(
        prompt=tuple(message for message, _ in asked),
        reply=reply,
        tools=read_tools(tools),
        usage=Usage(calls=1, **counts) if known else None,
        extra=extra,
        prompt_extra=tuple(more for _, more in asked),
        about=kept,
    )


def _json(value: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


def _system(attributes: Mapping[str, Any]) -> list[Said]:
    """System instructions that are apart from the chat; a note says so."""
    parts = _json(attributes.get("gen_ai.system_instructions"))
    if parts is None:
        return []
    found = _messages([{"role": "system", "parts": parts}], "system")
    return [(message, extra | {APART: True}) for message, extra in found]


def _messages(value: Any, what: str) -> list[Said]:
    """Messages of the conventions, `{"role", "parts": […]}`; a part with a tool's response is a message of its own."""
    found: list[Said] = []
    listed = _json(value)
    if listed is None:
        return found
    if not isinstance(listed, list):
        raise Malformed(f"the {what} messages are no list")
    for number, each in enumerate(listed, 1):
        where = f"{what} message {number}"
        if not isinstance(each, dict) or not isinstance(each.get("parts"), list):
            raise Malformed(f"{where} has no parts")
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        answers: list[tuple[str, str]] = []
        for part in each["parts"]:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("text", "reasoning") and isinstance(part.get("content"), str):
                (texts if kind == "text" else thoughts).append(part["content"])
            elif kind == "tool_call" and isinstance(part.get("name"), str):
                calls.append(ToolCall(id=_id(part), name=part["name"], arguments=read_arguments(part.get("arguments"))))
            elif kind == "tool_call_response" and ("response" in part or "result" in part):
                answers.append((_id(part), to_text(part.get("response", part.get("result")))))
            else:
                raise Malformed(f"{where} has a part of type {str(kind)[:40]!r}, which is no text or lacks a field")
        extra = {key: one for key, one in each.items() if key not in ("role", "parts", "name", "finish_reason") and one}
        if each.get("finish_reason"):
            extra["finish_reason"] = each["finish_reason"]
        base = {"role": each.get("role"), "name": each.get("name")}
        for call_id, answer in answers:
            own = {**base, "role": "tool", "content": answer, "tool_call_id": call_id or None}
            found.append((read_message(own, where)[0], {}))
        if texts or thoughts or calls or not answers:
            message, _ = read_message({**base, "content": "\n".join(texts)}, where)
            update = {"tool_calls": tuple(calls), "reasoning": "\n".join(thoughts) if thoughts else None}
            found.append((message.model_copy(update=update), extra))
    return found


def _id(part: Mapping[str, Any]) -> str:
    value = part.get("id")
    if value is not None and not isinstance(value, str):
        raise Malformed("the id of a tool call is no text")
    return value or ""


def _numbered(
    attributes: Mapping[str, Any],
) -> tuple[list[Said], list[Said], Any] | None:
    """Messages and tools in attributes with numbers: `gen_ai.prompt.0.role` or `llm.input_messages.0.message.role`."""
    tree = _unflatten(attributes)
    gen_ai, llm = tree.get("gen_ai", {}), tree.get("llm", {})
    if isinstance(gen_ai, dict) and isinstance(gen_ai.get("completion"), dict):
        asked, answered = _ordered(gen_ai.get("prompt")), _ordered(gen_ai["completion"])
        listed = _ordered(llm.get("request", {}).get("functions")) if isinstance(llm, dict) else []
        tools = [{**tool, "parameters": _json(tool.get("parameters"))} for tool in listed if isinstance(tool, dict)]
    elif isinstance(llm, dict) and isinstance(llm.get("output_messages"), dict):
        both = [_ordered(llm.get(name)) for name in ("input_messages", "output_messages")]
        asked, answered = ([one.get("message") for one in some if isinstance(one, dict)] for some in both)
        schemas = [one.get("tool", {}).get("json_schema") for one in _ordered(llm.get("tools"))]
        tools = [_json(schema) for schema in schemas if schema]
    else:
        return None
    read = [[_plain(each, f"message {n}") for n, each in enumerate(some, 1)] for some in (asked, answered)]
    return read[0], read[1], tools or None


def _plain(value: Any, where: str) -> Said:
    if not isinstance(value, dict):
        raise Malformed(f"{where} is no message")
    calls = []
    for call in _ordered(value.get("tool_calls")):
        inner = call.get("tool_call", call) if isinstance(call, dict) else {}
        nested = inner.get("function")
        function = nested if isinstance(nested, dict) else inner
        named = {key: function.get(key) for key in ("name", "arguments")}
        calls.append({"id": inner.get("id"), "function": named})
    return read_message(
        {
            "role": value.get("role", "assistant"),
            "content": value.get("content"),
            "name": value.get("name"),
            "tool_calls": calls,
            "tool_call_id": value.get("tool_call_id"),
        },
        where,
    )


def _ordered(value: Any) -> list[Any]:
    numbers = sorted((key for key in value if key.isdecimal()), key=int) if isinstance(value, dict) else []
    return [value[key] for key in numbers]


def _unflatten(attributes: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        *path, last = key.split(".")
        node: Any = tree
        for name in path:
            node = node.setdefault(name, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict) and not isinstance(node.get(last), dict):
            node[last] = value
    return tree


def write(sessions: Sequence[Session], trace: Trace, ended: int) -> Iterator[dict[str, Any]]:
    """One export per trace, with contents."""
    yield to_request(trace_spans(trace, sessions, contents=True, ended=ended))
