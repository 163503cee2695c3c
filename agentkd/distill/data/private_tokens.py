"""`--privacy`: which tokens of the targets are private, counted, and marked in the rows.

A private token is softened (`swing`: its row gets seeds of noise, and the scoring pass applies `methods/swing.py`) or
not learned at all (`mask`: its label is ignored). Prompts are read and never learned, so only targets are searched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.config import DistillConfig
from agentkd.distill.data.forms import Example
from agentkd.distill.data.person_names import find_names_with
from agentkd.distill.data.tokens import IGNORED, PRIVATE, Row
from agentkd.errors import UserError
from agentkd.inference.in_process import identify_weights
from agentkd.methods.private_text import Passage, find_private
from agentkd.models import find_weights
from agentkd.runs.progress import say
from agentkd.trace import content_hash

LIST_BYTES = 10_000_000

Span = tuple[int, int]


class Marked(NamedTuple):
    """Rows whose private tokens are marked, and what was found, for metrics.json and the card."""

    rows: list[Row]
    found: dict[str, Any]


def mark_private(examples: Sequence[Example], rows: Sequence[Row], tokenizer: Any, config: DistillConfig) -> Marked:
    """Find the private passages of all targets, say how many there are, and mark their tokens.

    Raises UserError for a list or a model of names that cannot be read, for a tokenizer that does not tell where its
    tokens stand, and where nothing is left to learn."""
    if not tokenizer.is_fast:
        raise UserError(f"--privacy needs to know where tokens stand, and {type(tokenizer).__name__} cannot tell")
    from agentkd.methods.swing import token_seeds

    words = read_words(config.private_list) if config.private_list else []
    names = find_names_with(config.private_ner) if config.private_ner else None

    def search(text: str) -> list[Passage]:
        return find_private(text, words, names(text) if names else ())

    marked, kinds = [], Counter[str]()
    tokens = touched = texts = 0
    for example, row in zip(examples, rows, strict=True):
        found_here: list[Passage] = []
        seeds = [0] * len(row["input_ids"])
        for (begin, end), text in zip(target_runs(row), learned_texts(example), strict=True):
            if passages := search(text):
                found_here += passages
                offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
                spans = [passage[:2] for passage in passages]
                seeds[begin:end] = token_seeds(text, spans, [*offsets, (len(text), len(text))], config.seed)
        kinds.update(passage.kind for passage in found_here)
        touched += bool(found_here)
        texts += len(learned_texts(example))
        tokens += sum(map(bool, seeds))
        marked.append(mark_row(row, seeds, str(config.privacy)))
    targets = sum(label != IGNORED for row in rows for label in row["labels"])
    if tokens == targets - texts:
        raise UserError(
            f"all {tokens:,} target tokens but the ends are private: nothing is left to learn; "
            f"look at private_list= and private_ner="
        )
    found = {"passages": dict(kinds.most_common()), "examples": touched, "tokens": tokens, "target_tokens": targets}
    say(describe_found(found, len(rows), str(config.privacy)))
    return Marked(marked, {"privacy": config.privacy, **found})


def hash_detectors(config: DistillConfig) -> dict[str, str]:
    """The hashes of a user's list and model of names, which must not change before a run is resumed."""
    found = {}
    if config.private_list:
        found["hash_private_list"] = content_hash(read_words(config.private_list))
    if config.private_ner:
        found["hash_private_ner"] = identify_weights(find_weights(config.private_ner))
    return found


def describe_found(found: dict[str, Any], rows: int, privacy: str) -> str:
    """What was detected, in one line."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in found["passages"].items())
    if not kinds:
        return "privacy: no private passage was found in the targets; all of them are learned as they are"
    fate = "softened" if privacy == "swing" else "not learned"
    return (
        f"privacy: {sum(found['passages'].values())} private passages ({kinds}) in {found['examples']} of {rows} "
        f"examples; {found['tokens']:,} of {found['target_tokens']:,} target tokens are {fate}"
    )


def describe_for_card(found: dict[str, Any], config: DistillConfig) -> str:
    """What was detected and what was done about it, for a model's card."""
    count = sum(found["passages"].values())
    kinds = ", ".join(f"{kind} {number}" for kind, number in found["passages"].items())
    done = "They were not learned (`mask`)"
    if found["privacy"] == "swing":
        done = (
            f"There the teacher was softened (`swing`: temperature {config.private_tau:g}, noise of "
            f"{config.private_noise:g}, seed {config.seed}), and the trace's own tokens were not learned"
        )
    searched = ["patterns"]
    searched += [f"a list of the user's ({config.private_list})"] if config.private_list else []
    searched += [f"the model of names {config.private_ner}"] if config.private_ner else []
    return (
        f"{count} private passages were detected in the targets, by {' and '.join(searched)}"
        f"{f': {kinds}' if kinds else ''}; {found['tokens']} of {found['target_tokens']} tokens. "
        f"{done}. What was not detected was learned like all else, and this is no guarantee."
    )


def read_words(path: str) -> list[str]:
    """A user's private words and phrases, one on each line. Raises UserError for a file that is missing, empty, too
    large or not UTF-8."""
    try:
        if (size := Path(path).stat().st_size) > LIST_BYTES:
            raise UserError(f"private_list={path} has {size:,} bytes: give at most {LIST_BYTES:,}")
        words = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"private_list={path} cannot be read ({error}): give a text file in UTF-8") from None
    if not (found := list(dict.fromkeys(filter(None, words)))):
        raise UserError(f"private_list={path} is empty: give a private word or phrase on each line")
    return found


def mark_row(row: Row, seeds: list[int], privacy: str) -> Row:
    """The row with its private tokens left out of the labels, or with their seeds beside them."""
    if privacy == "mask":
        labels = [IGNORED if seed else label for label, seed in zip(row["labels"], seeds, strict=True)]
        return {**row, "labels": labels}
    return {**row, PRIVATE: seeds}


def learned_texts(example: Example) -> list[str]:
    """The texts that an example's student learns to write, in their order: an end token follows each in its row."""
    if isinstance(example.prompt, str):
        return [example.target_text]
    return [*(turn.content for turn in example.prompt if turn.role == "assistant"), example.target]


def target_runs(row: Row) -> Iterator[Span]:
    """Where a row's learned tokens stand: from the first of each run to behind its last."""
    learned = [label != IGNORED for label in row["labels"]]
    begin = None
    for place, target in enumerate([*learned, False]):
        if target and begin is None:
            begin = place
        elif not target and begin is not None:
            yield begin, place
            begin = None
