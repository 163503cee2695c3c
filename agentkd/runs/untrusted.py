"""Reads files of a run directory that may come from anybody: no links out of it, no pipes, and bounds on size."""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from agentkd.errors import UserError

CONFIG_BYTES = 1_000_000
METRICS_BYTES = 100_000_000
LINE_BYTES = 64_000_000  # of one line of a shard
WORKSPACE, DATA = "workspace", "data"  # of Agent K: code of models works inside of its folders


def refuse_links(folder: Path) -> None:
    """Raise UserError if a folder that is about to be written holds links, pipes or devices.

    Below `workspace/` only names are looked at that agentkd itself gives: code of models may have left a link in a
    folder of its own, and `workspace/data` may be a link to a competition's folder."""
    for place, folders, files in os.walk(folder):
        parts = Path(place).relative_to(folder).parts
        if parts == (WORKSPACE,) and DATA in folders:
            folders.remove(DATA)
        for name in (*folders, *files):
            path = Path(place, name)
            try:
                kind = path.lstat().st_mode
            except FileNotFoundError:  # it has gone since, as a temporary file does
                continue
            if stat.S_ISLNK(kind):
                raise UserError(
                    f"{path} is a link to {os.readlink(path)}: agentkd writes through no link in a run directory; "
                    f"put the file itself there, or link the whole directory"
                )
            if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
                raise UserError(f"{path} is no regular file: remove it")
        if parts[:1] == (WORKSPACE,) and len(parts) > 1:
            folders.clear()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. UserError for a pipe or a device, which may never end."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(file).st_mode
    if stat.S_ISREG(kind):
        return open(file, "rb")
    os.close(file)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(21, "Is a directory", str(path))
    raise UserError(f"{path} is no regular file: remove it")


def read_small(path: Path, limit: int) -> bytes:
    """Read a regular file. UserError where it has more than `limit` bytes."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UserError(f"{path} has more than {limit / 1e6:g} MB, so agentkd has not written it: remove or restore it")
    return content


def read_file_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file. UserError for one of more than LINE_BYTES."""
    with open_regular(path) as file:
        for number in itertools.count(1):
            line = file.readline(LINE_BYTES + 1)
            if len(line) > LINE_BYTES:
                raise UserError(f"{path}:{number} has more than {LINE_BYTES / 1e6:g} MB: remove or restore the file")
            if not line:
                return
            yield line


def parse_json(text: bytes) -> Any:
    """Parse JSON. ValueError for anything else, however deep it is nested."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


class _Loader(yaml.SafeLoader):
    """Plain values only, and no aliases: a few lines of them can stand for more than fits into memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def parse_yaml(text: bytes | str) -> Any:
    """Parse YAML without tags and aliases. ValueError for anything else, however deep it is nested."""
    try:
        return yaml.load(text.decode() if isinstance(text, bytes) else text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
