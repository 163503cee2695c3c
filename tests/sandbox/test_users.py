"""Root's code runs as a user of its own: what it can read, what it leaves, and where it cannot be had."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.remove import remove_folder
from agentkd.sandbox.sandbox import Sandbox
from agentkd.sandbox.unprivileged import choose_user, hand_over, take_back
from tests.support.paths import ROOT
from tests.support.sandboxes import ISOLATED, opened

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives code another user")
USER = 1_900_000_000
# What Docker leaves to root.
DOCKER = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod setfcap"

WHO = """
import json, os
outside = next(line.split() for line in open("/proc/self/uid_map") if int(line.split()[0]) <= os.getuid())
found = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
os.makedirs("made/deep")
open("made/file", "w").write("x")
open("/dev/stdout", "w").close()
print(json.dumps([os.getuid() + int(outside[1]) - int(outside[0]), os.getgroups(), {*found} == {"0" * 16}]))
"""


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest) -> Sandbox:
    return opened(request.param)


def owners(folder: Path) -> set[tuple[int, int]]:
    found = [folder, *folder.rglob("*")]
    return {(os.lstat(path).st_uid, os.lstat(path).st_gid) for path in found}


def test_code_is_a_user_that_nobody_is(tmp_path: Path, isolated: Sandbox) -> None:
    """Also where all that it reads and writes is open to root alone."""
    umask = os.umask(0o077)
    try:
        (work := tmp_path / "closed/run/work").mkdir(parents=True)
        (data := tmp_path / "closed/data").mkdir()
        (data / "train.csv").write_text("id\n")
        (tmp_path / "link").symlink_to(data)
        code = WHO + f"assert open({str(tmp_path / 'link/train.csv')!r}).read() == 'id\\n'"
        argv = [sys.executable, "-S", "-c", code]
        outcome = isolated.run(argv, work=work, read=[tmp_path / "link"], limits=Limits(seconds=30))
    finally:
        os.umask(umask)
    assert outcome.ok, outcome
    user, groups, powerless = json.loads(outcome.output)
    assert user > 65_536 and groups == [] and powerless
    with pytest.raises(KeyError):
        pwd.getpwuid(user)
    assert owners(work) == {(0, 0)} and (work / "made/file").stat().st_mode & 0o777 == 0o600
    assert (data / "train.csv").stat().st_mode & 0o777 == 0o600


def test_each_run_has_its_own() -> None:
    assert len({choose_user() for _ in range(50)}) == 50


def test_a_folder_is_handed_over_and_taken_back(tmp_path: Path) -> None:
    (work := tmp_path / "work").mkdir()
    (outside := tmp_path / "outside").write_text("x")
    os.link(outside, work / "hard")
    (work / "link").symlink_to(outside)
    (work / "file").write_text("x")
    deepest = os.open(work, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=deepest)
        below = os.open("d", os.O_RDONLY, dir_fd=deepest)
        os.close(deepest)
        deepest = below
    hand_over(str(work), USER)
    assert {os.lstat(work / name).st_uid for name in (".", "link", "file", "d/d/d")} == {USER}
    assert os.fstat(deepest).st_uid == USER
    assert os.stat(outside).st_uid == 0
    os.chown(work / "file", USER, USER)
    os.chown(work / "hard", 12_345, -1)
    take_back([str(work)], USER)
    assert {os.lstat(work / name).st_uid for name in (".", "link", "file", "d/d/d")} == {0}
    assert os.fstat(deepest).st_uid == 0 and os.stat(work / "file").st_gid == 0
    assert os.stat(outside).st_uid == 12_345  # belongs to somebody else
    os.close(deepest)
    remove_folder(work)  # pytest's own removal cannot go as deep


CONFINED = """
import json, sys
from pathlib import Path
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.remove import remove_folder
from agentkd.sandbox.sandbox import open_sandbox
said = []
sandbox = open_sandbox("landlock", said.append)
limits = Limits(seconds=30, disk_mb=10)
run = lambda code: sandbox.run([sys.executable, "-S", "-c", code], work=Path(sys.argv[1]), limits=limits)
outcomes = [vars(run(code)) for code in sys.argv[2:]]
print(json.dumps([said, outcomes]))
"""
MOVES = "import os; os.rename('made', 'moved')"
HIDES = """
import os, time
held = [open("x", "wb"), open("y", "wb")]
for file in held:
    os.unlink(file.name)
    file.write(b"x" * 8_000_000)
time.sleep(20)
"""


def confined(capabilities: str, folder: Path) -> tuple[list[str], list[Outcome]]:
    """Run WHO, MOVES and HIDES under Landlock, as root with only these capabilities.

    Returns what was said, and the outcomes."""
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    python = sys.executable
    if is_closed(Path(python).resolve()):
        python = shutil.which("python3", path="/usr/bin") or pytest.skip("Python is closed to others")
    if is_closed(ROOT):
        pytest.skip("the checkout is closed to others")
    bounds = ",".join(["-all", *(f"+{name}" for name in capabilities.split())])
    command = ["setpriv", "--inh-caps=-all", f"--bounding-set={bounds}", python, "-c", CONFINED, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, WHO, MOVES, HIDES], capture_output=True, text=True, env=environment)
    if "SyntaxError" in done.stderr or "Landlock: version" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    said, outcomes = json.loads(done.stdout)
    return said, [Outcome(**outcome) for outcome in outcomes]


def is_closed(path: Path) -> bool:
    return not all(part.stat().st_mode & 1 for part in path.parents)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_in_a_container_the_work_folder_is_handed_over(open_folder: Path) -> None:
    said, (first, moved, hidden) = confined(DOCKER, open_folder)
    user, _, powerless = json.loads(first.output)
    assert user > 65_536 and powerless and moved.ok
    assert hidden.stopped == "disk"
    assert len(said) == 1 and "the sandbox is Landlock" in said[0]
    assert owners(open_folder) == {(0, 0)} and (open_folder / "moved/file").read_text() == "x"


@pytest.mark.whole
@pytest.mark.parametrize("capabilities", [DOCKER, ""], ids=["closed to others", "without capabilities"])
def test_a_warning_says_that_code_runs_as_root(tmp_path: Path, capabilities: str) -> None:
    tmp_path.chmod(0o700)
    said, (first, *_) = confined(capabilities, tmp_path)
    user, _, powerless = json.loads(first.output)
    assert user == 0 and powerless
    warned = [line for line in said if "runs as root" in line]
    assert len(warned) == 1 and "\n" not in warned[0]
    assert ("only root may enter" if capabilities else "root may not become another user here") in warned[0]
