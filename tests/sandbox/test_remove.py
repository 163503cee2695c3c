"""Work folders are removed, whatever code has made of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from agentkd.sandbox.remove import remove_folder


def nest(folder: Path, depth: int) -> None:
    """Folders inside folders, a file and a link in each; too deep to be named by one path."""
    opened = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=opened)
        below = os.open("d", os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = below
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=opened))
        os.symlink("/", "link", dir_fd=opened)
    os.close(opened)


def test_deep_folders_are_removed(tmp_path: Path) -> None:
    (work := tmp_path / "work").mkdir()
    nest(work, 1500)
    remove_folder(work)
    assert os.listdir(tmp_path) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (kept / "file").write_text("x")
    (work := tmp_path / "work").mkdir()
    (work / "folder").symlink_to(kept)
    (work / "file").symlink_to(kept / "file")
    os.mkfifo(work / "fifo")
    remove_folder(work)
    (tmp_path / "door").symlink_to(kept)
    remove_folder(tmp_path / "door")
    remove_folder(tmp_path / "none")
    assert os.listdir(tmp_path) == ["kept"] and os.listdir(kept) == ["file"]


def test_folders_without_permissions_are_removed(tmp_path: Path) -> None:
    """As root this shows less: the suite run by another user shows it all."""
    (work := tmp_path / "work").mkdir()
    (work / "a/b/c").mkdir(parents=True)
    (work / "a/b/file").write_text("x")
    for path in ("a/b/c", "a/b", "a", ""):
        (work / path).chmod(0)
    remove_folder(work)
    assert not work.exists()


@pytest.mark.parametrize("seed", range(3))
def test_any_tree_is_removed(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    folders = [tmp_path / "work"]
    folders[0].mkdir()
    for number in range(300):
        path = draw.choice(folders) / draw.choice([f"{number}", f"…{number}", f"\udcff{number}", f".removed-{number}"])
        if draw.random() < 0.5:
            path.mkdir()
            folders.append(path)
        else:
            path.write_text("x")
    for path in sorted(draw.sample(folders, 20), key=lambda path: -len(path.parts)):  # the innermost first
        path.chmod(draw.choice([0, 0o100, 0o500, 0o700]))
    remove_folder(tmp_path / "work")
    assert os.listdir(tmp_path) == []
