"""`--method cross-tokenizer`: the student learns from a teacher of another vocabulary.

Both read the prompt in their own form and write the same target; `alignment.py` cuts its text into spans that begin and
end with a token on both sides. Where a span begins, the two next-token distributions are compared by Universal Logit
Distillation (Boizard et al., arXiv 2402.12030, section 3.2): the L1 distance of the sorted probabilities, with the
smaller vocabulary padded with zeros. It compares how sure the models are, not of which token, so that vocabularies need
not be matched; the trace's own tokens (nll) teach which token.

A span of several tokens counts as one outcome, with the probability that the chain rule gives (GOLD, Patiño et al.
2025): it replaces its first token, and what would leave the span later is part of the rest. `uld=hybrid` is from GOLD,
too: where a span is one and the same token on both sides, the tokens of both vocabularies are compared by id with
`divergence`, and only the teacher's other tokens by rank.

loss = nll x NLL + (1 - nll) x (ULD [+ divergence]), per target token of the student; NLL and divergence in nats, ULD
from 0 to 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agentkd.distill.data.forms import Example
from agentkd.distill.data.teacher_scores import Scores, hash_vocabulary, load_scores
from agentkd.distill.data.tokens import IGNORED, Row, TrainingData, pad_rows, target_tokens
from agentkd.distill.lessons.alignment import Span, align_spans, match_tokens, place_spans, token_bytes, token_ends
from agentkd.distill.lessons.teacher_signal import (
    BatchLoss,
    LossOptions,
    TeacherSignal,
    Terms,
    chunked_loss,
    read_loss_options,
)
from agentkd.distill.lessons.uld import HYBRID, PLAIN, SILENT, token_loss
from agentkd.distill.resolve import Stage
from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.inference.in_process import apply_template, format_chat
from agentkd.inference.model_folder import context_length, open_tokenizer
from agentkd.pretrained import load_settings
from agentkd.runs.progress import say
from agentkd.trace import Message

Ids = npt.NDArray[np.int64]
FIELDS = "kind", "rank_p", "teacher_ids", "teacher_log_p"  # of each span; the last two for the hybrid
CHUNK = 64  # target tokens whose logits exist at a time, if no span is longer


def make_signal(stage: Stage, data: TrainingData, folder: Path) -> TeacherSignal:
    """Score the examples with the teacher over its own tokens, and align these with the student's rows.

    An example that cannot be aligned, or is too long for the teacher, is learned from its own tokens alone, and
    counted. Raises UserError for a teacher of the student's vocabulary, or if no example is left to the teacher.
    """
    (teacher,) = data.teachers
    tokenizer, rows, name = data.student.tokenizer, data.rows, teacher.name
    other = open_tokenizer(teacher.folder, name, trust=teacher.trust)
    if hash_vocabulary(tokenizer) == hash_vocabulary(other):
        raise UserError(f"the teacher {name} has the student's own vocabulary: take --method logits, which tells more")
    if other.chat_template is None:
        say(f"{name} has no chat template: it reads the messages one after another, with an empty line between")
    limit = context_length(load_settings(teacher.folder, trust=teacher.trust).get_text_config())
    pieces = token_bytes(tokenizer), token_bytes(other)
    theirs, aligned = align_rows(data, other, pieces, limit)
    count = sum(map(bool, aligned))
    if not count:
        long = "" if limit is None else f", or they are longer than its {limit} tokens"
        raise UserError(
            f"no example can be learned from {name}: its tokenizer or the student's changes their text{long}; "
            f"take another teacher, or --method sft"
        )
    if count < len(rows):
        say(f"{len(rows) - count} examples cannot be aligned with {name}: learned from their own tokens alone")
    sizes = [(span.a_end - span.a, span.b_end - span.b) for each in aligned for span in each]
    single = sum(size == (1, 1) for size in sizes)
    say(f"{len(sizes)} spans, {100 * single / len(sizes):.0f} % of them one token on both sides")
    ours: Ids | None = None
    if stage.config.uld == "hybrid":
        same = match_tokens(*pieces, (set(tokenizer.all_special_ids), set(other.all_special_ids)))
        last = {asked["labels"][-1]: row["labels"][-1] for asked, row in zip(theirs, rows, strict=True)}
        last.pop(IGNORED, None)
        ours = np.full(len(pieces[1]), -1)
        for theirs_id, our_id in (same | last).items():
            ours[theirs_id] = our_id
    scores = load_scores(teacher, other, theirs, folder, stage.config.top_k)
    facts = {"spans": len(sizes), "spans_of_one_token": single, "teacher_nll": round(-float(scores.target.mean()), 4)}
    collator = SpanCollator(scores, theirs, aligned, tokenizer.pad_token_id, ours)
    return TeacherSignal(batch_loss(read_loss_options(stage), ours), collator, facts)


def align_rows(
    data: TrainingData, tokenizer: Any, pieces: tuple[list[bytes], list[bytes]], limit: int | None
) -> tuple[list[Row], list[list[Span]]]:
    """The teacher's row of each example, and its spans with the student's row. Where there are none, because the texts
    differ or the teacher's row is longer than `limit`, its row has no target."""
    theirs: list[Row] = []
    aligned: list[list[Span]] = []
    for example, row in zip(data.examples, data.rows, strict=True):
        asked = teacher_row(example, tokenizer)
        found = align_targets(target_tokens(row), target_tokens(asked), pieces, example.target_text)
        silent = found is None or (limit is not None and len(asked["input_ids"]) > limit)
        theirs.append({"input_ids": asked["input_ids"][:1], "labels": [IGNORED]} if silent else asked)
        aligned.append([] if silent or found is None else found)
    return theirs, aligned


