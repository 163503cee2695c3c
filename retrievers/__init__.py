"""The knowledge base, and the search for relation paths and passages in it. May import: its rooms."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from agentkd.errors import unknown_name

if TYPE_CHECKING:
    from agentkd.retrievers.graph import Graph
    from agentkd.retrievers.path_retriever import PathRetriever

NAMES = ("bm25", "dense", "hybrid")


def default_retriever() -> str:
    """`hybrid` where the dense extra is installed, else `bm25`. Looks for the packages without importing them."""
    dense = all(importlib.util.find_spec(package) for package in ("faiss", "sentence_transformers"))
    return "hybrid" if dense else "bm25"


def check_retriever(name: str) -> None:
    """Raise UserError for a name that is neither a retriever's nor a folder."""
    if name not in NAMES and not Path(name).is_dir():
        raise unknown_name("retriever", name, NAMES, ", or a folder made by `agentkd feedback`")


def make_retriever(name: str, kb: Graph) -> PathRetriever:
    """Make the retriever of a name over a knowledge base.

    Packages are imported, and models loaded, only when needed. Raises UserError for an unknown name.
    """
    check_retriever(name)
    if name == "bm25":
        from agentkd.retrievers.bm25 import BM25Paths

        return BM25Paths(kb)
    if name == "dense":
        from agentkd.retrievers.dense import DensePaths

        return DensePaths(kb)
    if name == "hybrid":
        from agentkd.retrievers.hybrid import HybridPaths

        return HybridPaths(kb)
    from agentkd.retrievers.dense import DensePaths

    return DensePaths(kb, Path(name))
