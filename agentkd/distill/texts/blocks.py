"""Documents as blocks of token ids on the disk: joined by the token that ends a text, cut where a block is full.

A block begins with the last token of the one before, so that each token but the first is learned once. Blocks lie in
Arrow files that are mapped into memory, so that a corpus may be larger than it. A token sees all that stands before it
in its block, also of an earlier document, as in pre-training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.corpus.documents import Document, find_files, read_documents
from agentkd.distill.data.tokens import IGNORED
from agentkd.errors import UserError
from agentkd.runs.disk import disk_error, write_atomically
from agentkd.runs.progress import Progress
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.trace import Usage

BATCH = 256  # documents that are tokenised at a time
PARTS = ("train", "validation")
COUNTS = "counts.json"  # written last: the blocks are whole


class Corpus(NamedTuple):
    """The files of a corpus and of its held-out texts, which are none where a share is held out."""

    files: Sequence[Path]
    validation: Sequence[Path]
    field: str
    share: float

    @classmethod
    def find(cls, corpus: str, validation: str | None, field: str, share: float) -> Corpus:
        """Raises UserError as `find_files` does."""
        return cls(find_files(corpus), find_files(validation, "validation=") if validation else [], field, share)

    def parts(self) -> Iterator[tuple[str, Document]]:
        """Every document with its part, `train`, `validation`, or `` where it is empty or a held-out one's copy.

        A share is held out by a hash of the text, so that copies of a document are in one part, whatever the corpus."""
        held = set()
        for document in read_documents(self.validation, self.field):
            held.add(digest(document.text))
            yield ("validation" if document.text.strip() else ""), document
        for document in read_documents(self.files, self.field):
            key = digest(document.text)
            if not document.text.strip() or key in held:
                yield "", document
            else:
                yield ("validation" if not self.validation and key < self.share * 2**64 else "train"), document


class Counts(NamedTuple):
    """Documents, tokens and bytes of each part, and documents that are in none."""

    documents: dict[str, int]
    tokens: dict[str, int]
    bytes: dict[str, int]
    left_out: int

    @property
    def bytes_per_token(self) -> float:
        """Of the held-out texts."""
        return self.bytes["validation"] / self.tokens["validation"]


def digest(text: str) -> int:
    """A number below 2^64 that the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def write_blocks(corpus: Corpus, total: int, tokenizer: Any, length: int, folder: Path) -> Counts:
    """Write the blocks of both parts into `folder`, unless they are there, and return the counts.

    `total` is the number of documents, for the progress. Raises UserError for parts without a token to learn,
    WorldError where the disk refuses."""
    if (folder / COUNTS).is_file():
        return Counts(**parse_json(read_small(folder / COUNTS, METRICS_BYTES)))
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    features = Features({"input_ids": List(Value("int32"))})
    documents, tokens, sizes = (dict.fromkeys(PARTS, 0) for _ in range(3))
    left_out = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writers = {part: ArrowWriter(path=str(folder / f"{part}.arrow"), features=features) for part in PARTS}
        waiting: dict[str, list[int]] = {part: [] for part in PARTS}
        with Progress("documents as tokens", total, "") as progress:
            for batch in _batches(corpus.parts()):
                for (part, document), ids in zip(
                    batch, encode(tokenizer, [each.text for _, each in batch]), strict=True
                ):
                    progress.advance(Usage(prompt_tokens=len(ids)), good=True)
                    if not part:
                        left_out += 1
                        continue
                    documents[part] += 1
                    tokens[part] += len(ids)
                    sizes[part] += len(document.text.encode())
                    waiting[part] = _write_full(writers[part], waiting[part] + ids, length)
        for part, writer in writers.items():
            if len(waiting[part]) > 1:
                writer.write({"input_ids": waiting[part]})
            writer.finalize()
        counts = Counts(documents, tokens, sizes, left_out)
        _check(corpus, counts)
        write_atomically(folder / COUNTS, json.dumps(counts._asdict()) + "\n")
    except OSError as error:
        raise disk_error(folder, error) from None
    return counts


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, with the tokenizer's own beginning and, at the end, the token that ends a text."""
    end = tokenizer.eos_token_id
    found = tokenizer(list(texts), verbose=False)["input_ids"]
    return [ids if ids and ids[-1] == end else [*ids, end] for ids in found]


def read_blocks(folder: Path, part: str) -> Any:
    """A part's blocks as a table of `input_ids`, mapped into memory."""
    from datasets import Dataset

    return Dataset.from_file(str(folder / f"{part}.arrow"))


def collate(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    """`input_ids`, `labels` and `attention_mask` [B, L]; what is padding, and the first token, is not learned."""
    from agentkd.distill.data.tokens import pad_rows

    return pad_rows([{"input_ids": row["input_ids"], "labels": [IGNORED, *row["input_ids"][1:]]} for row in rows], pad)


def _write_full(writer: Any, ids: list[int], length: int) -> list[int]:
    """Write the full blocks and return what is left, which begins with a written token."""
    start = 0
    while len(ids) - start > length:
        writer.write({"input_ids": ids[start : start + length]})
        start += length - 1
    return ids[start:]


def _batches(parts: Iterable[tuple[str, Document]]) -> Iterator[list[tuple[str, Document]]]:
    waiting = iter(parts)
    while batch := list(islice(waiting, BATCH)):
        yield batch


def _check(corpus: Corpus, counts: Counts) -> None:
    """Raise UserError for a part without a token to learn."""
    if counts.tokens["train"] < 2:
        why = f"{counts.left_out} are empty or held out, too" if counts.left_out else "it is empty"
        raise UserError(f"{corpus.files[0]} leaves nothing to learn from ({why}): give more texts")
    if counts.tokens["validation"] < 2:
        remedy = "give validation=FILES " + ("with texts" if corpus.validation else "or a larger held_out=")
        raise UserError(
            f"no document of {counts.documents['train']} is held out: {remedy}, as a loss on learned texts says little"
        )