def teacher_row(example: Example, tokenizer: Any) -> Row:
    """Tokenise an example for the teacher, as `tokenise` does for the student.

    Without a chat template it reads the token that begins a text, the messages and the target, with an empty line
    between them. Raises UserError if the template refuses the messages."""
    end = tokenizer.eos_token_id
    if isinstance(example.prompt, str) or tokenizer.chat_template is None:
        prompt = example.prompt
        text = prompt if isinstance(prompt, str) else "".join(f"{message.content}\n\n" for message in prompt)
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    else:
        text, begin = format_chat(tokenizer, example.prompt), []
        end = end_of_turn(tokenizer, example.prompt, example.target, default=end)
    given = begin + tokenizer(text, add_special_tokens=False)["input_ids"]
    target = [*tokenizer(example.target_text, add_special_tokens=False)["input_ids"], end]
    return {"input_ids": given + target, "labels": [IGNORED] * len(given) + target}


def end_of_turn(tokenizer: Any, prompt: Sequence[Message], target: str, *, default: int) -> int:
    """The token with which the template ends an answer. It is not every tokenizer's EOS token (Gemma)."""
    chat = [*prompt, Message(role="assistant", content=target)]
    after = apply_template(tokenizer, chat).rpartition(target)[2]
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    return int(ids[0]) if ids and ids[0] in tokenizer.added_tokens_decoder else default


def align_targets(
    ours: Sequence[int], theirs: Sequence[int], pieces: tuple[list[bytes], list[bytes]], text: str
) -> list[Span] | None:
    """The spans of two tokenised targets, the pair of end tokens last, or None if one does not write the text."""
    mine, other = token_ends(ours[:-1], pieces[0], text), token_ends(theirs[:-1], pieces[1], text)
    if mine is None or other is None:
        return None
    return [*align_spans(mine, other), Span(len(mine), len(mine) + 1, len(other), len(other) + 1)]


