"""Conversations as token ids, through the student's own chat template: tools and tool calls as it writes them.

A learned turn is the part of the whole text that the template adds for it, up to the end token. So it holds the calls
in the student's own form, and a served student writes what its server's parser reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from agentkd.distill.data.forms import Example
from agentkd.distill.data.tokens import Row, join_parts, target_tokens
from agentkd.errors import UserError
from agentkd.inference.in_process import apply_template
from agentkd.runs.progress import say
from agentkd.trace import Message, ToolCall

KNOWN = "Qwen3, Llama 3.1 and SmolLM3 have such"


class Unfit(ValueError):
    """A conversation that the template cannot write; the text is the reason."""


class Rewritten(ValueError):
    """The template writes earlier turns otherwise once others follow."""


def tokenise_conversation(example: Example, tokenizer: Any) -> Row:
    """Tokenise a conversation as the student will meet it. Raises Unfit or Rewritten for one that is not one row."""
    messages, written, parts = [*example.prompt, example.reply], "", []
    for place, message in enumerate(messages):
        if message.role != "assistant" or place < example.given:
            continue
        before = render(tokenizer, messages[:place], example, open_turn=True)
        whole = render(tokenizer, messages[: place + 1], example, open_turn=False)
        if not before.startswith(written):
            raise Rewritten
        if not whole.startswith(before):
            raise Unfit("the template asks for an answer in another form than it writes one")
        turn, end, _ = whole[len(before) :].rpartition(tokenizer.eos_token)
        turn = turn if end else whole[len(before) :].rstrip()
        lost = [call.name for call in message.tool_calls if call.name not in turn]
        if lost or (message.content.strip() and message.content.strip() not in turn):
            raise Unfit(f"the template leaves out {f'a call of {lost[0]}' if lost else 'what was said beside a call'}")
        between = tokenizer(before[len(written) :], add_special_tokens=False)["input_ids"]
        learned = tokenizer(turn, add_special_tokens=False)["input_ids"]
        parts.append((list(between), [*learned, tokenizer.eos_token_id]))
        written = before + turn + end
    return join_parts(parts)


def render(tokenizer: Any, messages: Sequence[Message], example: Example, *, open_turn: bool) -> str:
    """A conversation's text. Raises Unfit for what the template refuses, and for calls that no template can write."""
    for call in (call for message in messages for call in message.tool_calls):
        if not isinstance(call.values, dict):
            raise Unfit("the arguments of a tool call are no JSON object")
    try:
        return apply_template(tokenizer, messages, tools=list(example.tools) or None, add_generation_prompt=open_turn)
    except UserError as error:
        raise Unfit(str(error)) from None


def split_turns(example: Example) -> Iterator[Example]:
    """An example for each turn that is learned: what was said before it is given."""
    messages = [*example.prompt, example.reply]
    for place, message in enumerate(messages):
        if message.role == "assistant" and place >= example.given:
            yield example.model_copy(
                update={
                    "prompt": tuple(messages[:place]),
                    "target": message.content,
                    "turn": message,
                    "given": place,
                }
            )


def fit_conversations(examples: Sequence[Example], tokenizer: Any) -> list[tuple[Example, Row]]:
    """The conversations that a student can learn, each with its tokens.

    Where its template writes earlier turns otherwise once others follow, each turn is a row of its own. What the
    template cannot write is left out, and counted. Raises UserError for a template that cannot write tools at all."""
    if any(uses_tools(example) for example in examples):
        check_tools(tokenizer)
    found: list[tuple[Example, Row]] = []
    reasons: Counter[str] = Counter()
    split = 0
    for example in examples:
        try:
            try:
                found.append((example, tokenise_conversation(example, tokenizer)))
            except Rewritten:
                turns = [(turn, tokenise_conversation(turn, tokenizer)) for turn in split_turns(example)]
                found += turns
                split += 1
        except Unfit as error:
            reasons[str(error)] += 1
    if split:
        say(f"the chat template writes earlier turns otherwise: in {split} conversations each turn is a row of its own")
    for reason, count in reasons.most_common():
        say(f"{count} conversations are left out: {reason}")
    if not found:
        raise UserError(f"the student can learn none of {len(examples)} conversations: {reasons.most_common(1)[0][0]}")
    if silent := count_silent(found, tokenizer):
        say(f"{silent} turns have thoughts that the student's chat template leaves out: they are not learned")
    return found


def uses_tools(example: Example) -> bool:
    """Whether a conversation offers tools, calls them, or tells what they gave."""
    said = [] if isinstance(example.prompt, str) else [*example.prompt, example.reply]
    return bool(example.tools) or any(message.tool_calls or message.role == "tool" for message in said)


def check_tools(tokenizer: Any) -> None:
    """Raise UserError, in one line, for a template that leaves out tools, calls or results, or refuses them."""
    tool = {"name": "look_up", "description": "Probe of a schema.", "parameters": {"type": "object", "properties": {}}}
    asked = Message(role="user", content="Where?")
    call = ToolCall(id="call_1234", name="look_up", arguments='{"word": "probe of a call"}')
    called = Message(role="assistant", tool_calls=(call,))
    told = Message(role="tool", content="probe of a result", name="look_up", tool_call_id=call.id)
    said = Message(role="assistant", content="There.")
    tools = ({"type": "function", "function": tool},)
    example = Example(id="", trace="", prompt=(asked, called, told), target="There.", turn=said, tools=tools, given=1)
    try:
        text = render(tokenizer, [asked, called, told], example, open_turn=True)
    except Unfit as error:
        raise UserError(f"the traces have tools, and {error}") from None
    parts = {"Probe of a schema.": "schemas", "probe of a call": "calls", "probe of a result": "results"}
    if lost := [name for probe, name in parts.items() if probe not in text]:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} leaves out the {' and '.join(lost)} of tools: choose a "
            f"student whose template writes them ({KNOWN})"
        )


def count_silent(found: Sequence[tuple[Example, Row]], tokenizer: Any) -> int:
    """The number of learned turns with thoughts that are not in their tokens."""
    silent = 0
    for example, row in found:
        turns = [*example.prompt[example.given :], example.reply]
        thoughts = [turn.reasoning.strip() for turn in turns if turn.role == "assistant" and turn.reasoning]
        if thoughts:
            text = tokenizer.decode(target_tokens(row))
            silent += sum(thought not in text for thought in thoughts)
    return silent
