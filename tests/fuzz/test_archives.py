"""Downloads: a damaged archive ends in one line and is gone, one that is refused stays, and nothing lies outside."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from agentkd.agents.agent_k.competition.download import DamagedArchive, parse_leaderboard, unpack_archive
from agentkd.errors import WorldError
from tests.support.fuzz import damage, fuzz

pytestmark = pytest.mark.whole
NAMES = (
    "train.csv", "a/b.csv", "../out.csv", "/out.csv", "a" * 300, "x/" * 40 + "y", "é.csv", "a", "a/b", "C:\\x", "a\0b",
)  # fmt: skip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def an_archive(random: random.Random, levels: int = 2) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", random.choice(METHODS)) as bundle:
        for _ in range(random.randint(0, 4)):
            inner = levels > 0 and random.random() < 0.3
            name = random.choice(NAMES) if random.random() < 0.4 else f"{random.randrange(5)}.csv"
            data = (
                an_archive(random, levels - 1) if inner else b"id,y\n" + random.randbytes(random.choice((0, 50, 5000)))
            )
            bundle.writestr(f"{name}.zip" if inner else name, data)
    made = content.getvalue()
    return damage(random, made) if random.random() < 0.5 else made


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives(tmp_path: Path) -> None:
    def one_round(random: random.Random) -> None:
        home = tmp_path / "a" / "b"
        home.mkdir(parents=True)
        archive, folder = home / ".data.zip", home / "data"
        archive.write_bytes(an_archive(random))
        try:
            unpack_archive(archive, folder, lambda line: None)
        except DamagedArchive as error:
            assert not archive.exists() and not folder.exists() and "\n" not in str(error)
        except WorldError as error:
            assert archive.exists() and not folder.exists() and not error.retry
        else:
            assert folder.is_dir() and not archive.exists()
        assert {path.name for path in tmp_path.iterdir()} == {"a"} and {
            path.name for path in home.parent.iterdir()
        } == {"b"}
        shutil.rmtree(tmp_path / "a")

    fuzz(one_round, rounds=800)


def test_leaderboards() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("board.csv", "\ufeffRank,TeamId,Score\n" + "".join(f"{n},x,{n / 7}\n" for n in range(50)))

    def one_round(random: random.Random) -> None:
        with contextlib.suppress(WorldError):
            parse_leaderboard(damage(random, content.getvalue()))

    fuzz(one_round, rounds=20000)
