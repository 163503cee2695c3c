"""Verified traces into training examples: deduplicated, decontaminated, counted, hashed and saved.

Nothing is cut silently: what cannot be used is left out and counted by reason.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkd.agents.survey import followed_label, trace_reward
from agentkd.distill.data.forms import FORMS, Example
from agentkd.distill.resolve import Stage
from agentkd.doubts.review import make_trust_check
from agentkd.errors import UserError
from agentkd.matching import strict_key
from agentkd.proof import Proof
from agentkd.runs.disk import write_atomically
from agentkd.runs.read import read_traces
from agentkd.tasks.decontaminate import make_evaluation_check
from agentkd.trace import Message, Trace, content_hash


@dataclass
class Dataset:
    """Training examples, the number of traces left out by reason, and the examples whose loss is measured instead."""

    form: str
    examples: list[Example] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    held_out: list[Example] = field(default_factory=list)

    @property
    def hash(self) -> str:
        return content_hash([example.model_dump(mode="json") for example in self.examples])

    @property
    def traces(self) -> int:
        return len({example.trace for example in self.examples})

    def limited(self, limit: int | None, seed: int) -> Dataset:
        """The examples of at most `limit` traces. Each target in turn gives one trace, so that common relation paths do
        not crowd out rare ones; within a target the order is drawn by `seed`."""
        if limit is None or self.traces <= limit:
            return self
        rng = random.Random(seed)
        queues: dict[str, list[str]] = defaultdict(list)
        for example in {example.trace: example for example in reversed(self.examples)}.values():
            queues[example.target].append(example.trace)
        for queue in queues.values():
            rng.shuffle(queue)
        turns = [(place, rng.random(), trace) for queue in queues.values() for place, trace in enumerate(queue)]
        kept = {trace for _, _, trace in sorted(turns)[:limit]}
        examples = [example for example in self.examples if example.trace in kept]
        left_out = self.left_out + Counter({"over the limit": self.traces - limit})
        return Dataset(self.form, examples, left_out)

    def shuffled(self, seed: int) -> Dataset:
        """A control: every prompt gets the target of another example, so that the tokens are the same but no evidence
        belongs to its question."""
        rng = random.Random(seed)
        order = list(range(len(self.examples)))
        rng.shuffle(order)
        pairs = zip(self.examples, order, strict=True)
        parts = ("target", "turn")
        mixed = [
            one.model_copy(update={name: getattr(self.examples[other], name) for name in parts}) for one, other in pairs
        ]
        return Dataset(self.form, mixed, self.left_out, self.held_out)

    def split(self, fraction: float | None, seed: int) -> Dataset:
        """Hold out a share of the questions, drawn by `seed`, at least one. Raises UserError where none would be left
        to learn from."""
        if fraction is None:
            return self
        questions = sorted({example.id for example in self.examples})
        count = max(1, round(fraction * len(questions)))
        if count == len(questions):
            raise UserError(f"eval_fraction={fraction} leaves nothing of {len(questions)} question to learn from")
        out = set(random.Random(seed).sample(questions, count))
        kept = [example for example in self.examples if example.id not in out]
        return Dataset(self.form, kept, self.left_out, [one for one in self.examples if one.id in out])

    def save(self, folder: Path) -> None:
        """Write `dataset/`, which the `datasets` library reads (`load_from_disk`), and `dataset.jsonl`, in the forms
        that TRL takes: `messages`, or `prompt` and `completion`, and `rejected`."""
        from datasets import Dataset as Table

        rows = [trl_row(example) for example in self.examples]
        write_atomically(folder / "dataset.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
        if self.held_out:
            lines = (json.dumps(trl_row(example), ensure_ascii=False) + "\n" for example in self.held_out)
            write_atomically(folder / "held_out.jsonl", "".join(lines))
        Table.from_list(rows).save_to_disk(str(folder / "dataset"))


def trl_row(example: Example) -> dict[str, Any]:
    """Write an example in TRL's conversational or prompt-completion form."""
    origin = {"id": example.id, "trace": example.trace, "rejected": list(example.rejected)}
    if isinstance(example.prompt, str):
        return {"prompt": example.prompt, "completion": example.target_text, **origin}
    row = {"messages": [trl_message(turn) for turn in [*example.prompt, example.reply]], **origin}
    if example.tools:  # as text, which TRL reads, too: a table would merge the schemas into one with the fields of all
        row["tools"] = json.dumps(example.tools, ensure_ascii=False)
    return row | ({"given": example.given} if example.given else {})


