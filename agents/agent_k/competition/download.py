"""Download a competition's files: one archive, resumed, unpacked, put in place in one step.

The whole archive is better than single files with this client: one request instead of one per image (rate limits),
and its resume is safe (`Range` with `If-Range`, and a marker file with the ETag).
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import shutil
import stat
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from agentkd.errors import AgentkdError, WorldError
from agentkd.runs.disk import disk_error, sync_folder
from agentkd.runs.progress import LOG_EVERY, console
from agentkd.sandbox.remove import remove_folder

RESERVE = 1 << 28  # bytes of the disk that are left to the run
CHUNK = 1 << 16  # bytes: the client loses a chunk that is cut off; on a bad line its own 1 MiB may never arrive
MOST_MEMBERS = 3_000_000  # files in an archive
MOST_NAME, MOST_DEPTH = 1024, 32  # characters and folders of a file's name in an archive
RATIO, AMPLE = 200, 1 << 30  # times its size that an archive may unpack to, beyond so many bytes
LEADERBOARD = 1 << 26  # bytes
# Errors of the operating system that come from names in an archive; the others are the disk's.
OF_THE_ARCHIVE = (None, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)
NESTED = 3  # levels of archives in the archive that are unpacked: train.zip in the bundle is usual
Say = Callable[[str], None]


def is_unpacked(folder: Path) -> bool:
    """Whether all files are there: the folder appears by a rename, so it is whole or absent."""
    return folder.is_dir() and any(folder.iterdir())


def archive_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.zip")


def archive_size(archive: Path) -> int:
    return archive.stat().st_size if archive.exists() else 0


def fetch_archive(api: Any, http: Any, response: Any, archive: Path, say: Say) -> None:
    """Stream `response` (the client's, body unread) into `archive`, after its present bytes.

    Raises the client's errors for the network, WorldError for the disk."""
    import requests

    total = int(response.headers.get("Content-Length") or 0)
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        if not api.download_needed(response, str(archive)):
            return
        _check_room(archive.parent, total - archive_size(archive), "download")
        with _show_progress(archive, total, say):
            api.download_file(response, str(archive), http, quiet=True, resume=True, max_retries=0, chunk_size=CHUNK)
    except requests.RequestException:  # which is an OSError, too
        raise
    except OSError as error:
        raise disk_error(archive, error) from None


class DamagedArchive(WorldError):
    """An archive that cannot be unpacked. It has been removed, so that it is fetched anew."""


class RefusedArchive(WorldError):
    """An archive that leads out of its folder, or that would fill the disk."""

    def __init__(self, archive: Path, why: str) -> None:
        super().__init__(
            f"{archive} {why}: refused; if you trust it, unpack it yourself and give the folder", retry=False
        )


def unpack_archive(archive: Path, folder: Path, say: Say) -> None:
    """Unpack an archive, nested ones too, into `folder`, and remove the archive. The folder appears by a rename.

    Whatever error comes up, the archive is removed: DamagedArchive. RefusedArchive for one that `check_members`
    refuses, and WorldError if the disk is too small; then it stays, since another would be like it."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        remove_folder(part)  # left by a process that was killed
        say(f"unpacking {archive.stat().st_size / 1e6:,.1f} MB")
        _extract(archive, part)
        for _ in range(NESTED):
            for inner in [path for path in part.rglob("*.zip") if path.is_file()]:
                _extract_inner(inner, say)
        sync_folder(part)
        part.replace(folder)
        archive.unlink()
    except AgentkdError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_ARCHIVE:
            raise disk_error(folder, error) from None
        archive.unlink(missing_ok=True)
        raise DamagedArchive(f"the archive of {folder} is damaged ({describe(error)})") from None


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def check_members(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise RefusedArchive, WorldError where the disk is too small, and BadZipFile.

    An archive may have MOST_MEMBERS members, with names of MOST_NAME characters and MOST_DEPTH folders, and unpack to
    RATIO times its size. A member yields no more than its declared size, so no more than the sum is written."""
    if len(members) > MOST_MEMBERS:
        raise RefusedArchive(archive, f"holds {len(members):,} files, at most {MOST_MEMBERS:,} are unpacked")
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
            raise RefusedArchive(archive, f"holds {member.filename[:100]!r}, which leads out of it")
        if len(member.filename) > MOST_NAME or len(name.parts) > MOST_DEPTH:
            raise RefusedArchive(archive, f"holds {member.filename[:100]!r}, a name that is too long or too deep")
    packed, size = archive.stat().st_size, sum(member.file_size for member in members)
    if size > AMPLE and size > RATIO * packed:
        raise RefusedArchive(archive, f"unpacks to {size / 1e9:,.1f} GB, {size / max(packed, 1):,.0f} times its size")
    if sum(member.compress_size for member in members) > packed:  # members that share their bytes
        raise zipfile.BadZipFile("its files overlap")
    _check_room(archive.parent, size, "unpack")


def _extract(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        check_members(archive, bundle.infolist())
        target.mkdir(parents=True, exist_ok=True)
        bundle.extractall(target)


def _extract_inner(archive: Path, say: Say) -> None:
    """Replace X.zip by its content: next to it if that is one file or folder, else in a folder X.

    One that cannot be read, or is refused, stays as it is: it may not belong to the data."""
    inner = archive.with_name(f".{archive.name}.part")
    try:
        _extract(archive, inner)
    except RefusedArchive as error:
        say(str(error))
        remove_folder(inner)
        return
    except AgentkdError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_ARCHIVE:
            raise
        remove_folder(inner)
        return
    entries = [path for path in inner.iterdir() if path.name != "__MACOSX"]
    if len(entries) == 1 and not archive.with_name(entries[0].name).exists():
        entries[0].replace(archive.with_name(entries[0].name))
    elif entries and not archive.with_suffix("").exists():
        inner.replace(archive.with_suffix(""))
    else:
        remove_folder(inner)
        return
    remove_folder(inner)
    archive.unlink()


def _check_room(folder: Path, size: int, what: str) -> None:
    free = shutil.disk_usage(folder).free - RESERVE
    if size > free:
        raise WorldError(
            f"to {what} the data takes {size / 1e9:,.2f} GB and {folder} has {max(free, 0) / 1e9:,.2f} GB free: "
            f"make room, or choose another --out, and run the same command again",
            retry=False,
        )


@contextlib.contextmanager
def _show_progress(archive: Path, total: int, say: Say) -> Iterator[None]:
    """Show how far the file has grown: a bar on a terminal, else a line every LOG_EVERY seconds."""
    over = threading.Event()
    start, first = time.monotonic(), archive_size(archive)
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
                shown.update(task, completed=archive_size(archive))
            shown.update(task, completed=archive_size(archive))

    def lines() -> None:
        while not over.wait(LOG_EVERY):
            done = archive_size(archive)
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


def parse_leaderboard(content: bytes) -> list[float]:
    """Read the scores, by rank, from Kaggle's zip of one CSV (with a byte order mark)."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            member = bundle.infolist()[0]
            if member.file_size > LEADERBOARD:
                raise ValueError(f"{member.file_size:,} bytes, at most {LEADERBOARD:,} are read")
            text = bundle.read(member).decode("utf-8-sig")
        rows = [(int(row["Rank"]), float(row["Score"])) for row in csv.DictReader(io.StringIO(text)) if row["Score"]]
    except Exception as error:  # whatever it is that Kaggle has sent
        raise WorldError(f"Kaggle's leaderboard is not understood ({describe(error)}): pip install -U kaggle") from None
    return [score for _, score in sorted(rows, key=lambda row: row[0])]
