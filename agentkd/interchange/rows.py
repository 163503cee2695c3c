"""JSON values of files, one after another in bounded memory: JSON lines, arrays, single documents; also gzipped.

What is no JSON is rejected with file, line and reason, and the next line is read. In an array or a document nothing
after a fault can be read, which the reason says.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from agentkd.errors import UserError, near_file
from agentkd.runs.untrusted import LINE_BYTES, open_regular

HEAD_LINES = 20  # that say whether a file has a value on each line
CHUNK = 1 << 20
KINDS = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".ndjson.gz")


class Row(NamedTuple):
    """A JSON value, and where it begins."""

    value: Any
    file: Path
    line: int


Reject = Callable[[Path, int, str, str], None]
"""Takes what cannot be read: file, line, reason, and the text as far as it is known."""


class Malformed(ValueError):
    """A row that is not what its format says; the message is the reason."""


def find_files(names: Sequence[str]) -> list[Path]:
    """The files that are named, and those inside of named folders, in order of names.

    Raises UserError for what does not exist, a folder without files of KINDS, and a file that stands there twice."""
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.name.endswith(KINDS))
            if not inside:
                raise UserError(f"{path} has no file that ends in {', '.join(KINDS)}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"no such file or folder: {path}{near_file(path)}")
    if not found:
        raise UserError("import reads files of traces: name one, or a folder of them")
    if twice := next((path for path, count in Counter(found).items() if count > 1), None):
        raise UserError(f"{twice} is named twice: its traces would count twice")
    return found


def read_rows(file: Path, reject: Reject) -> Iterator[Row]:
    """All JSON values of a file, in order; the values of an array one by one."""
    with open_regular(file) as opened:
        packed = opened.read(2) == b"\x1f\x8b"
        opened.seek(0)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=opened)) if packed else opened
        try:
            head = list(itertools.islice(_lines(stream), HEAD_LINES))
            lines = itertools.chain(head, _lines(stream))
            yield from _of_lines(file, lines, reject) if _is_lines(head) else _of_document(file, lines, reject)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{file} cannot be read ({error}): copy it again") from None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; a longer one than LINE_BYTES comes in parts."""
    while line := stream.readline(LINE_BYTES + 1):
        yield line


def _is_lines(head: Sequence[bytes]) -> bool:
    """Whether a file has a value on each line, by its first lines."""
    full = [line.strip() for line in head if line.strip()]
    if not full or (full[0].startswith(b"[") and (len(full) == 1 or _value(full[0]) is None)):
        return False  # an array, in one line or in several
    return any(isinstance(_value(line), dict) for line in full)


def _value(line: bytes) -> Any:
    """The JSON value of a line; None where it has none."""
    try:
        return parse(line.decode("utf-8-sig"))
    except ValueError:
        return None


def parse(text: str) -> Any:
    """Parse JSON. Malformed for anything else, for NaN and Infinity, and where it is nested too deep."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise Malformed("nested too deep") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"no JSON ({error.msg.lower()} at character {error.pos + 1})") from None
    except Malformed:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise Malformed(f"no JSON ({error})") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"no JSON ({name} is no value)")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _of_lines(file: Path, lines: Iterator[bytes], reject: Reject) -> Iterator[Row]:
    number, long = 0, False
    for line in lines:
        if long:  # the rest of a line that was too long
            long = not line.endswith(b"\n")
            continue
        number += 1
        if len(line) > LINE_BYTES:
            long = not line.endswith(b"\n")
            reject(file, number, f"more than {LINE_BYTES >> 20} MB in a line", "")
            continue
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            reject(file, number, "not UTF-8 text", line.decode(errors="replace"))
            continue
        try:
            yield Row(parse(text), file, number)
        except Malformed as error:
            reject(file, number, str(error), text)


def _of_document(file: Path, lines: Iterator[bytes], reject: Reject) -> Iterator[Row]:
    """The elements of an array, or values that follow each other."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    text, place, line, wanted, ended = "", 0, 1, CHUNK, False

    def fill() -> None:
        nonlocal text, place, line, ended
        line += text.count("\n", 0, place)
        parts, size = [text[place:]], len(text) - place
        for part in lines:
            parts.append(decoder.decode(part))
            size += len(part)
            if size >= wanted:
                break
        else:
            ended = True
            parts.append(decoder.decode(b"", final=True))
        text, place = "".join(parts), 0

    def here() -> int:
        return line + text.count("\n", 0, place)

    inside = False
    try:
        fill()
        while True:
            while place < len(text) and text[place] in " \t\r\n,":
                place += 1
            if place == len(text):
                if ended:
                    if inside:
                        reject(file, here(), "the array has no end: the file was cut off", "")
                    return
                fill()
            elif text[place] == "[" and not inside:
                inside, place = True, place + 1
            elif text[place] == "]" and inside:
                return
            else:
                try:
                    value, end = _DECODER.raw_decode(text, place)
                except json.JSONDecodeError as error:
                    if not ended and len(text) - place <= LINE_BYTES:
                        wanted = max(CHUNK, 2 * (len(text) - place))
                        fill()
                        continue
                    reason = f"no JSON ({error.msg.lower()}), and nothing after it can be read"
                    reject(file, here(), reason, text[place : place + CHUNK])
                    return
                yield Row(value, file, here())
                place, wanted = end, CHUNK
                if place > CHUNK:
                    fill()
    except UnicodeDecodeError:
        reject(file, here(), "not UTF-8 text, and nothing after it can be read", "")
    except (RecursionError, ValueError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        reject(file, here(), f"{reason}, and nothing after it can be read", "")
