"""A session of an agent, as formats give it: calls of a model, tools, and what came with them.

A session becomes a `Trace` that is verified by nothing, and a trace becomes sessions again. What a trace has no field
for (further keys of rows and messages, messages after the last call) is in its provenance, under KEY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentkd.interchange.chat import Extra, Said, to_text
from agentkd.interchange.rows import Malformed, Reject, Row
from agentkd.trace import Message, Step, ToolCall, ToolResult, Trace, Usage, Verdict

KEY = "imported"
APART = "apart"  # says of system instructions that the source has them apart from the chat
NOT_CHECKED = Verdict(ok=False, rung="none", reason="imported, and checked by nothing")


@dataclass(frozen=True)
class Call:
    """A call of a model: all messages that it was sent, and what it replied.

    `extra` are further keys of the reply, `prompt_extra` those of each message of the prompt; `about` is what the
    source says of the call as such, for instance its id and its times."""

    prompt: tuple[Message, ...]
    reply: Message
    tools: tuple[dict[str, Any], ...] = ()
    usage: Usage | None = None
    extra: Extra = field(default_factory=dict)
    prompt_extra: tuple[Extra, ...] = ()
    about: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """Calls in order, and the messages after the last one. `extra` is what the source says of the whole.

    `failed` are the ids of tool calls of which the source says that they failed, `results` what tools answered of which
    no message tells. `file` and `line` say where it begins."""

    id: str
    calls: tuple[Call, ...]
    file: Path
    line: int
    model: str = ""
    trailing: tuple[Said, ...] = ()
    usage: Usage | None = None
    extra: Extra = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    results: Mapping[str, str] = field(default_factory=dict)


def read_each(rows: Iterable[Row], make: Callable[[Row], Session], reject: Reject) -> Iterator[Session]:
    """A session per row; those that `make` finds malformed are rejected."""
    for row in rows:
        try:
            yield make(row)
        except Malformed as error:
            reject(row.file, row.line, str(error), to_text(row.value))


def make_calls(
    messages: Sequence[Said], tools: tuple[dict[str, Any], ...], usages: Sequence[Usage | None] = ()
) -> tuple[tuple[Call, ...], tuple[Said, ...]]:
    """Split a conversation into the calls that wrote it, one per message of the assistant, and the messages after them.

    `usages` are those of the assistant's messages, in order. An assistant that begins was sent nothing: its message is
    taken as part of the next prompt. Raises Malformed where no call is left."""
    calls: list[Call] = []
    waiting = iter(usages)
    for place, (message, extra) in enumerate(messages):
        if message.role != "assistant":
            continue
        usage = next(waiting, None)
        if place:
            before = messages[:place]
            prompt, extras = tuple(one for one, _ in before), tuple(one for _, one in before)
            calls.append(Call(prompt, message, tools, usage, extra, extras))
    if not calls:
        raise Malformed("no message of an assistant after another message: there is nothing to learn")
    return tuple(calls), tuple(messages[len(calls[-1].prompt) + 1 :])


def to_trace(session: Session, *, sample: int, task: str, form: str) -> Trace:
    """Make the trace of a session: a step per call, with the tools' answers as evidence. Nothing of it is verified."""
    tools: dict[str, tuple[int, dict[str, Any]]] = {}
    steps: list[Step] = []
    extras: dict[str, Extra] = {}
    so_far: tuple[Message, ...] = ()
    place = 0
    for number, call in enumerate(session.calls):
        follows = bool(steps) and continues(call.prompt, so_far)
        new = call.prompt[len(so_far) :] if follows else call.prompt
        extra_new = call.prompt_extra[len(call.prompt) - len(new) :] if call.prompt_extra else ()
        for offset, extra in enumerate(extra_new):
            if extra:
                extras[str(place + offset)] = extra
        place += len(new)
        rest: Extra = {"name": call.reply.name} if call.reply.name is not None else {}
        rest |= {"call": call.about} if call.about else {}
        if told := call.extra | rest:
            extras[str(place)] = told
        place += 1
        for tool in call.tools:
            tools.setdefault(repr(tool), (len(tools), tool))
        heard = session.calls[number + 1].prompt if number + 1 < len(session.calls) else ()
        after = heard[len(call.prompt) :] if heard else tuple(message for message, _ in session.trailing)
        steps.append(
            Step(
                kind="call",
                messages=new,
                output=call.reply.content,
                tool_calls=call.reply.tool_calls,
                reasoning=call.reply.reasoning,
                tools=tuple(tools[repr(tool)][0] for tool in call.tools),
                usage=call.usage,
                follows=follows,
                evidence=tuple(find_results(call.reply.tool_calls, after, session)),
            )
        )
        so_far = (*call.prompt, call.reply)
    for offset, (_, extra) in enumerate(session.trailing):
        if extra:
            extras[str(place + offset)] = extra
    usages = [call.usage for call in session.calls if call.usage is not None]
    usage = session.usage or Usage.total(usages)
    last = session.calls[-1].reply
    first = session.calls[0].prompt
    question = next((message.content for message in first if message.role == "user"), first[0].content if first else "")
    kept: dict[str, Any] = {"format": form, "file": session.file.name, "line": session.line}
    kept |= {"extra": session.extra} if session.extra else {}
    kept |= {"messages": extras} if extras else {}
    if session.trailing:
        kept["trailing"] = [message.model_dump() for message, _ in session.trailing]
    return Trace.close(
        id=session.id,
        sample=sample,
        task=task,
        question=question,
        steps=tuple(steps),
        answers=(last.content,) if last.content.strip() and not last.tool_calls else (),
        usage=usage.model_copy(update={"calls": max(usage.calls, len(session.calls))}),
        verified=False,
        verdict=NOT_CHECKED,
        teacher=session.model or "imported",
        provenance={KEY: kept},
        tools=tuple(tool for _, tool in tools.values()),
    )


