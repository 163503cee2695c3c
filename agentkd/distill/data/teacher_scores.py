"""The scoring pass: a teacher's K likeliest tokens at every target token of a finished dataset.

A student sees other contexts than the agent did, so the teacher scores the very token ids that the student will be
trained on, once, before training. Three files grow by appending, one row per target token in the dataset's order:
`ids.i32` and `log_p.f32` with K values each, and `target.f32`, the log-probability of the target token itself. Their
length shows how far the pass has come, so that a killed one goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agentkd.distill.data.tokens import IGNORED, PRIVATE, Row, pad_rows
from agentkd.distill.student import Model
from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.inference.in_process import identify_weights
from agentkd.inference.model_folder import load_weights
from agentkd.runs.disk import hash_file
from agentkd.runs.progress import Progress
from agentkd.trace import Usage, content_hash

if TYPE_CHECKING:
    import torch

BATCH = 8  # rows per forward pass

Rows = Sequence[Row]


class Scores:
    """Memory-mapped scores: the teacher's K likeliest tokens at each target token, and the target's own."""

    def __init__(self, folder: Path, rows: Rows, k: int) -> None:
        self.offsets = target_offsets(rows)
        shape = int(self.offsets[-1]), k
        self.ids: npt.NDArray[np.int32] = np.memmap(folder / "ids.i32", np.int32, "r", shape=shape)
        self.log_p: npt.NDArray[np.float32] = np.memmap(folder / "log_p.f32", np.float32, "r", shape=shape)
        self.target: npt.NDArray[np.float32] = np.memmap(folder / "target.f32", np.float32, "r", shape=shape[:1])

    def top_k_of(self, row: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Token ids and log-probabilities [T, K] of the T target tokens of a row."""
        part = slice(*self.offsets[row : row + 2])
        return self.ids[part].astype(np.int64), np.array(self.log_p[part])

    def target_log_p(self, row: int) -> npt.NDArray[np.float32]:
        """Log-probabilities [T] that the teacher gives the row's own target tokens."""
        return np.array(self.target[slice(*self.offsets[row : row + 2])])


def target_offsets(rows: Rows) -> npt.NDArray[np.int64]:
    """The offset of each row's first target token among all, and finally their number. The first token of a row has no
    context and is never a target."""
    counts = [sum(label != IGNORED for label in row["labels"][1:]) for row in rows]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class Softening(NamedTuple):
    """Swing's temperature and noise of private tokens (`methods/swing.py`)."""

    tau: float
    sigma: float


