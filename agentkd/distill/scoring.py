"""The scoring pass: what a teacher thinks of every token of a finished dataset, its K likeliest tokens each.

A student sees other contexts than the agent did, so its teacher is asked over the very token ids that it will be
trained on, once, before training. Two files grow by appending, one row of K a target token in the dataset's order:
`ids.i32` and `log_p.f32`. Their length says how far the pass has come, so that a killed one goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError
from agentkd.progress import Progress
from agentkd.trace import Usage, content_hash

IGNORED = -100  # the label of a token that is not to be learned
BATCH = 8  # rows a forward pass

Rows = Sequence[dict[str, list[int]]]


class Scores:
    """The K likeliest tokens of the teacher at each target token, memory-mapped."""

    def __init__(self, folder: Path, rows: Rows, k: int) -> None:
        self.offsets = offsets(rows)
        shape = int(self.offsets[-1]), k
        self.ids: npt.NDArray[np.int32] = np.memmap(folder / "ids.i32", np.int32, "r", shape=shape)
        self.log_p: npt.NDArray[np.float32] = np.memmap(folder / "log_p.f32", np.float32, "r", shape=shape)

    def of(self, row: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Token ids and log-probabilities [T, K] of the T target tokens of a row."""
        part = slice(*self.offsets[row : row + 2])
        return self.ids[part].astype(np.int64), np.array(self.log_p[part])


def offsets(rows: Rows) -> npt.NDArray[np.int64]:
    """Where each row's target tokens begin among all, and at last their number. The first token of a row has no
    context and is never a target."""
    counts = [sum(label != IGNORED for label in row["labels"][1:]) for row in rows]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def score(model: Any, rows: Rows, folder: Path, k: int) -> Scores:
    """Ask a causal model over all rows, from where an earlier pass was stopped.

    `model` gives logits [B, L, V] for `input_ids` and `attention_mask`; they are taken at target tokens only. Raises
    UserError for a K beyond the vocabulary.
    """
    import torch

    vocabulary = int(model.config.vocab_size)
    if not 1 <= k <= vocabulary:
        raise UserError(f"top_k is {k}: the teacher knows {vocabulary} tokens, choose from 1 to that")
    folder.mkdir(parents=True, exist_ok=True)
    starts = offsets(rows)
    files = [(folder / "ids.i32").open("ab"), (folder / "log_p.f32").open("ab")]
    try:
        whole = min(file.tell() for file in files) // (4 * k)
        done = int(np.searchsorted(starts, whole, side="right")) - 1
        for file in files:
            file.truncate(int(starts[done]) * 4 * k)
        model.eval()
        with Progress("teacher's scores", total=len(rows) - done, unit="") as progress, torch.inference_mode():
            for first in range(done, len(rows), BATCH):
                some = rows[first : first + BATCH]
                longest = max(len(row["input_ids"]) for row in some)
                ids = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in some])
                mask = torch.tensor([[int(n < len(row["input_ids"])) for n in range(longest)] for row in some])
                labels = torch.tensor([row["labels"] + [IGNORED] * (longest - len(row["labels"])) for row in some])
                device = model.device
                hidden = model.base_model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
                hidden = hidden[:, :-1][labels[:, 1:].to(device) != IGNORED]
                top = model.get_output_embeddings()(hidden).float().log_softmax(-1).topk(k, dim=-1)
                files[0].write(top.indices.to(torch.int32).cpu().numpy().tobytes())
                files[1].write(top.values.cpu().numpy().tobytes())
                for file in files:
                    file.flush()
                for row in some:
                    progress.advance(Usage(prompt_tokens=len(row["input_ids"])), good=True)
    finally:
        for file in files:
            file.close()
    return Scores(folder, rows, k)


def vocabulary_hash(tokenizer: Any) -> str:
    """What two tokenizers must share for their token ids to mean the same."""
    return content_hash([sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]), tokenizer.eos_token_id])


def check_vocabularies(student: Any, teacher: Any, name: str) -> None:
    """Raises UserError where the teacher's token ids mean something else, with the first difference."""
    if vocabulary_hash(student) == vocabulary_hash(teacher):
        return
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    differ = sorted(ours.keys() ^ theirs.keys() | {token for token in ours if ours[token] != theirs.get(token)})
    what = f"{differ[0]!r} is token {ours.get(differ[0])} here and {theirs.get(differ[0])} there" if differ else (
        f"the end token is {student.eos_token_id} here and {teacher.eos_token_id} there"
    )  # fmt: skip
    raise UserError(
        f"the teacher {name} has another vocabulary ({len(theirs)} tokens, the student {len(ours)}; {what}): "
        f"take a teacher of the student's family, or --method sft"
    )
