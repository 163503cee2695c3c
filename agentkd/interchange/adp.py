"""`adp`: trajectories of the Agent Data Protocol (arXiv 2510.24702), whose content is actions and observations.

An action is a message of the assistant: an `api_action` one that calls a tool, a `code_action` one that calls
`execute_LANGUAGE` with the code, a `message_action` one that says something. An observation is what the user says, or
a tool's answer: that of the call whose `tool_call_id` it has, else of the action before it. What the protocol has no
place for (calls that belong to one message, arguments that are no JSON object, tokens) is under `details.agentkd`.
Source: github.com/neulab/agent-data-protocol, `schema/`, version 1.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import Extra, Said, read_tools, to_text, write_arguments
from agentkd.interchange.openai_messages import read_id, read_usage, write_usage
from agentkd.interchange.rows import Malformed, Reject, Row
from agentkd.interchange.session import Session, conversation, make_calls, read_each
from agentkd.trace import Message, ToolCall, Trace

VERSION = "1.2.0"
OURS = "agentkd"  # the key in `details`
CODE = "execute_"
_OWN = ("id", "content", "details", "schema_version")
_ROLES = {"user": "user", "system": "system", "developer": "developer", "agent": "user", "assistant": "user"}


def claims(value: Any) -> bool:
    """Whether a value looks like a trajectory."""
    content = value.get("content") if isinstance(value, dict) else None
    return isinstance(content, list) and any(isinstance(one, dict) and "class_" in one for one in content)


def read(rows: Iterable[Row], reject: Reject, folder: Path) -> Iterator[Session]:
    """A session per trajectory."""
    return read_each(rows, _read_row, reject)


def _read_row(row: Row) -> Session:
    value = row.value
    if not isinstance(value, dict) or not isinstance(value.get("content"), list):
        raise Malformed("the row has no list of content")
    details = value.get("details") or {}
    if not isinstance(details, dict):
        raise Malformed("details is no object")
    found = details.get(OURS)
    ours: dict[str, Any] = found if isinstance(found, dict) else {}
    messages: list[Said] = []
    open_call: str | None = None
    joined = set(ours.get("joined") or ())
    texts = ours.get("arguments") or {}
    for number, item in enumerate(value["content"]):
        where = f"content {number + 1}"
        if not isinstance(item, dict) or not isinstance(item.get("class_"), str):
            raise Malformed(f"{where} has no class_")
        if item["class_"].endswith("_action"):
            message, extra = _read_action(item, where, texts.get(str(number)))
            open_call = message.tool_calls[0].id if message.tool_calls else None
            if number in joined and messages:
                before, kept = messages[-1]
                messages[-1] = before.model_copy(update={"tool_calls": (*before.tool_calls, *message.tool_calls)}), kept
                continue
            messages.append((message, extra))
        else:
            message, extra = _read_observation(item, where, open_call)
            messages.append((message, extra))
    names, usages = ours.get("messages") or {}, ours.get("usages") or []
    for place, extra in names.items():
        if place.isdecimal() and int(place) < len(messages) and isinstance(extra, dict):
            message, own = messages[int(place)]
            restored = {key: each for key, each in extra.items() if key in ("role", "name", "content")}
            messages[int(place)] = Message.model_validate(message.model_dump() | restored), own
    tools = read_tools(ours.get("tools"))
    calls, trailing = make_calls(messages, tools, [read_usage(each) for each in usages])
    extra = {key: each for key, each in value.items() if key not in _OWN}
    if rest := {key: each for key, each in details.items() if key != OURS}:
        extra["details"] = rest
    if value.get("schema_version"):
        extra["schema_version"] = value["schema_version"]
    return Session(
        id=read_id(value, f"{row.file.name.partition('.')[0]}-{row.line}", extra),
        calls=calls,
        file=row.file,
        line=row.line,
        model=str(ours.get("model") or ""),
        trailing=trailing,
        usage=read_usage(ours.get("usage")),
        extra=extra,
    )


def _read_action(item: dict[str, Any], where: str, text: Any) -> Said:
    kind = item["class_"]
    own = {"class_", "description", "reasoning_content", "tool_call_id"}
    call_id = item.get("tool_call_id") or ""
    calls: tuple[ToolCall, ...] = ()
    said = item.get("description") or ""
    if kind == "api_action":
        own |= {"function", "kwargs"}
        if not isinstance(item.get("function"), str) or not isinstance(item.get("kwargs"), dict):
            raise Malformed(f"{where} has no function with kwargs")
        arguments = text if isinstance(text, str) else to_text(item["kwargs"])
        calls = (ToolCall(id=_text(call_id, where), name=item["function"], arguments=arguments),)
    elif kind == "code_action":
        own |= {"language", "content"}
        code = {"code": _text(item.get("content"), where)}
        name = f"{CODE}{_text(item.get('language'), where)}"
        calls = (ToolCall(id=_text(call_id, where), name=name, arguments=to_text(code)),)
    elif kind == "message_action":
        own |= {"content"}
        said = _text(item.get("content"), where)
    else:
        raise Malformed(f"{where} is of class {kind[:40]!r}, which is not known")
    reasoning = item.get("reasoning_content")
    message = Message(
        role="assistant",
        content=_text(said, where),
        tool_calls=calls,
        reasoning=None if reasoning is None else _text(reasoning, where),
    )
    extra = {key: each for key, each in item.items() if key not in own and each is not None}
    if kind != "api_action":
        extra["class_"] = kind
    if kind == "message_action" and item.get("description"):
        extra["description"] = item["description"]
    return message, extra


def _read_observation(item: dict[str, Any], where: str, open_call: str | None) -> Said:
    kind, source = item["class_"], item.get("source")
    extra = {
        key: each for key, each in item.items() if key not in ("class_", "content", "tool_call_id", "name") and each
    }
    if kind == "web_observation":
        content = item.get("axtree") or item.get("html") or item.get("url") or ""
        extra |= {"class_": kind}
    elif kind == "text_observation":
        content = item.get("content")
    else:
        raise Malformed(f"{where} is of class {kind[:40]!r}, which is no text")
    call_id = None if item.get("tool_call_id") is None else _text(item["tool_call_id"], where)
    source = source if isinstance(source, str) else ""
    from_tool = call_id is not None or kind == "web_observation" or source not in _ROLES
    name = item.get("name")
    message = Message(
        role="tool" if from_tool else _ROLES[source],
        content=_text(content, where),
        name=None if name is None else _text(name, where),
        tool_call_id=(call_id if call_id is not None else open_call or None) if from_tool else None,
    )
    return message, extra


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Malformed(f"a text of {where} is missing")
    return value


def write(sessions: Sequence[Session], trace: Trace, ended: int) -> Iterator[dict[str, Any]]:
    """A trajectory per conversation."""
    for session in sessions:
        content: list[dict[str, Any]] = []
        ours: dict[str, Any] = {}
        joined, texts, messages, usages = [], {}, {}, []
        for place, (message, extra, usage) in enumerate(conversation(session)):
            if message.role == "assistant":
                usages.append(write_usage(usage) if usage is not None else None)
                for number, item in enumerate(_actions(message, extra)):
                    if number:
                        joined.append(len(content))
                    if "arguments" in item:
                        texts[str(len(content))] = item.pop("arguments")
                    content.append(item)
                if message.name is not None:
                    messages[str(place)] = {"name": message.name}
                continue
            content.append(_observation(message, extra))
            if message.role == "developer":
                messages[str(place)] = {"role": "developer"}
        ours |= {"joined": joined} if joined else {}
        ours |= {"arguments": texts} if texts else {}
        ours |= {"messages": messages} if messages else {}
        ours |= {"usages": usages} if any(usages) else {}
        ours |= {"tools": list(session.calls[-1].tools)} if session.calls[-1].tools else {}
        ours |= {"model": session.model} if session.model else {}
        if session.usage is not None and session.usage.tokens:
            ours["usage"] = write_usage(session.usage)
        extra = dict(session.extra)
        details = extra.pop("details", {}) | ({OURS: ours} if ours else {})
        version = extra.pop("schema_version", VERSION)
        yield {"schema_version": version, "id": session.id, "content": content, "details": details} | extra


def _actions(message: Message, extra: Extra) -> Iterator[dict[str, Any]]:
    """The actions of a message: one per tool call, else what it says."""
    own = {key: each for key, each in extra.items() if key not in ("class_", "description")}
    thought = {} if message.reasoning is None else {"reasoning_content": message.reasoning}
    if not message.tool_calls:
        said = {"description": extra["description"]} if "description" in extra else {}
        yield {"class_": "message_action", "content": message.content, **said, **thought, **own}
    for number, call in enumerate(message.tool_calls):
        before = ({"description": message.content} if message.content else {}) | thought | own if not number else {}
        link = {"tool_call_id": call.id} if call.id else {}
        value = write_arguments(call.arguments)
        if extra.get("class_") == "code_action" and isinstance(value, dict) and "code" in value:
            language = call.name.removeprefix(CODE)
            yield {"class_": "code_action", "language": language, "content": value["code"], **link, **before}
            continue
        kwargs = {"kwargs": value} if isinstance(value, dict) else {"kwargs": {}, "arguments": call.arguments}
        yield {"class_": "api_action", "function": call.name, **kwargs, **link, **before}


def _observation(message: Message, extra: Extra) -> dict[str, Any]:
    link = {"tool_call_id": message.tool_call_id} if message.tool_call_id else {}
    named = {"name": message.name} if message.name is not None else {}
    own = dict(extra)
    if own.pop("class_", "") == "web_observation":
        return {"class_": "web_observation", **link, **own}
    source = "environment" if message.role == "tool" else "system" if message.role == "developer" else message.role
    return {"class_": "text_observation", "content": message.content, "source": source, **named, **link, **own}