def trl_message(message: Message) -> dict[str, Any]:
    """Write a message as OpenAI and TRL have it."""
    row: dict[str, Any] = message.model_dump(exclude={"tool_calls", "reasoning"})
    if message.tool_calls:
        row["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return row | ({"reasoning_content": message.reasoning} if message.reasoning else {})


def build_dataset(
    traces: Iterable[Trace],
    form: str = "path",
    *,
    rationalised: bool = True,
    second_choice: bool = True,
    verified: bool = True,
    refused_by: Callable[[Trace], str] = lambda trace: "",
    held_out: Callable[[Trace], bool] = lambda trace: False,
) -> Dataset:
    """Build the examples of each question's best trace: verified, and of the highest reward. `verified=False` is a
    control that takes each question's first trace, proven or not.

    Left out are traces that are not verified, those that `refused_by` gives a reason against, repeats of a question's
    text, questions for which `held_out` is true (they are in an evaluation split), and traces whose proven path is not
    among the surveyed ones."""
    dataset = Dataset(form)
    found = list(traces)
    refused = rejected_labels(found)
    seen: set[str] = set()
    order = (lambda t: (-trace_reward(t), t.sample, t.id)) if verified else (lambda t: (t.sample, t.id))
    for trace in sorted(found, key=order):
        if verified and not trace.verified:
            dataset.left_out["not verified"] += 1
            continue
        if Proof.of(trace).rationalised and not rationalised:
            dataset.left_out["rationalised"] += 1
            continue
        if Proof.of(trace).second_choice and not second_choice:
            dataset.left_out["second choice"] += 1
            continue
        if verified and (reason := refused_by(trace)):
            dataset.left_out[reason] += 1
            continue
        if held_out(trace):
            dataset.left_out["asked at evaluation"] += 1
            continue
        if (text := strict_key(trace.question)) in seen:
            dataset.left_out["question seen before"] += 1
            continue
        # For the control, every trace counts as verified.
        taken = trace if trace.verified else trace.model_copy(update={"verified": True})
        if not (examples := FORMS[form](taken)):
            dataset.left_out["no model call" if form == "agent" else "path not in the survey"] += 1
            continue
        seen.add(text)
        wrong = tuple(label for label in refused[trace.id] if label not in {each.target for each in examples})
        dataset.examples += [
            each.model_copy(update={"rejected": wrong}) if form == "path" else each for each in examples
        ]
    dataset.examples.sort(key=lambda example: (example.id, example.target))
    return dataset


def rejected_labels(traces: Sequence[Trace]) -> dict[str, list[str]]:
    """For each question, the labels of the paths that were followed and refused: proven by no trace, and without a
    correct answer where gold is known. They are in the order of their samples, which is the retriever's ranking."""
    labels: dict[str, dict[str, float]] = defaultdict(dict)
    for trace in sorted(traces, key=lambda trace: trace.sample):
        if (label := followed_label(trace)) is not None:
            labels[trace.id][label] = max(
                labels[trace.id].get(label, 0.0), trace_reward(trace) or float(trace.verified)
            )
    worthless = {id: [label for label, worth in found.items() if not worth] for id, found in labels.items()}
    return defaultdict(list, worthless)


def load_training_set(stage: Stage) -> Dataset:
    """The examples that a stage learns from: of its traces and form, limited, and shuffled for the control."""
    config = stage.config
    dataset = load_dataset(
        stage.traces,
        config.form or "path",
        rationalised=config.rationalised,
        second_choice=config.second_choice,
        verified=config.control != "unverified",
        refused_by=make_trust_check(stage.traces, doubtful=config.doubtful),
        held_out=make_evaluation_check(stage.source),
    ).limited(config.limit, config.seed)
    dataset = dataset.split(config.eval_fraction, config.seed)
    return dataset.shuffled(config.seed) if config.control == "shuffled" else dataset


def load_dataset(path: Path, form: str = "path", **options: Any) -> Dataset:
    """The dataset of a run directory; options as for `build_dataset`. Raises UserError if there is nothing to learn."""
    dataset = build_dataset(read_traces(path), form, **options)
    if not dataset.examples:
        total = sum(dataset.left_out.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items()) or "it is empty"
        raise UserError(
            f"nothing to learn from in {path}: {total} traces, {reasons}; "
            f"generate more questions (limit=…) or samples (samples=…)"
            + (f", or look at the doubtful ones: agentkd review {path}" if "doubtful" in reasons else "")
        )
    return dataset
