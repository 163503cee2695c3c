"""A trace as spans of OpenTelemetry, by the semantic conventions for generative AI.

One span for the agent; inside of it one per call of a model, per call of a tool, and per step that code made. Contents
(what is said, arguments, results) are left out unless they are asked for. Ids are made of the trace's hash, so that a
span that is sent twice is one span. Source: github.com/open-telemetry/semantic-conventions-genai, `docs/gen-ai/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agentkd import __version__
from agentkd.interchange.chat import Extra, to_text, write_arguments
from agentkd.interchange.session import APART, Call, Session, pair_extras
from agentkd.trace import Message, Step, ToolResult, Trace, content_hash

INTERNAL, CLIENT, ERROR = 1, 3, 2  # kinds of spans, and the code of a failure
_TRACE_ID = re.compile("[0-9a-f]{32}")
_SPAN_ID = re.compile("[0-9a-f]{16}")
SECOND = 10**9  # in nanoseconds, the unit of OTLP

Attributes = dict[str, Any]


def trace_spans(trace: Trace, sessions: Sequence[Session], *, contents: bool, ended: int) -> list[dict[str, Any]]:
    """The spans of a trace. `ended` is when it ended, in nanoseconds since 1970, where the trace itself does not say.

    Its parts are placed by what they cost, as far as that is known."""
    calls = [call for session in sessions for call in session.calls]
    root = (sessions[0].extra.get("root") if sessions else None) or {}
    ids = Ids(trace)
    called = {call.about["span"]["id"] for call in calls if "span" in call.about}
    clock = begun = ended - int(max(trace.usage.seconds, 1e-3) * SECOND)
    spans: list[dict[str, Any]] = []
    inside: dict[str, Any] = {}
    if not root or root.get("id") not in called:  # else the trace is a call without an agent
        top = {"spanId": ids.span(root.get("id"), "root"), "start": begun, "end": ended}
        spans.append(top | _root(trace, sessions, root, contents))
        inside = {"parentSpanId": top["spanId"]}
    waiting = iter(calls)
    for number, (step, prompt) in enumerate(zip(trace.steps, trace.prompts(), strict=True)):
        seconds = step.usage.seconds if step.usage is not None else 0.0
        before, clock = clock, clock + int(seconds * SECOND)
        call = next(waiting) if prompt else None
        own = call.about.get("span", {}).get("id") if call else None
        found = _call(call, trace.teacher, contents) if call else _code(step, contents)
        parent = inside if own is None or own != root.get("id") else {}
        spans.append({"spanId": ids.span(own, f"step {number}"), "start": before, "end": clock, **parent, **found})
        for place, item in enumerate(item for item in step.evidence if isinstance(item, ToolResult)):
            found = {"spanId": ids.span(None, f"tool {number} {place}"), "start": clock, "end": clock}
            spans.append(found | inside | _tool(item, contents))
    return [_finish(ids.trace, span) for span in spans]


def _finish(trace_id: str, span: Mapping[str, Any]) -> dict[str, Any]:
    """A span as OTLP's JSON has it."""
    parent = {"parentSpanId": span["parentSpanId"]} if "parentSpanId" in span else {}
    return {
        "traceId": trace_id,
        "spanId": span["spanId"],
        **parent,
        "name": span["name"],
        "kind": span["kind"],
        "startTimeUnixNano": str(span["start"]),
        "endTimeUnixNano": str(span["end"]),
        "attributes": [{"key": key, "value": to_value(value)} for key, value in span["attributes"].items()],
        "status": {"code": ERROR} if span.get("failed") else {},
    }


class Ids:
    """Ids of a trace and its spans: those of the source where it has some, else made of the trace's hash."""

    def __init__(self, trace: Trace) -> None:
        own = trace.sample == 0 and _TRACE_ID.fullmatch(trace.id)
        self.trace = trace.id if own else content_hash([trace.hash, "trace"])[:32]
        self.hash = trace.hash

    def span(self, own: Any, name: str) -> str:
        return own if isinstance(own, str) and _SPAN_ID.fullmatch(own) else content_hash([self.hash, name])[:16]


def _root(trace: Trace, sessions: Sequence[Session], root: Mapping[str, Any], contents: bool) -> dict[str, Any]:
    attributes: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": trace.task,
        "gen_ai.provider.name": provider_of(trace.teacher),
        "gen_ai.request.model": trace.teacher.rpartition("#")[2],
        "gen_ai.usage.input_tokens": trace.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": trace.usage.completion_tokens,
        "agentkd.id": trace.id,
        "agentkd.sample": trace.sample,
        "agentkd.verified": trace.verified,
        "agentkd.rung": trace.verdict.rung,
    }
    if conversation := (sessions[0].extra.get("conversation") if sessions else None):
        attributes["gen_ai.conversation.id"] = conversation
    if contents:
        attributes["gen_ai.input.messages"] = to_text([_write(Message(role="user", content=trace.question), {})])
        answer = Message(role="assistant", content="\n".join(trace.answers))
        attributes["gen_ai.output.messages"] = to_text([_write(answer, {})])
    times = {key: root[key] for key in ("start", "end") if key in root}
    name = root.get("name") or f"invoke_agent {trace.task}"
    return {"name": name, "kind": INTERNAL, "attributes": attributes, **times}


