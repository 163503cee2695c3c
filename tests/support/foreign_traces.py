"""Sessions of an agent, drawn by chance, and how other programs write them: one function per format.

The functions share no code with agentkd's: they are written after the formats' documentation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Truth = dict[str, Any]
WORDS = ["capital", "Größe", "日本", "a\nb", '"quoted"', "tab\there", "👩\u200d🔬", "{}", "[1, 2]", "42", "—"]
ARGUMENTS = [
    "{}", '{"city": "Paris"}', '{"city":"Paris","days": 3}', '{"n": 1.0, "m": 1e5}', '{"a": [1, {"b": null}]}',
    '{"text": "Größe \\u00e9"}', '{"broken": ', "", "not json", '{"x": 1, "x": 2}', '{"big": 12345678901234567890}',
]  # fmt: skip
PLAIN = ['{"city": "Paris"}', '{"a": [1, {"b": null}]}', '{"n": 1.5}', '{"text": "Größe"}']


def draw_sessions(count: int, seed: int = 0, *, plain: bool = False) -> Iterator[Truth]:
    """Sessions with several turns, parallel tool calls, reasoning and tokens. `plain`: arguments are JSON objects, and
    each reply calls at most one tool, as in formats that have nothing else."""
    rng = random.Random(seed)
    for number in range(count):
        tools = [
            {"type": "function", "function": {"name": name, "description": "", "parameters": {"type": "object"}}}
            for name in rng.sample(["search", "add", "run_sql"], rng.randint(0, 3))
        ]
        messages: list[dict[str, Any]] = []
        if rng.random() < 0.7:
            messages.append({"role": "system", "content": rng.choice(WORDS)})
        for turn in range(rng.randint(1, 3)):
            messages.append({"role": "user", "content": " ".join(rng.choices(WORDS, k=rng.randint(1, 8)))})
            for hop in range(rng.randint(0, 2) if tools else 0):
                calls = [
                    {
                        "id": f"call_{number}_{turn}_{hop}_{place}",
                        "name": rng.choice(tools)["function"]["name"],
                        "arguments": rng.choice(PLAIN if plain else ARGUMENTS),
                    }
                    for place in range(1 if plain else rng.randint(1, 3))
                ]
                messages.append({"role": "assistant", "content": rng.choice(["", "Let me see."]), "calls": calls})
                for call in calls:
                    messages.append({"role": "tool", "content": rng.choice(WORDS), "call": call["id"]})
            messages.append({"role": "assistant", "content": " ".join(rng.choices(WORDS, k=3))})
        for message in messages:
            if message["role"] == "assistant":
                message["usage"] = (rng.randint(1, 9_000), rng.randint(1, 900))
                if rng.random() < 0.3:
                    message["reasoning"] = rng.choice(WORDS)
        yield {"id": f"{number:032x}", "messages": messages, "tools": tools, "model": rng.choice(["gpt-x", "qwen"])}


def _openai(message: dict[str, Any], *, reasoning: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if "calls" in message:
        found["tool_calls"] = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in message["calls"]
        ]
        found["content"] = message["content"] or None
    if "call" in message:
        found["tool_call_id"] = message["call"]
    if "reasoning" in message and reasoning:
        found["reasoning_content"] = message["reasoning"]
    return found


def _total(truth: Truth) -> dict[str, int]:
    used = [message["usage"] for message in truth["messages"] if "usage" in message]
    return {"prompt_tokens": sum(p for p, _ in used), "completion_tokens": sum(c for _, c in used)}


def openai(truth: Truth) -> list[dict[str, Any]]:
    row = {"id": truth["id"], "messages": [_openai(m) for m in truth["messages"]], "usage": _total(truth)}
    return [row | ({"tools": truth["tools"]} if truth["tools"] else {}) | {"model": truth["model"], "source": "mine"}]


def sts(truth: Truth) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [
        {"type": "session", "harness": "mine", "id": truth["id"], "name": "x", "usage": _total(truth)}
    ]
    for message in truth["messages"]:
        inner: dict[str, Any] = {"role": message["role"], "content": message["content"], "timestamp": 1782900000000}
        if "calls" in message:
            inner["toolCalls"] = [
                {"id": c["id"], "function": {"name": c["name"], "arguments": c["arguments"]}} for c in message["calls"]
            ]
        if "call" in message:
            inner["toolCallId"] = message["call"]
        if "reasoning" in message:
            inner["reasoningContent"] = message["reasoning"]
        if message["role"] == "assistant":
            inner["model"] = truth["model"]
        lines.append({"type": "message", "message": inner})
    return lines


def _replies(truth: Truth) -> Iterator[tuple[int, list[dict[str, Any]], dict[str, Any]]]:
    for place, message in enumerate(truth["messages"]):
        if message["role"] == "assistant":
            yield place, truth["messages"][:place], message


def _parts(message: dict[str, Any], *, reasoning: bool) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if "reasoning" in message and reasoning:
        parts.append({"type": "reasoning", "content": message["reasoning"]})
    if "call" in message:
        parts.append({"type": "tool_call_response", "id": message["call"], "response": message["content"]})
    elif message["content"] or "calls" not in message:
        parts.append({"type": "text", "content": message["content"]})
    for call in message.get("calls", ()):
        parts.append({"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["arguments"]})
    return {"role": message["role"], "parts": parts}


def _value(value: Any, structured: bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, str) or not structured:
        return {"stringValue": value if isinstance(value, str) else json.dumps(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each, True) for each in value]}}
    return {"kvlistValue": {"values": [{"key": k, "value": _value(v, True)} for k, v in value.items()]}}


def otlp(truth: Truth) -> list[dict[str, Any]]:
    """An export per span, children before the agent, half of them with structured attributes."""
    number = int(truth["id"], 16)
    root = f"{number + 1:016x}"
    lines = []
    for place, before, reply in _replies(truth):
        structured = number % 2 == 0
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": truth["model"],
            "gen_ai.usage.input_tokens": reply["usage"][0], "gen_ai.usage.output_tokens": reply["usage"][1],
            "gen_ai.input.messages": [_parts(m, reasoning=False) for m in before],
            "gen_ai.output.messages": [_parts(reply, reasoning=True)],
        }  # fmt: skip
        if truth["tools"]:
            attributes["gen_ai.tool.definitions"] = json.dumps(truth["tools"])
        span = {
            "traceId": truth["id"], "spanId": f"{number * 64 + place + 2**40:016x}", "parentSpanId": root, "kind": 3,
            "name": f"chat {truth['model']}", "startTimeUnixNano": str(10**18 + place * 10**9),
            "endTimeUnixNano": str(10**18 + place * 10**9 + 5),
            "attributes": [{"key": k, "value": _value(v, structured)} for k, v in attributes.items()],
        }  # fmt: skip
        lines.append(span)
    lines.append(
        {
            "traceId": truth["id"], "spanId": root, "name": "invoke_agent mine", "kind": 1,
            "startTimeUnixNano": str(10**18), "endTimeUnixNano": str(10**18 + 10**11),
            "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "invoke_agent"}}],
        }
    )  # fmt: skip
    return [{"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]} for span in lines]


_CLASSES = {"system": "SystemMessage", "user": "HumanMessage", "assistant": "AIMessage", "tool": "ToolMessage"}


def _langchain(message: dict[str, Any]) -> dict[str, Any]:
    kwargs: dict[str, Any] = {"content": message["content"], "response_metadata": {}, "additional_kwargs": {}}
    if "calls" in message:
        kwargs["additional_kwargs"] = {"tool_calls": _openai(message)["tool_calls"], "refusal": None}
        kwargs["tool_calls"], kwargs["invalid_tool_calls"] = [], []
        for call in message["calls"]:
            try:
                parsed = json.loads(call["arguments"])
                kwargs["tool_calls"].append(
                    {"name": call["name"], "args": parsed, "id": call["id"], "type": "tool_call"}
                )
            except ValueError:
                kwargs["invalid_tool_calls"].append(
                    {"name": call["name"], "args": call["arguments"], "id": call["id"], "error": "no JSON"}
                )
    if "call" in message:
        kwargs |= {"tool_call_id": message["call"], "status": "success"}
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", _CLASSES[message["role"]]],
        "kwargs": kwargs,
    }


def langsmith(truth: Truth) -> list[dict[str, Any]]:
    """Half of the traces are LangChain's, half those of OpenAI's wrapped client."""
    by_langchain = int(truth["id"], 16) % 2 == 0
    root = f"root-{truth['id']}"
    start = "20260101T000000000000Z"
    runs: list[dict[str, Any]] = []
    for place, before, reply in _replies(truth):
        run: dict[str, Any] = {
            "id": f"run-{truth['id']}-{place}", "trace_id": truth["id"], "parent_run_id": root, "run_type": "llm",
            "name": "ChatOpenAI", "dotted_order": f"{start}{root}.{place:06d}Z", "start_time": "2026-01-01T00:00:00",
            "prompt_tokens": reply["usage"][0], "completion_tokens": reply["usage"][1],
            "extra": {"metadata": {"ls_model_name": truth["model"]}, "invocation_params": {"tools": truth["tools"]}},
        }  # fmt: skip
        if by_langchain:
            run["inputs"] = {"messages": [[_langchain(m) for m in before]]}
            said = _langchain(reply)
            if "reasoning" in reply:
                said["kwargs"]["additional_kwargs"]["reasoning_content"] = reply["reasoning"]
            run["outputs"] = {"generations": [[{"text": reply["content"], "message": said}]], "llm_output": None}
        else:
            run["inputs"] = {"messages": [_openai(m, reasoning=False) for m in before], "model": truth["model"]}
            run["outputs"] = {"choices": [{"message": _openai(reply), "finish_reason": "stop"}]}
        runs.append(run)
    chain = {"id": root, "trace_id": truth["id"], "run_type": "chain", "name": "agent", "inputs": {}, "outputs": {}}
    chain["start_time"] = "2026-01-01T00:00:00"
    return [chain | {"dotted_order": f"{start}{root}", "parent_run_id": None}, *runs]


def langfuse(truth: Truth) -> list[dict[str, Any]]:
    """Half of the observations are named as in blob storage, half as in the API."""
    in_blob = int(truth["id"], 16) % 2 == 0
    rows = []
    for place, before, reply in _replies(truth):
        asked: Any = [_openai(m, reasoning=False) for m in before]
        asked = {"messages": asked, "tools": truth["tools"]} if truth["tools"] else asked
        used = {"input": reply["usage"][0], "output": reply["usage"][1], "total": sum(reply["usage"])}
        told = _openai(reply)
        row = {
            "id": f"obs-{truth['id']}-{place}", "trace_id": truth["id"], "type": "GENERATION", "name": "chat",
            "start_time": f"2026-01-01 00:00:{place:02d}.000000", "level": "DEFAULT", "usage_details": used,
            "input": json.dumps(asked) if in_blob else asked, "output": json.dumps(told) if in_blob else told,
        }  # fmt: skip
        if in_blob:
            rows.append(
                row | {"provided_model_name": truth["model"], "parent_observation_id": "", "trace_name": "mine"}
            )
        else:
            camel = {"trace_id": "traceId", "start_time": "startTime", "usage_details": "usageDetails"}
            rows.append({camel.get(key, key): value for key, value in row.items()} | {"model": truth["model"]})
    return rows


def adp(truth: Truth) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    for message in truth["messages"]:
        thought = {"reasoning_content": message["reasoning"]} if "reasoning" in message else {}
        if "calls" in message:
            (call,) = message["calls"]
            content.append(
                {
                    "class_": "api_action", "function": call["name"], "kwargs": json.loads(call["arguments"]),
                    "description": message["content"] or None, "tool_call_id": call["id"], **thought,
                }
            )  # fmt: skip
        elif message["role"] == "assistant":
            content.append({"class_": "message_action", "content": message["content"], "description": None, **thought})
        else:
            source = "environment" if message["role"] == "tool" else message["role"]
            link = {"tool_call_id": message["call"]} if "call" in message else {}
            content.append({"class_": "text_observation", "content": message["content"], "source": source, **link})
    return [{"schema_version": "1.2.0", "id": truth["id"], "content": content, "details": {"dataset": "mine"}}]


RENDERERS: dict[str, Callable[[Truth], list[dict[str, Any]]]] = {
    "openai": openai, "sts": sts, "otlp": otlp, "langsmith": langsmith, "langfuse": langfuse, "adp": adp,
}  # fmt: skip
PER_CALL = ("otlp", "langsmith", "langfuse")  # a row is a part of a trace


def write_file(path: Path, form: str, count: int, seed: int = 0) -> list[Truth]:
    """Write sessions in a format; the rows of traces are mixed where the format allows it."""
    truths = list(draw_sessions(count, seed, plain=form == "adp"))
    rows = [[json.dumps(row, ensure_ascii=False) for row in RENDERERS[form](truth)] for truth in truths]
    lines = [line for some in rows for line in some]
    if form in PER_CALL:
        random.Random(seed).shuffle(lines)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return truths
