"""`paraphrase=`: each example once more, its question in other words.

`hard` is HARD for texts (Nix, Burg and Sinz 2023, arXiv 2305.14890; `methods/hard.py`): of an example's paraphrases it
takes the one on which teacher and student disagree most while the teacher keeps its answer,

    KL(teacher || student) of the paraphrase - KEEP x KL(teacher of the question || teacher of the paraphrase),

means over the target's tokens, before training. Departures: paraphrases are given instead of made by a trained
augmentor, and are chosen once. `random` takes any of them: its control. Paraphrases are those of a file, or frames that
go around any question. An evaluation's question is never one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from agentkd.config import DistillConfig
from agentkd.distill.data.dataset import Dataset
from agentkd.distill.data.forms import FORMS, Example
from agentkd.distill.data.teacher_scores import load_teacher
from agentkd.distill.data.tokens import IGNORED, Row, pad_rows, tokenise
from agentkd.distill.resolve import Stage
from agentkd.distill.student import find_model, load_model, open_student
from agentkd.errors import UserError, near_file
from agentkd.inference.head import Head
from agentkd.matching import strict_key
from agentkd.runs.disk import hash_file, write_atomically
from agentkd.runs.progress import Progress, say
from agentkd.runs.read import read_traces
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_file_lines, read_small
from agentkd.tasks.decontaminate import make_evaluation_check
from agentkd.trace import Trace, Usage

if TYPE_CHECKING:
    from torch import Tensor

FRAMES = Path(__file__).parents[2] / "data/frames.jsonl"
FILE = "paraphrases.json"
KEEP = 1.0  # how much a change of the teacher's answer counts against a paraphrase
Reword = Callable[[str], Sequence[str]]


def hash_paraphrases(config: DistillConfig) -> str:
    """The hash of the file of paraphrases or frames. Raises UserError where it is missing."""
    return hash_file(find_file(config))


def find_file(config: DistillConfig) -> Path:
    """The file of paraphrases, or that of frames. Raises UserError where it is missing."""
    path = Path(config.paraphrases).expanduser() if config.paraphrases else FRAMES
    if not path.is_file():
        raise UserError(f"no such file: {path}{near_file(path)}; give paraphrases=FILE of JSON lines")
    return path


def read_paraphrases(config: DistillConfig) -> Reword:
    """What gives a question's paraphrases. Raises UserError for a line that is none."""
    path = find_file(config)
    if path == FRAMES:
        frames = [json.loads(line)["frame"] for line in path.read_text().splitlines()]
        return lambda question: [frame.replace("{question}", question) for frame in frames]
    table: dict[str, dict[str, None]] = {}
    for number, line in enumerate(read_file_lines(path), 1):
        try:
            row = parse_json(line)
            pair = [row[name] for name in ("question", "paraphrase")]
        except (ValueError, KeyError, TypeError):
            pair = []
        if not pair or not all(isinstance(text, str) and text.strip() for text in pair):
            raise UserError(f'{path}:{number} has no "question" and "paraphrase" with texts: mend or remove the line')
        table.setdefault(strict_key(pair[0]), {})[pair[1].strip()] = None
    return lambda question: list(table.get(strict_key(question), ()))


def reword_examples(stage: Stage, dataset: Dataset) -> tuple[list[list[Example]], Counter[str]]:
    """The paraphrases of each example, in its form, and what was left out of them by reason."""
    reword, is_held_out = read_paraphrases(stage.config), make_evaluation_check(stage.source)
    wanted = {example.trace for example in dataset.examples}
    prompts: dict[str, list[str | tuple[Any, ...]]] = {}
    left_out: Counter[str] = Counter()
    for trace in read_traces(stage.traces):
        if trace.hash in wanted:
            found = [trace.model_copy(update={"question": text}) for text in reword(trace.question)]
            new = [each for each in found if strict_key(each.question) != strict_key(trace.question)]
            kept = [each for each in new if not is_held_out(each)]
            left_out += Counter(
                {"the question itself": len(found) - len(new), "asked at evaluation": len(new) - len(kept)}
            )
            prompts[trace.hash] = [prompt for each in kept if (prompt := make_prompt(each, dataset.form))]
    candidates = [
        [example.model_copy(update={"prompt": prompt}) for prompt in dict.fromkeys(prompts.get(example.trace, ()))
         if prompt != example.prompt]
        for example in dataset.examples
    ]  # fmt: skip
    if not any(candidates):
        source = stage.config.paraphrases or "the frames"
        raise UserError(
            f"{source} has a paraphrase for none of {len(candidates)} examples: give their questions' own texts"
        )
    return candidates, left_out


