"""Examples as token ids: prompts that are given, targets that are learned, and padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agentkd.distill.data.forms import Example
from agentkd.distill.student import Model, Student
from agentkd.errors import UserError
from agentkd.trace import Message

IGNORED = -100  # the label of a token that is not learned
PRIVATE = "private"  # the column of seeds of noise, one a token, 0 where it is not private; only with privacy=swing

Row = dict[str, list[int]]
"""`input_ids` and `labels` of one example; a label is the token itself, or IGNORED."""


class Inputs(NamedTuple):
    """The rows that a method's trainer is fed, and how many tokens each brings into memory."""

    rows: list[dict[str, Any]]
    tokens: list[int]


class TrainingData(NamedTuple):
    """Everything a stage trains on, checked before the first byte is written: the student, its teachers, the examples
    that it can read, their token ids, what the method's trainer is fed, what of them was found private, and the token
    ids of held-out examples."""

    student: Student
    teachers: tuple[Model, ...]
    examples: list[Example]
    rows: list[Row]
    inputs: Inputs
    private: dict[str, Any] | None = None
    held_out: Sequence[Row] = ()


def tokenise(example: Example, tokenizer: Any) -> Row:
    """Tokenise one example as the student will meet it.

    Prompt and target are tokenised separately and joined, as they will be at generation, and the target ends with the
    end-of-turn token, so that the student learns to stop. Raises UserError for a chat without a template."""
    from agentkd.inference.in_process import continuation_ids, format_chat

    if isinstance(example.prompt, str):
        prompt = list(tokenizer(example.prompt, add_special_tokens=False)["input_ids"])
        return join_parts([(prompt, continuation_ids(tokenizer, example.target))])
    if tokenizer.chat_template is None:
        raise UserError("the student has no chat template: choose an instruction-tuned model, or form=path")
    parts, written = [], ""
    for place, message in enumerate([*example.prompt, Message(role="assistant", content=example.target)]):
        if message.role != "assistant":
            continue
        text = format_chat(tokenizer, example.prompt[:place])
        if not text.startswith(written):
            raise UserError("the student's chat template rewrites earlier turns: choose form=path or form=one-call")
        between = tokenizer(text[len(written) :], add_special_tokens=False)["input_ids"]
        turn = tokenizer(message.content, add_special_tokens=False)["input_ids"]
        parts.append((list(between), [*turn, tokenizer.eos_token_id]))
        written = text + message.content + tokenizer.eos_token
    return join_parts(parts)


def join_parts(parts: Sequence[tuple[list[int], list[int]]]) -> Row:
    """Join pairs of (given, learned) tokens into one row."""
    ids = [token for given, learned in parts for token in given + learned]
    labels = [label for given, learned in parts for label in [IGNORED] * len(given) + learned]
    return {"input_ids": ids, "labels": labels}


def target_tokens(row: Row) -> list[int]:
    """The tokens of a row that are learned, the end of turn included."""
    return [label for label in row["labels"] if label != IGNORED]


def pad_rows(rows: Sequence[Row], pad: int) -> dict[str, Any]:
    """Stack rows into `input_ids`, `labels` and `attention_mask` [B, L], padded on the right."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)

    def stack(name: str, filler: int) -> Any:
        return torch.tensor([row[name] + [filler] * (longest - len(row[name])) for row in rows])

    mask = torch.tensor([[int(n < len(row["input_ids"])) for n in range(longest)] for row in rows])
    return {"input_ids": stack("input_ids", pad), "labels": stack("labels", IGNORED), "attention_mask": mask}
