"""A corpus of prose that installed packages ship: the docstrings of their Python files, one a line of JSON.

    python scripts/package_texts.py --out texts.jsonl --megabytes 25

Only docstrings of 200 characters or more are taken, each once, with the file that it is from. Their licences are those
of the packages, so the corpus stays on the machine.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

SHORTEST, LARGEST = 200, 2_000_000  # characters of a docstring, bytes of a file


def docstrings(file: Path) -> Iterator[str]:
    """The docstrings of a Python file, without indentation; none of a file that cannot be read."""
    try:
        if file.stat().st_size > LARGEST:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text and len(text) >= SHORTEST:
                yield inspect.cleandoc(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=25.0, help="stop after this much text")
    options = parser.parse_args()
    folders = [Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib")]
    files = sorted({file for folder in folders for file in folder.rglob("*.py")})
    # in the order of a hash, so that a small corpus is from all packages
    files.sort(key=lambda file: hashlib.sha256("/".join(file.parts[-3:]).encode()).digest())
    seen: set[bytes] = set()
    size = 0
    with options.out.open("w", encoding="utf-8") as out:
        for file in files:
            if size >= options.megabytes * 1e6:
                break
            for text in docstrings(file):
                key = hashlib.sha256(text.encode()).digest()
                if key not in seen:
                    seen.add(key)
                    size += len(text.encode())
                    out.write(json.dumps({"text": text, "file": "/".join(file.parts[-2:])}) + "\n")
    print(f"{len(seen):,} docstrings, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
