"""The documents of a corpus, one after another: JSON lines with a text, or text files with a document a line."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from agentkd.errors import UserError
from agentkd.runs.untrusted import LINE_BYTES, open_regular, parse_json

KINDS = (".jsonl", ".txt", ".jsonl.gz", ".txt.gz")


class Document(NamedTuple):
    """A text, and the JSON line that holds it in the corpus, without its end; None in a text file."""

    text: str
    record: bytes | None


def find_files(corpus: str, option: str = "--corpus") -> list[Path]:
    """The files that a comma-separated list of files and folders names, those of a folder in order of names.

    Raises UserError, with the `option` that names them, for what does not exist, holds no corpus, or stands there
    twice."""
    found: list[Path] = []
    for name in filter(None, (part.strip() for part in corpus.split(","))):
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.name.endswith(KINDS))
            if not inside:
                raise UserError(f"{path} has no file that ends in {', '.join(KINDS)}")
            found += inside
        elif not path.is_file():
            raise UserError(f"no such file or folder: {path}; give {option} files of {', '.join(KINDS)}")
        elif not path.name.endswith(KINDS):
            raise UserError(f"{path} is no corpus by its name: it must end in {', '.join(KINDS)}")
        else:
            found.append(path)
    if not found:
        raise UserError(f"{option} names no file: give files or folders, comma-separated")
    if twice := next((path for path, count in Counter(found).items() if count > 1), None):
        raise UserError(f"{option} names {twice} twice: its documents would count twice")
    return found


def read_documents(files: Sequence[Path], field: str) -> Iterator[Document]:
    """All documents in order. Raises UserError, with file and line, for one that has no text in `field`."""
    for file in files:
        is_json = ".jsonl" in file.suffixes
        for number, line in enumerate(_read_lines(file), 1):
            if is_json:
                yield Document(_json_text(file, number, line, field), line)
            else:
                yield Document(_decode(file, number, line), None)


def _read_lines(file: Path) -> Iterator[bytes]:
    with open_regular(file) as opened:
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=opened)) if file.suffix == ".gz" else opened
        number = 0
        while True:
            number += 1
            try:
                line = stream.readline(LINE_BYTES + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise UserError(f"{file}:{number}: cannot be unpacked ({error}): copy the file again") from None
            if not line:
                return
            if len(line) > LINE_BYTES:
                raise UserError(f"{file}:{number} has more than {LINE_BYTES >> 20} MB: split it into documents")
            yield line.rstrip(b"\r\n")


def _json_text(file: Path, number: int, line: bytes, field: str) -> str:
    if not line.strip():
        return ""
    try:
        row = parse_json(line)
    except ValueError:
        raise UserError(f"{file}:{number} is no JSON: write one object a line, {{{field!r}: …}}") from None
    text = row.get(field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        names = ", ".join(list(row)[:8]) if isinstance(row, dict) else type(row).__name__
        raise UserError(f"{file}:{number} has no text in {field!r} (it has {names}): give field=NAME")
    return text


def _decode(file: Path, number: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise UserError(f"{file}:{number} is not UTF-8: convert it, or leave the line out") from None
