"""The competition's files: one archive, fetched on where it was cut off, unpacked, and put in place in one step.

The whole archive is better than file by file with this client: one request instead of one for each image (rate limits),
and its resume is safe (`Range` with `If-Range`, and a marker with the ETag beside the file).
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import stat
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from agentkd.errors import WorldError
from agentkd.runs.disk import disk_error, sync_folder
from agentkd.runs.progress import LOG_EVERY, console

RESERVE = 1 << 28  # bytes of the disk that are left to the run
CHUNK = 1 << 16  # bytes: the client loses a chunk that is cut off, and its own 1 MiB may never come through
NESTED = 3  # archives in archives: train.zip in the bundle is usual, more than this is not
Say = Callable[[str], None]


def is_there(folder: Path) -> bool:
    """It comes by a rename, so it is whole where it has anything in it."""
    return folder.is_dir() and any(folder.iterdir())


def archive_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.zip")


def size_of(archive: Path) -> int:
    return archive.stat().st_size if archive.exists() else 0


def fetch(api: Any, http: Any, response: Any, archive: Path, say: Say) -> None:
    """Stream `response` (the client's, body not read) into `archive`, from the byte on that is there already.

    Raises what the client raises for the network, WorldError for the disk."""
    import requests

    total = int(response.headers.get("Content-Length") or 0)
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        if not api.download_needed(response, str(archive)):
            return
        _room(archive.parent, total - size_of(archive), "download")
        with _shown(archive, total, say):
            api.download_file(response, str(archive), http, quiet=True, resume=True, max_retries=0, chunk_size=CHUNK)
    except requests.RequestException:  # an OSError, too
        raise
    except OSError as error:
        raise disk_error(archive, error) from None


def unpack(archive: Path, folder: Path, say: Say) -> None:
    """Extract into a folder beside, archives within archives too, then rename it to `folder` and remove the archive.

    WorldError where the disk is too small, the archive is damaged (it is then removed, to be fetched again), or one of
    its names leads out of the folder."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        say(f"unpacking {archive.stat().st_size / 1e6:,.1f} MB")
        _extract(archive, part)
        for _ in range(NESTED):
            for inner in [path for path in part.rglob("*.zip") if path.is_file()]:
                _extract_beside(inner)
        sync_folder(part)
        part.replace(folder)
        archive.unlink()
    except (
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:  # the latter: a password, a method
        archive.unlink(missing_ok=True)
        raise WorldError(
            f"the archive of {folder} is damaged ({error}): run the same command again, it is fetched anew"
        ) from None
    except OSError as error:
        raise disk_error(folder, error) from None


def _extract(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        members = bundle.infolist()
        for member in members:
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
                raise WorldError(f"{archive} holds {member.filename!r}, which leads out of it: refused", retry=False)
        # A member yields no more than its declared size, so the sum is what will be written.
        _room(archive.parent, sum(member.file_size for member in members), "unpack")
        target.mkdir(parents=True, exist_ok=True)
        bundle.extractall(target)


def _extract_beside(archive: Path) -> None:
    """X.zip becomes what is in it: beside it, where that is one file or one folder, else in a folder X. One that cannot
    be read stays as it is: it may be no part of the data."""
    inner = archive.with_name(f".{archive.name}.part")
    try:
        _extract(archive, inner)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError):
        shutil.rmtree(inner, ignore_errors=True)
        return
    entries = [path for path in inner.iterdir() if path.name != "__MACOSX"]
    if len(entries) == 1 and not archive.with_name(entries[0].name).exists():
        entries[0].replace(archive.with_name(entries[0].name))
    elif entries and not archive.with_suffix("").exists():
        inner.replace(archive.with_suffix(""))
    else:
        shutil.rmtree(inner)
        return
    shutil.rmtree(inner, ignore_errors=True)
    archive.unlink()


def _room(folder: Path, size: int, what: str) -> None:
    free = shutil.disk_usage(folder).free - RESERVE
    if size > free:
        raise WorldError(
            f"to {what} the data takes {size / 1e9:,.2f} GB and {folder} has {max(free, 0) / 1e9:,.2f} GB free: "
            f"make room, or choose another --out, and run the same command again",
            retry=False,
        )


@contextlib.contextmanager
def _shown(archive: Path, total: int, say: Say) -> Iterator[None]:
    """How far the file has grown: a bar on a terminal, a line every LOG_EVERY seconds elsewhere."""
    over = threading.Event()
    start, first = time.monotonic(), size_of(archive)
    if first:
        say(f"download goes on at {first / 1e6:,.1f} of {total / 1e6:,.1f} MB")

    def bar() -> None:
        columns = (
            TextColumn("download"),
            BarColumn(24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console) as shown:
            task = shown.add_task("download", total=total or None, completed=first)
            while not over.wait(0.2):
                shown.update(task, completed=size_of(archive))
            shown.update(task, completed=size_of(archive))

    def lines() -> None:
        while not over.wait(LOG_EVERY):
            done = size_of(archive)
            rate = (done - first) / (time.monotonic() - start)
            left = f" · {(total - done) / rate:.0f} s left" if rate > 0 and total > done else ""
            say(f"download {done / 1e6:,.1f}/{total / 1e6:,.1f} MB · {rate / 1e6:.2f} MB/s{left}")

    watcher = threading.Thread(target=bar if sys.stderr.isatty() else lines, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def leaderboard_scores(content: bytes) -> list[float]:
    """The scores in Kaggle's zip of one CSV (with a byte order mark), in the order of the ranks."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            text = bundle.read(bundle.namelist()[0]).decode("utf-8-sig")
        rows = [(int(row["Rank"]), float(row["Score"])) for row in csv.DictReader(io.StringIO(text)) if row["Score"]]
    except (zipfile.BadZipFile, IndexError, KeyError, TypeError, ValueError) as error:
        raise WorldError(f"Kaggle's leaderboard is not understood ({error!r}): pip install -U kaggle") from None
    return [score for _, score in sorted(rows, key=lambda row: row[0])]