def make_prompt(trace: Trace, form: str) -> str | tuple[Any, ...] | None:
    """What a student reads of a trace."""
    taken = trace if trace.verified else trace.model_copy(update={"verified": True})
    examples = FORMS[form](taken)
    return examples[0].prompt if examples else None


def expect_paraphrases(stage: Stage, dataset: Dataset) -> Dataset:
    """The dataset with any paraphrase of each example, as long as those that will be chosen: for plans and checks."""
    if not stage.config.paraphrase:
        return dataset
    candidates, _ = reword_examples(stage, dataset)
    longest = [max(some, key=lambda each: len(str(each.prompt))) for some in candidates if some]
    return replace(dataset, examples=[*dataset.examples, *longest])


def add_paraphrases(stage: Stage, dataset: Dataset) -> Dataset:
    """The dataset with one paraphrase of each example that has any. The choice is kept in the student's folder."""
    candidates, left_out = reword_examples(stage, dataset)
    file = stage.out / FILE
    if not file.exists():
        choose = choose_hard if stage.config.paraphrase == "hard" else choose_random
        write_atomically(file, json.dumps(choose(stage, dataset.examples, candidates)) + "\n")
    places = parse_json(read_small(file, METRICS_BYTES))
    sound = isinstance(places, list) and all(isinstance(place, int) for place in places)
    if not sound or len(places) != len(candidates):
        raise UserError(f"{file} is damaged: remove it, then paraphrases are chosen anew")
    chosen = [some[place % len(some)] for some, place in zip(candidates, places, strict=True) if some]
    counts = {"left out as " + reason: count for reason, count in left_out.items() if count}
    counts |= {"examples without": len(candidates) - len(chosen)} if len(chosen) < len(candidates) else {}
    rest = "".join(f", {count} {what}" for what, count in counts.items())
    say(f"paraphrases ({stage.config.paraphrase}): {len(chosen)} of {sum(map(len, candidates))}, one an example{rest}")
    return replace(dataset, examples=[*dataset.examples, *chosen])


def choose_random(stage: Stage, examples: Sequence[Example], candidates: Sequence[Sequence[Example]]) -> list[int]:
    """A place for each example, drawn by the seed; 0 where there is nothing to choose."""
    rng = Random(f"{stage.config.seed} paraphrases")
    return [rng.randrange(len(some)) if some else 0 for some in candidates]


def choose_hard(stage: Stage, examples: Sequence[Example], candidates: Sequence[Sequence[Example]]) -> list[int]:
    """The place of the paraphrase on which teacher and student disagree most, for each example.

    Both models are in memory."""
    student = open_student(stage.student, trust=stage.config.trust_remote_code)
    own = load_model(student, stage.config.layers).eval()
    teacher = load_teacher(find_model(stage.teachers[0], trust=stage.config.trust_remote_code))
    own = own.to(teacher.device)
    heads = Head.of(own), Head.of(teacher)
    places: list[int] = []
    with Progress("paraphrases", total=len(examples), unit="") as progress:
        for example, some in zip(examples, candidates, strict=True):
            rows = [tokenise(each, student.tokenizer) for each in (example, *some)]
            losses = compare_models((own, teacher), heads, rows, len(student.tokenizer)) if some else [0.0]
            places.append(losses.index(min(losses)))
            progress.advance(Usage(prompt_tokens=sum(len(row["input_ids"]) for row in rows)), good=True)
    return places


def compare_models(models: tuple[Any, Any], heads: tuple[Head, Head], rows: Sequence[Row], tokens: int) -> list[float]:
    """HARD's loss of an augmentor for each row but the first, which is the example itself: the lower, the harder.

    `models` and `heads` are those of student and teacher; `tokens` the size of the vocabulary that they share."""
    import torch

    from agentkd.methods.hard import augmentor_loss

    with torch.inference_mode():
        batch = {name: value.to(models[1].device) for name, value in pad_rows(rows, 0).items()}
        labels = batch.pop("labels")[:, 1:]
        states = [head.states(model, **batch)[:, :-1] for model, head in zip(models, heads, strict=True)]

        def logits(which: int, row: int) -> Tensor:
            learned = labels[row] != IGNORED
            return heads[which].logits(states[which][row][learned])[:, :tokens]

        clean = logits(1, 0)
        return [float(augmentor_loss(logits(0, row), logits(1, row), clean, keep=KEEP)) for row in range(1, len(rows))]
