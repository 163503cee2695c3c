"""How likely a model finds each document of a stream: one pass, killable, in memory that does not grow.

Documents are scored in blocks of BLOCK, a block's rows are appended when all are there, and the length of the file
shows how far a killed pass has come. Within a block the batches are made by length and are always the same ones, so a
resumed pass writes the same bytes. A document longer than the context is read in windows, each of which begins with the
last token of the one before: every token but the first is scored once.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.corpus.documents import Document
from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.inference.model_folder import load_weights, open_tokenizer
from agentkd.models import find_weights
from agentkd.runs.disk import disk_error
from agentkd.runs.progress import Progress
from agentkd.trace import Usage

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 256  # documents
LETTERS = 2_000_000  # of texts that are tokenised at a time, so that long documents need no more memory than short ones
POSITIONS = 4096  # of a forward pass, padding included
CHUNK = 1024  # positions whose logits are in memory at a time
ROW = np.dtype([("nll", "<f8"), ("tokens", "<i4"), ("bytes", "<i4")])
"""A document: the negative log-likelihood of its scored tokens in nats, their number, and the bytes of its text."""

Rows = npt.NDArray[np.void]


class Scorer:
    """A causal model that says how likely texts are."""

    def __init__(self, name: str, *, length: int, trust: bool = False) -> None:
        import torch

        folder = find_weights(name)
        self.name = name
        self.tokenizer: Any = open_tokenizer(folder, name, trust=trust, padding_side="right")
        model = load_weights(folder, name, torch.float32, trust=trust).eval()
        self.model = model.cuda() if torch.cuda.is_available() else model
        self.head = Head.of(self.model)
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or length
        self.length = min(length, int(longest))

    def score(self, texts: Sequence[str]) -> Rows:
        """The rows of some texts."""
        rows = np.zeros(len(texts), ROW)
        rows["bytes"] = [len(text.encode()) for text in texts]
        windows: list[tuple[int, list[int]]] = []
        encoded = self.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        for number, ids in enumerate(encoded):
            rows["tokens"][number] = max(0, len(ids) - 1)
            for start in range(0, len(ids) - 1, self.length - 1):
                windows.append((number, ids[start : start + self.length]))
        windows.sort(key=lambda window: -len(window[1]))  # stable, so the batches are the same ones each time
        for batch in _batches(windows):
            for (number, _), nll in zip(batch, self._nll([ids for _, ids in batch]), strict=True):
                rows["nll"][number] += nll
        return rows

    def _nll(self, windows: Sequence[Sequence[int]]) -> list[float]:
        """The summed negative log-likelihood of each window but for its first token."""
        import torch

        length = len(windows[0])
        ids = torch.zeros(len(windows), length, dtype=torch.long)
        mask = torch.zeros(len(windows), length, dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = torch.tensor(window)
            mask[row, : len(window)] = 1
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        with torch.inference_mode():
            hidden = self.head.states(self.model, input_ids=ids, attention_mask=mask)[:, :-1]
            kept = mask[:, 1:].bool()
            losses = torch.zeros(kept.shape, dtype=torch.float64, device=ids.device)
            losses[kept] = self._losses(hidden[kept], ids[:, 1:][kept])
        return [float(value) for value in losses.sum(1)]

    def _losses(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        import torch

        parts = [
            torch.nn.functional.cross_entropy(self.head.logits(hidden), targets, reduction="none").double()
            for hidden, targets in zip(torch.split(hidden_ND, CHUNK), torch.split(targets_N, CHUNK), strict=True)
        ]
        return torch.cat(parts)


def score_corpus(scorer: Scorer, documents: Iterable[Document], file: Path, shard: tuple[int, int], total: int) -> None:
    """Append the rows of a shard's blocks to `file`, from where an earlier pass was stopped. `total` is the number of
    documents in the corpus. Raises UserError where another process writes the file, WorldError where the disk
    refuses."""
    own, of = shard
    waiting = iter(documents)
    done = file.stat().st_size // ROW.itemsize // BLOCK if file.is_file() else 0
    size = len(_places(own, of, total))
    try:
        with file.open("ab") as out, Progress(f"documents by {scorer.name}", size - done * BLOCK, "") as progress:
            try:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{file} is being written by another process: wait for it, or choose another shard"
                ) from None
            out.truncate(done * BLOCK * ROW.itemsize)
            for number in range(-(-total // BLOCK)):
                block = islice(waiting, BLOCK)
                if number % of != own or number // of < done:
                    deque(block, maxlen=0)
                    continue
                rows = np.concatenate([scorer.score(texts) for texts in _groups(block)])
                out.write(rows.tobytes())
                out.flush()
                os.fsync(out.fileno())
                for row in rows:
                    progress.advance(Usage(prompt_tokens=int(row["tokens"])), good=True)
    except OSError as error:
        raise disk_error(file, error) from None


def read_rows(files: Sequence[Path], total: int) -> Rows:
    """The rows of all documents, in order, from the files of all shards. Raises UserError for files that lack some."""
    rows = np.zeros(total, ROW)
    for own, file in enumerate(files):
        found = np.fromfile(file, ROW)
        places = _places(own, len(files), total)
        if len(found) != len(places):
            raise UserError(f"{file} has {len(found)} documents of {len(places)}: run its shard again")
        rows[places] = found
    return rows


def is_scored(file: Path, shard: tuple[int, int], total: int) -> bool:
    """Whether a shard's file is complete."""
    return file.is_file() and file.stat().st_size == len(_places(*shard, total)) * ROW.itemsize


def _places(own: int, of: int, total: int) -> npt.NDArray[np.int64]:
    places = np.arange(total)
    own_places: npt.NDArray[np.int64] = places[places // BLOCK % of == own]
    return own_places


def _groups(documents: Iterable[Document]) -> Iterator[list[str]]:
    """The texts in lists of at most LETTERS characters, or of one text."""
    group: list[str] = []
    letters = 0
    for document in documents:
        if group and letters + len(document.text) > LETTERS:
            yield group
            group, letters = [], 0
        group.append(document.text)
        letters += len(document.text)
    if group:
        yield group


def _batches(windows: Sequence[tuple[int, list[int]]]) -> Iterator[Sequence[tuple[int, list[int]]]]:
    """Batches of windows, the longest first, of at most POSITIONS positions with their padding."""
    start = 0
    while start < len(windows):
        count = max(1, POSITIONS // len(windows[start][1]))
        yield windows[start : start + count]
        start += count