class SpanCollator:
    """Right-padded rows, and the teacher's scores of the batch's N target tokens, laid out in M places so that no chunk
    of `size` cuts a span:

    - `take` [M]: a token's number among the N, or -1 at a free place
    - `back` [M]: the number of places since its span began
    - `kind` [M]: SILENT, PLAIN or HYBRID
    - `rank_p` [M, K]: the teacher's probabilities in descending order, spans merged
    - `size` [1]
    - for the hybrid, `teacher_ids` [M, K] as the student's ids or -1, and their `teacher_log_p`

    `asked` are the teacher's rows; `ours` [V] maps each of the teacher's ids to the student's, or to -1.
    """

    def __init__(
        self, scores: Scores, asked: Sequence[Row], aligned: Sequence[list[Span]], pad: int, ours: Ids | None = None
    ) -> None:
        self.scores, self.aligned, self.pad, self.ours = scores, aligned, pad, ours
        self.targets = [np.array(target_tokens(row)) for row in asked]

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        lengths: list[int] = []
        parts = []
        for row in rows:
            found, learned = self.aligned[row["row"]], target_tokens(row)
            lengths += [span.a_end - span.a for span in found] or [1] * len(learned)
            parts.append(self.span_scores(row["row"], found, np.array(learned)))
        size = max(CHUNK, *lengths)
        at = np.array(place_spans(lengths, size))
        take = np.full(at[-1] + lengths[-1], -1)
        back = np.zeros_like(take)
        token = 0
        for place, length in zip(at, lengths, strict=True):
            take[place : place + length] = np.arange(token, token + length)
            back[place : place + length] = np.arange(length)
            token += length
        batch = {**pad_rows(rows, self.pad), "size": torch.tensor([size])}
        batch |= {"take": torch.from_numpy(take), "back": torch.from_numpy(back)}
        for name, fields in zip(FIELDS[: len(parts[0])], zip(*parts, strict=True), strict=True):
            values = np.concatenate(fields)
            placed = np.zeros((len(take), *values.shape[1:]), values.dtype)
            placed[at] = values
            batch[name] = torch.from_numpy(placed)
        return batch

    def span_scores(self, row: int, found: list[Span], learned: Ids) -> tuple[npt.NDArray[Any], ...]:
        """`kind` [S] and `rank_p` [S, K] (for the hybrid also `teacher_ids` and `teacher_log_p`) of the spans of a row,
        or of its tokens if it has no spans."""
        if not found:
            nothing = np.zeros((len(learned), self.scores.ids.shape[1]), np.float32)
            extra = () if self.ours is None else (np.full(nothing.shape, -1), nothing)
            return np.full(len(learned), SILENT), nothing, *extra
        a, a_end, b, b_end = np.array(found).T
        ids, log_p = (values[b] for values in self.scores.top_k_of(row))
        target = self.targets[row]
        sums = np.concatenate([[0.0], np.cumsum(self.scores.target_log_p(row), dtype=np.float64)])
        later = (sums[b_end] - sums[b + 1]).astype(np.float32)
        log_p = log_p + np.where(ids == target[b, None], later[:, None], np.float32(0))  # the chain rule
        p = np.exp(log_p)
        kind = np.full(len(found), PLAIN)
        if self.ours is None:
            return kind, sort_descending(p)
        single = (a_end - a == 1) & (b_end - b == 1) & (self.ours[target[b]] == learned[a])
        kind[single] = HYBRID
        ids = self.ours[ids]
        p[single[:, None] & (ids >= 0)] = 0.0
        return kind, sort_descending(p), ids, log_p


def sort_descending(p: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sort each row in descending order."""
    return -np.sort(-p, axis=-1)


def batch_loss(options: LossOptions, ours: Ids | None = None) -> BatchLoss:
    """The loss of a batch of `SpanCollator`, with the same `ours`."""
    names = ["back", *FIELDS[: 2 if ours is None else 4]]

    def loss(hidden: Tensor, head: Head, labels: Tensor, inputs: dict[str, Tensor], terms: Terms) -> Tensor:
        shared = None
        if ours is not None:
            shared = torch.zeros(len(head.weight), dtype=torch.bool, device=hidden.device)
            shared[torch.from_numpy(ours[ours >= 0])] = True
        real = inputs["take"] >= 0
        take = inputs["take"].clamp_min(0)
        aligned = labels[take], real, *(inputs[name] for name in names)
        each = token_loss(options, terms, shared)
        return chunked_loss(each, hidden[take], head, *aligned, chunk=int(inputs["size"]), whole=True)

    return loss