def continues(prompt: Sequence[Message], so_far: Sequence[Message]) -> bool:
    """Whether a prompt begins with what was said so far. Past reasoning is often not sent again: it may be missing."""
    return len(prompt) >= len(so_far) and all(map(_is_same, prompt, so_far))


def _is_same(one: Message, other: Message) -> bool:
    if one is other or one == other:
        return True
    return one.reasoning is None and one == other.model_copy(update={"reasoning": None, "name": one.name})


def find_results(calls: Sequence[ToolCall], after: Sequence[Message], session: Session) -> Iterator[ToolResult]:
    """The tools' answers to a call, from the messages after it: by the id of the call, else in order."""
    told: dict[str, str] = {}
    nameless: list[str] = []
    for message in after:
        if message.role == "assistant" and told:
            break
        if message.role == "tool" and message.tool_call_id:
            told.setdefault(message.tool_call_id, message.content)
        elif message.role == "tool":
            nameless.append(message.content)
    for call in calls:
        result = told.get(call.id) if call.id else nameless.pop(0) if nameless else None
        result = session.results.get(call.id) if result is None and call.id else result
        if result is not None:
            yield ToolResult(
                name=call.name, arguments=call.arguments, result=result, ok=call.id not in session.failed, id=call.id
            )


def to_sessions(trace: Trace, file: Path) -> list[Session]:
    """The sessions of a trace: one, or one for each conversation that does not go on with the one before.

    An agent that asks its model anew at each step has several; the second is called ID#2."""
    kept = trace.provenance.get(KEY)
    kept = kept if isinstance(kept, dict) else {}
    extras, place = kept.get("messages") or {}, 0
    found: list[list[Call]] = []
    so_far: tuple[Message, ...] = ()
    so_extra: tuple[Extra, ...] = ()
    failed = set()
    for step, prompt in zip(trace.steps, trace.prompts(), strict=True):
        if not prompt:
            continue
        follows = step.follows or (bool(found) and len(prompt) > len(so_far) and continues(prompt, so_far))
        own = tuple(extras.get(str(place + offset)) or {} for offset in range(len(step.messages)))
        place += len(step.messages)
        extra = dict(extras.get(str(place)) or {})
        place += 1
        before = so_extra if follows else ()
        kept_extra = (*before, *own)[: len(prompt)] if step.follows else own
        reply = step.reply.model_copy(update={"name": extra.pop("name")}) if "name" in extra else step.reply
        about = extra.pop("call", {})
        call = Call(prompt, reply, tuple(trace.tools_of(step)), step.usage, extra, kept_extra, about)
        if follows and found:
            found[-1].append(call)
        else:
            found.append([call])
        so_far, so_extra = (*prompt, step.reply), (*kept_extra, extra)
        failed |= {item.id for item in step.evidence if isinstance(item, ToolResult) and not item.ok and item.id}
    trailing = tuple(
        (Message.model_validate(value), extras.get(str(place + offset)) or {})
        for offset, value in enumerate(kept.get("trailing") or ())
    )
    model = "" if trace.teacher == "imported" else trace.teacher
    sessions = [
        Session(
            id=trace.id if not number else f"{trace.id}#{number + 1}",
            calls=tuple(calls),
            file=file,
            line=0,
            model=model,
            extra=kept.get("extra") or {},
            failed=frozenset(failed),
        )
        for number, calls in enumerate(found)
    ]
    if sessions:
        sessions[-1] = replace(sessions[-1], trailing=trailing)
    if len(sessions) == 1:
        sessions[0] = replace(sessions[0], usage=trace.usage)
    return sessions


def conversation(session: Session) -> list[tuple[Message, Extra, Usage | None]]:
    """All messages of a session that is one conversation, each with its further keys; the replies with their usage."""
    last = session.calls[-1]
    replies = {len(call.prompt): call for call in session.calls}
    found: list[tuple[Message, Extra, Usage | None]] = []
    for place, (message, extra) in enumerate([*pair_extras(last), (last.reply, last.extra)]):
        call = replies.get(place)
        own = call.extra if call else {key: value for key, value in extra.items() if key != APART}
        found.append((call.reply if call else message, own, call.usage if call else None))
    return [*found, *((message, extra, None) for message, extra in session.trailing)]


def pair_extras(call: Call) -> list[Said]:
    """The messages of a prompt, each with its further keys."""
    padded = (*call.prompt_extra, *({},) * (len(call.prompt) - len(call.prompt_extra)))
    return list(zip(call.prompt, padded, strict=True))
