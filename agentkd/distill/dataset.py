"""Verified traces into training examples of the one-call form.

A trace is enough: the prompt is made from its survey (what retrieval found for the whole question), the target from
the proven path and its answers. Nothing is cut silently: what cannot be used is left out and counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkd.agents.base import proven_label, reward, surveyed
from agentkd.agents.one_call import prompt, target
from agentkd.errors import UserError
from agentkd.matching import normalize
from agentkd.store import read_traces
from agentkd.trace import Frozen, Message, Trace, content_hash

IGNORED = -100  # the label of a token that is not to be learned


class Example(Frozen):
    """A chat prompt and what the student is to write, with the hash of the trace it comes from."""

    id: str
    messages: tuple[Message, ...]
    target: str
    trace: str


@dataclass
class Dataset:
    """Examples, and how many traces were left out for which reason."""

    examples: list[Example] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def hash(self) -> str:
        return content_hash([example.model_dump(mode="json") for example in self.examples])


def build(traces: Iterable[Trace], *, rationalised: bool = True) -> Dataset:
    """One example for each question that has a verified trace; of several samples the one of the highest reward.

    Left out: traces that are not verified, repeats of a question's text, and traces whose proven path is not among
    the surveyed ones (the student could not have read it off its prompt)."""
    dataset = Dataset()
    seen: set[str] = set()
    for trace in sorted(traces, key=lambda trace: (-reward(trace), trace.sample, trace.id)):
        if not trace.verified:
            dataset.left_out["not verified"] += 1
            continue
        if trace.provenance.get("rationalised") and not rationalised:
            dataset.left_out["rationalised"] += 1
            continue
        if (text := normalize(trace.question)) in seen:
            dataset.left_out["question seen before"] += 1
            continue
        example = one_call_example(trace)
        if example is None:
            dataset.left_out["path not in the survey"] += 1
            continue
        seen.add(text)
        dataset.examples.append(example)
    dataset.examples.sort(key=lambda example: example.id)
    return dataset


def one_call_example(trace: Trace) -> Example | None:
    """The one-call form of a trace, or None if its survey does not show the proven path."""
    survey, label = surveyed(trace), proven_label(trace)
    if survey is None or label is None:
        return None
    messages = tuple(prompt(trace.question, survey))
    return Example(id=trace.id, messages=messages, target=target(label, trace.answers), trace=trace.hash)


def load(path: Path, *, rationalised: bool = True) -> Dataset:
    """The dataset of a run directory. Raises UserError where nothing in it can be learned from."""
    dataset = build(read_traces(path), rationalised=rationalised)
    if not dataset.examples:
        total = sum(dataset.left_out.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items()) or "it is empty"
        raise UserError(
            f"nothing to learn from in {path}: {total} traces, {reasons}; "
            f"generate more questions (limit=…) or samples (samples=…)"
        )
    return dataset


def tokenise(example: Example, tokenizer: Any) -> dict[str, list[int]]:
    """`input_ids` and `labels` (-100 on the prompt) for one example, in the student's own chat template.

    Prompt and target are tokenised apart and joined, as they will be at generation, and the target ends with the
    end-of-turn token, so that the student learns to stop."""
    from agentkd.inprocess import chat_text

    prompt_ids = tokenizer(chat_text(tokenizer, example.messages), add_special_tokens=False)["input_ids"]
    target_ids = tokenizer(example.target, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return {"input_ids": prompt_ids + target_ids, "labels": [IGNORED] * len(prompt_ids) + target_ids}
