"""Nothing is left of a run: no process, no temporary folder, whoever is killed; and no trap for who reads its files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkd.sandbox import temporary
from agentkd.sandbox.bubblewrap import find_binaries
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.orphans import NAME, end_orphans
from agentkd.sandbox.safe_read import UnsafeFile, read_inside
from agentkd.sandbox.sandbox import Sandbox
from agentkd.sandbox.temporary import remove_abandoned, temporary_folder
from tests.support.paths import ROOT
from tests.support.processes import cmdline, gone, lives
from tests.support.sandboxes import KINDS, opened
from tests.support.scene import SECRET

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere /proc does not tell")

# Three processes, of which one has left the session and has no parent.
LINGERS = """
import os, sys, time
if not os.fork():
    os.setsid()
    os.fork()
else:
    open("begun", "w").write("x")
time.sleep(60)
"""
HOLDER = f"""
import sys
from pathlib import Path
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import open_sandbox
kind, work, token = sys.argv[1:]
argv = [sys.executable, "-S", "-c", {LINGERS!r}, token]
try:
    open_sandbox(kind).run(argv, work=Path(work), limits=Limits(seconds=60))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(params=KINDS)
def any_kind(request: pytest.FixtureRequest) -> Sandbox:
    return opened(request.param)


def living(token: str) -> list[int]:
    """The processes whose command has this token."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(met: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not met() and time.monotonic() < deadline:
        time.sleep(0.02)
    return met()


def new_token() -> str:
    return f"token-{os.getpid()}-{time.monotonic_ns()}"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_we_are_gone(tmp_path: Path, any_kind: Sandbox, signum: int) -> None:
    token = new_token()
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", HOLDER, any_kind.kind, str(tmp_path / "work"), token]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert wait_until((tmp_path / "work/begun").exists)
    assert len(living(token)) >= 4  # the holder, and three of the code's
    holder.send_signal(signum)
    said, _ = holder.communicate(timeout=30)
    if signum == signal.SIGINT:
        assert said == "interrupted\n"
        assert living(token) == []
    assert wait_until(lambda: not living(token), 10)
    assert wait_until(lambda: not os.listdir(tmp_path / "tmp"), 10)
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {os.geteuid()}


@pytest.mark.parametrize("above", [1, 2], ids=["parent", "grandparent"])
def test_nothing_is_left_when_a_supervisor_is_killed(tmp_path: Path, any_kind: Sandbox, above: int) -> None:
    """In bubblewrap these are its first process and bwrap itself, else the supervisor and its guard."""
    token = new_token()
    argv = [sys.executable, "-S", "-c", LINGERS, token]
    outcomes = []

    def run() -> None:
        outcomes.append(any_kind.run(argv, work=tmp_path, limits=Limits(seconds=60)))

    thread = threading.Thread(target=run)
    thread.start()
    assert wait_until((tmp_path / "begun").exists)
    code = {pid for pid in living(token) if command_of(pid).startswith(f"{sys.executable}\0-S")}
    killed = next(pid for pid in code if parent_of(pid) not in code)
    for _ in range(above):
        killed = parent_of(killed)
    os.kill(killed, signal.SIGKILL)
    thread.join(30)
    assert outcomes and not outcomes[0].ok
    assert living(token) == []


def test_a_temporary_folder_of_somebody_killed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(tmp_path))
    (other := tmp_path / "agentkd-other").mkdir()
    (young := tmp_path / "agentkd-sandbox-young").mkdir()
    remove_abandoned()
    assert young.exists()
    monkeypatch.setattr(temporary, "_YOUNG", 0)
    (tmp_path / "agentkd-sandbox-link").symlink_to(other)
    with temporary_folder() as used:
        remove_abandoned()
        assert used.exists() and not young.exists() and other.exists()
    assert not used.exists()


def test_no_descriptor_is_inherited(tmp_path: Path, any_kind: Sandbox) -> None:
    with open(os.open("/dev/zero", os.O_RDONLY)) as file:
        os.set_inheritable(file.fileno(), True)
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
        argv = [sys.executable, "-S", "-c", code]
        assert any_kind.run(argv, work=tmp_path, limits=Limits(seconds=30)).output == "[0, 1, 2, 3]\n"  # 3: the listing


def test_links_left_behind_are_not_followed(tmp_path: Path, any_kind: Sandbox) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (work := tmp_path / "work").mkdir()
    code = f"import os; os.symlink({str(tmp_path / 'secret')!r}, 'oof.csv')"
    any_kind.run([sys.executable, "-S", "-c", code], work=work, limits=Limits(seconds=30))
    assert (work / "oof.csv").read_text() == SECRET  # what a reader who follows it would get
    with pytest.raises(UnsafeFile, match=r"'oof.csv' is refused: 'oof.csv' is a symbolic link"):
        read_inside(work, "oof.csv", 1000)


def test_links_that_change_while_they_are_read_are_not_followed(tmp_path: Path) -> None:
    """A folder becomes a link to another, and a folder again, until both readers have met both."""
    (work := tmp_path / "work").mkdir()
    for folder, text in ((tmp_path / "outside", SECRET), (work / "real", "ours")):
        folder.mkdir()
        (folder / "file").write_text(text)
    (work / "link").symlink_to(tmp_path / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for name in ("real", "link"):
                (work / name).rename(work / "now")
                (work / "now").rename(work / name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    naive, safe, refused = set(), set(), 0
    deadline = time.monotonic() + 60
    while not ({SECRET, "ours"} <= naive and safe and refused) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            naive.add((work / "now/file").read_text())
        try:
            safe.add(read_inside(work, "now/file", 100))
        except FileNotFoundError:
            pass
        except UnsafeFile:
            refused += 1
    stop.set()
    swapper.join()
    assert naive == {SECRET, "ours"} and refused and safe == {b"ours"}


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (work := tmp_path / "work").mkdir()
    (work / "deep").mkdir()
    (work / "deep/oof.csv").write_text("id,y\n")
    assert read_inside(work, "deep/oof.csv", 5) == b"id,y\n"
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text(SECRET)
    (work / "door").symlink_to(tmp_path / "folder")
    os.link(tmp_path / "secret", work / "hard")
    os.mkfifo(work / "fifo")
    refused = ("../secret", "deep/../../secret", str(tmp_path / "secret"), "", ".", "deep/", "a\0b")
    for name in (*refused, "door/file", "hard", "fifo", "deep", "deep/oof.csv/x"):
        with pytest.raises(UnsafeFile) as error:
            read_inside(work, name, 1000)
        assert "\n" not in str(error.value)
    with pytest.raises(UnsafeFile, match=r"has 5 bytes: at most 4"):
        read_inside(work, "deep/oof.csv", 4)
    with pytest.raises(FileNotFoundError):
        read_inside(work, "deep/none.csv", 4)


def named() -> list[int]:
    """The living processes whose argv[0] is ours."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if cmdline(pid).partition(b"\0")[0] == NAME.encode() and lives(pid)]


def test_what_a_dying_bwrap_leaves_is_ended(tmp_path: Path) -> None:
    """It dies as it does with us: it cannot tell the first process's number, as nobody listens any more."""
    binaries = find_binaries()
    if not binaries:
        pytest.skip("there is no bwrap")
    nobody, info = os.pipe()
    os.close(nobody)
    before = set(named())
    argv = [NAME, "--unshare-all", "--unshare-user", "--die-with-parent", "--ro-bind", "/", "/", "--info-fd", str(info)]
    with (tmp_path / "said").open("w") as file:
        done = subprocess.run([*argv, "true"], executable=binaries[0], pass_fds=[info], stderr=file)
    os.close(info)
    if done.returncode != -signal.SIGPIPE:
        pytest.skip(f"bwrap does not start here: {(tmp_path / 'said').read_text()}")
    left = [pid for pid in named() if pid not in before]
    assert len(left) == 1 and gone(left, seconds=0.5) is False, "it would wait for ever"
    end_orphans()
    assert gone(left, seconds=30)