def provider_of(teacher: str) -> str:
    """The provider's name, as the conventions have it, of a teacher as the user names it."""
    return "openai" if teacher.startswith("openai:") else "agentkd" if teacher == "none" else "openai_compatible"


def _call(call: Call, teacher: str, contents: bool) -> dict[str, Any]:
    about = call.about
    own = about.get("span", {})
    model = about.get("model") or teacher.rpartition("#")[2]
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": about.get("provider") or provider_of(teacher),
        "gen_ai.request.model": model,
    }
    for key, name in (("response_id", "gen_ai.response.id"), ("finish_reasons", "gen_ai.response.finish_reasons")):
        if key in about:
            attributes[name] = about[key]
    if call.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = call.usage.prompt_tokens
        attributes["gen_ai.usage.output_tokens"] = call.usage.completion_tokens
    if contents:
        asked = pair_extras(call)
        apart = [_write(message, {}) for message, more in asked if more.get(APART)]
        if apart:
            attributes["gen_ai.system_instructions"] = to_text([part for one in apart for part in one["parts"]])
        attributes["gen_ai.input.messages"] = to_text([_write(*pair) for pair in asked if not pair[1].get(APART)])
        choices = [Message.model_validate(value) for value in about.get("choices", ())]
        ended = {"finish_reason": about["finish_reason"]} if "finish_reason" in about else {}
        replies = [_write(call.reply, call.extra | ended), *(_write(choice, {}) for choice in choices)]
        attributes["gen_ai.output.messages"] = to_text(replies)
        if call.tools:
            attributes["gen_ai.tool.definitions"] = to_text(list(call.tools))
    times = {key: own[key] for key in ("start", "end") if key in own}
    return {"name": own.get("name") or f"chat {model}", "kind": CLIENT, "attributes": attributes, **times}


def _tool(item: ToolResult, contents: bool) -> dict[str, Any]:
    attributes: Attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": item.name}
    attributes |= {"gen_ai.tool.call.id": item.id} if item.id else {}
    attributes |= {} if item.ok else {"error.type": "_OTHER"}
    if contents:
        attributes |= {"gen_ai.tool.call.arguments": item.arguments, "gen_ai.tool.call.result": item.result}
    return {"name": f"execute_tool {item.name}", "kind": INTERNAL, "attributes": attributes, "failed": not item.ok}


def _code(step: Step, contents: bool) -> dict[str, Any]:
    """A step that no model made: a retrieval, a check."""
    attributes: Attributes = {}
    if step.verdict is not None:
        attributes |= {"agentkd.ok": step.verdict.ok, "agentkd.rung": step.verdict.rung}
        attributes |= {"agentkd.reason": step.verdict.reason} if contents else {}
    attributes |= {"agentkd.reward": step.reward} if step.reward is not None else {}
    attributes |= {"agentkd.output": step.output} if contents else {}
    return {"name": step.kind, "kind": INTERNAL, "attributes": attributes}


def _write(message: Message, extra: Extra) -> dict[str, Any]:
    """A message of the conventions. `extra` are further keys, which they allow."""
    parts: list[dict[str, Any]] = []
    if message.reasoning is not None:
        parts.append({"type": "reasoning", "content": message.reasoning})
    if message.role == "tool":
        link = {"id": message.tool_call_id} if message.tool_call_id is not None else {}
        parts.append({"type": "tool_call_response", **link, "response": message.content})
    elif message.content or not message.tool_calls:
        parts.append({"type": "text", "content": message.content})
    for call in message.tool_calls:
        link = {"id": call.id} if call.id else {}
        parts.append({"type": "tool_call", **link, "name": call.name, "arguments": write_arguments(call.arguments)})
    named = {"name": message.name} if message.name is not None else {}
    return {"role": message.role, "parts": parts, **named, **extra}


def to_value(value: Any) -> dict[str, Any]:
    """A value as OTLP's JSON has it; whole numbers are texts there."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [to_value(each) for each in value]}}
    return {"stringValue": str(value)}


def to_request(spans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An export of spans, `ExportTraceServiceRequest` in JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "agentkd"}}]}
    scope = {"name": "agentkd", "version": __version__}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": list(spans)}]}]}