def score_rows(
    model: Any, tokens: Sequence[int], rows: Rows, folder: Path, k: int, softening: Softening | None = None
) -> Scores:
    """Score all rows with a causal model, from where an earlier pass was stopped. Logits are computed at target tokens
    only.

    `tokens` are the ids of its tokenizer. Its vocabulary may be padded to more: those others are never among the K, and
    their probability is part of the rest. With `softening`, the K are those of the softened distribution where a row's
    token is private. Raises UserError for a K beyond the tokens, and as `Head.of` does."""
    import torch

    if not 1 <= k <= len(tokens):
        raise UserError(f"top_k is {k}: the teacher knows {len(tokens)} tokens, choose from 1 to that")
    head = Head.of(model.eval())
    padding = torch.ones(len(head.weight), dtype=torch.bool, device=head.weight.device)
    padding[torch.tensor(tokens)] = False
    folder.mkdir(parents=True, exist_ok=True)
    starts = target_offsets(rows)
    files = {(folder / name).open("ab"): width for name, width in (("ids.i32", k), ("log_p.f32", k), ("target.f32", 1))}
    try:
        whole = min(file.tell() // (4 * width) for file, width in files.items())
        done = int(np.searchsorted(starts, whole, side="right")) - 1
        for file, width in files.items():
            file.truncate(int(starts[done]) * 4 * width)
        with Progress("teacher's scores", total=len(rows) - done, unit="") as progress, torch.inference_mode():
            for first in range(done, len(rows), BATCH):
                some = rows[first : first + BATCH]
                batch = {name: value.to(model.device) for name, value in pad_rows(some, 0).items()}
                labels = batch.pop("labels")[:, 1:]
                learned = labels != IGNORED
                hidden = head.states(model, **batch)[:, :-1][learned]
                log_p = head.logits(hidden).log_softmax(-1)
                own = log_p.gather(-1, labels[learned][:, None])
                if softening is not None:
                    soften_private(log_p, [seed for row in some for seed in target_seeds(row)], softening)
                top = log_p.masked_fill_(padding, -torch.inf).topk(k, dim=-1)
                for file, value in zip(files, (top.indices.to(torch.int32), top.values, own), strict=True):
                    file.write(value.cpu().numpy().tobytes())
                    file.flush()
                for row in some:
                    progress.advance(Usage(prompt_tokens=len(row["input_ids"])), good=True)
    finally:
        for file in files:
            file.close()
    return Scores(folder, rows, k)


def soften_private(log_p_NV: torch.Tensor, seeds_N: Sequence[int], softening: Softening) -> None:
    """Soften the distributions of tokens that have a seed, in place."""
    import torch

    from agentkd.methods.swing import seeded_noise, soften

    for place, seed in enumerate(seeds_N):
        if seed:  # one at a time: noise is as large as the vocabulary
            row_1V = log_p_NV[place : place + 1]
            noise_1V = seeded_noise([seed], row_1V.shape[-1])
            one = torch.ones(1, device=row_1V.device)
            row_1V.copy_(soften(row_1V, one, tau_max=softening.tau, sigma=softening.sigma, noise_LV=noise_1V))


def target_seeds(row: Row) -> list[int]:
    """The seeds of a row's target tokens, in their order: 0 for one that is not private."""
    if PRIVATE not in row:
        return [0] * sum(label != IGNORED for label in row["labels"][1:])
    pairs = zip(row["labels"][1:], row[PRIVATE][1:], strict=True)
    return [seed for label, seed in pairs if label != IGNORED]


def load_scores(
    teacher: Model, tokenizer: Any, rows: Rows, folder: Path, k: int, softening: Softening | None = None
) -> Scores:
    """A teacher's scores over these rows, in the ids of its tokenizer: read, continued or made. The model is not kept
    in memory. Raises UserError as `score_rows` does."""
    sizes = {"ids.i32": 4 * k, "log_p.f32": 4 * k, "target.f32": 4}
    count = int(target_offsets(rows)[-1])
    if all((folder / name).is_file() and (folder / name).stat().st_size == n * count for name, n in sizes.items()):
        return Scores(folder, rows, k)
    tokens = sorted(tokenizer.get_vocab().values())
    return score_rows(load_teacher(teacher), tokens, rows, folder, k, softening)


def load_teacher(teacher: Model) -> Any:
    """Load a teacher in float32, on the GPU if there is one."""
    import torch

    model = load_weights(teacher.folder, teacher.name, torch.float32, trust=teacher.trust).eval()
    return model.cuda() if torch.cuda.is_available() else model


def hash_teachers(teachers: Sequence[Model]) -> str:
    """The hash of all that must not change before a scoring pass is resumed: weights, tokenizer, chat template."""
    parts = []
    for folder in (teacher.folder for teacher in teachers):
        files = sorted({*folder.glob("*token*.json"), *folder.glob("*.jinja"), *folder.glob("tokenizer.model")})
        parts.append([identify_weights(folder), [[file.name, hash_file(file)] for file in files]])
    return content_hash(parts)


def hash_vocabulary(tokenizer: Any) -> str:
    """The hash of the properties that two tokenizers must share for their token ids to mean the same."""
    return content_hash([sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]), tokenizer.eos_token_id])


def check_vocabularies(student: Any, teacher: Any, name: str) -> None:
    """Raise UserError, with the first difference, if the teacher's token ids do not mean the same."""
    if hash_vocabulary(student) == hash_vocabulary(teacher):
        return
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    differ = sorted(ours.keys() ^ theirs.keys() | {token for token in ours if ours[token] != theirs.get(token)})
    what = f"the end token is {student.eos_token_id} here and {teacher.eos_token_id} there"
    if differ:
        what = f"{differ[0]!r} is token {ours.get(differ[0])} here and {theirs.get(differ[0])} there"
    raise UserError(
        f"the teacher {name} has another vocabulary ({len(theirs)} tokens, the student {len(ours)}; {what}): "
        f"take a teacher of the student's family, --method cross-tokenizer, or --method sft"
    )
