"""Commands forked from a process that has imported what they need: they start in milliseconds instead of seconds.

`warm(*modules)` leads to that process, which has one thread and runs no command itself. All workers of pytest share it.
`Warm.popen` forks it, and gives what tests use of `subprocess.Popen`: pipes, exit status, real signals. The fork has
its own argv, environment, folder and process group. It shares what an interpreter fixes when it starts: the seed of
string hashes, `sys.path`, what modules have read from the environment. So a test of start-up, of imports or of
isolation starts a real process, and a test that compares two runs starts one of them as a real process.

    python -m tests.support.warm MODULE…      is the warm process; it prints its folder, and ends when nobody holds it
"""

from __future__ import annotations

import array
import atexit
import contextlib
import fcntl
import functools
import gc
import hashlib
import importlib
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from agentkd.sandbox import supervised
from agentkd.sandbox.limits import RunPlan, StartedRun, resource_limits
from tests.support.paths import ROOT

PIPE = subprocess.PIPE
_start_supervised = supervised.start
SHARED = "AGENTKD_TESTS_SHARED"  # variable: a folder of this run of pytest, the same in all its workers
_SOLVERS = "AGENTKD_TESTS_WARM"  # variable: the socket that a forked command forks its solvers from
KAGGLE = (  # all that a run of Agent K and its solvers import; not torch, nor kaggle, which logs in when it is imported
    "pandas", "pandas.io.formats.csvs", "pyarrow.pandas_compat", "sklearn.ensemble", "sklearn.linear_model", "lightgbm",
    "langgraph.checkpoint.sqlite.aio", "openai", "kagglesdk", "bleach", "slugify", "tqdm", "dotenv",
    "google.protobuf.field_mask_pb2", "dateutil.relativedelta", "agentkd.cli.main", "agentkd.cli.kaggle",
    "agentkd.agents.agent_k.competition.kaggle", "agentkd.agents.agent_k.competition.download",
    "agentkd.agents.agent_k.graph", "agentkd.agents.agent_k.run", "agentkd.agents.agent_k.solvers.registry",
    "agentkd.report.write",
)  # fmt: skip
KBQA = (
    "langgraph.graph", "openai", "bm25s", "rich._emoji_codes", "agentkd.cli.main", "agentkd.generate",
    "agentkd.agents.kd_cot", "agentkd.agents.cot", "agentkd.agents.one_call", "agentkd.agents.rag",
    "agentkd.agents.top_path", "agentkd.agents.path_writer", "agentkd.tasks.load", "agentkd.retrievers.sparql",
    "agentkd.report.page", "agentkd.tasks.files",
)  # fmt: skip
TRAIN = (*KBQA, "torch", "transformers", "trl", "peft", "datasets", "agentkd.distill.train")


class Warm:
    """A warm process that this process holds: it lives until the last of its holders ends. `path` is the socket that
    it forks for."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "fork")
        self._hold = socket.socket(socket.AF_UNIX)
        self._hold.connect(str(folder / "hold"))
        if not self._hold.recv(1):
            raise EOFError("the warm process has just ended")

    def popen(self, argv: Sequence[str], **options: Any) -> Forked:
        return Forked(self.path, argv, **options)

    def run(self, argv: Sequence[str], *, timeout: float = 600, **options: Any) -> subprocess.CompletedProcess[str]:
        """As subprocess.run with captured output in text."""
        process = self.popen(argv, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.close()
        assert process.returncode is not None
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


@functools.cache
def warm(*modules: str) -> Warm:
    """The warm process with these modules: the one that another worker has started, or a new one."""
    name = hashlib.sha256(" ".join(modules).encode()).hexdigest()[:16]
    with open(Path(os.environ[SHARED]) / f"warm-{name}", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if folder := file.read():
            with contextlib.suppress(OSError, EOFError):
                return Warm(Path(folder))
        file.truncate(0)
        folder = _start(modules)
        file.write(folder)
        return Warm(Path(folder))


def _start(modules: Sequence[str]) -> str:
    """Start a warm process; returns its folder once it has imported the modules."""
    fixed = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm", *modules],
        stdin=subprocess.DEVNULL, stdout=PIPE, env=os.environ | fixed, cwd=ROOT, start_new_session=True, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    with server.stdout as output:
        folder = output.readline().strip()
    assert folder, "the warm process could not import what it should"
    return folder


class Forked:
    """`python -m MODULE …` or `python -c CODE …`, forked. stdout and stderr are pipes, stdin is empty.

    env: all of the environment, ours without it. limits: resource limits (RLIMIT_* → value). solvers: let the
    command's sandbox `none` fork from the same warm process. merged: stderr goes to stdout."""

    def __init__(
        self, path: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None, limits: Mapping[int, int] | None = None, solvers: bool = False,
        merged: bool = False, text: bool = True,
    ) -> None:  # fmt: skip
        assert argv[0] == sys.executable and argv[1] in ("-m", "-c"), argv
        variables = dict(os.environ if env is None else env) | ({_SOLVERS: path} if solvers else {})
        request = {"argv": list(argv[1:]), "env": variables, "cwd": str(cwd or os.getcwd()),
                   "limits": {str(name): value for name, value in (limits or {}).items()}}  # fmt: skip
        out, out_theirs = os.pipe()
        err, err_theirs = (-1, out_theirs) if merged else os.pipe()
        message = json.dumps(request).encode()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(path)
        descriptors = array.array("i", [out_theirs, err_theirs])
        self._connection.sendmsg([len(message).to_bytes(8, "big")],
                                 [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])  # fmt: skip
        self._connection.sendall(message)
        for theirs in {out_theirs, err_theirs}:
            os.close(theirs)
        self.stdout = _reader(out, text)
        self.stderr = None if merged else _reader(err, text)
        self.args, self.returncode = list(argv), None
        self.pid = int.from_bytes(_exactly(self._connection, 8), "big")
        self._lock = threading.Lock()

    returncode: int | None

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
                self.returncode = int.from_bytes(_exactly(self._connection, 8), "big", signed=True)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """What is still in the pipes, and wait for the end."""
        read: dict[str, Any] = {}
        files = {"stdout": self.stdout} | ({"stderr": self.stderr} if self.stderr else {})
        threads = [threading.Thread(target=lambda name=name, file=file: read.update({name: file.read()}), daemon=True)
                   for name, file in files.items()]  # fmt: skip
        for thread in threads:
            thread.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        for thread in threads:
            thread.join(timeout)
        return read.get("stdout"), read.get("stderr")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End what is left of it."""
        self._connection.close()
        for file in (self.stdout, self.stderr):
            if file is not None:
                file.close()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.close()


def start_solver(path: str, plan: RunPlan, private: Path, paths: Mapping[str, Sequence[str]] | None) -> StartedRun:
    """In place of `supervised.start`: what a sandbox of kind `none` runs is forked from the warm process at `path`."""
    if paths is not None:  # Landlock isolates real processes
        return _start_supervised(plan, private, paths)
    kernel = resource_limits(plan.limits, counted=False)
    process = Forked(path, plan.argv, env=plan.env, cwd=plan.write[0], limits=kernel, merged=True, text=False)

    def end() -> None:
        supervised.kill_descendants(process.pid)
        process.kill()
        process.wait(10)

    return StartedRun(process, process.pid, (), end)  # type: ignore[arg-type]


def _reader(file: int, text: bool) -> IO[Any]:
    return open(file, encoding="utf-8") if text else open(file, "rb", buffering=0)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError("the warm process is gone")
        data += more
    return data


def _serve(modules: Sequence[str]) -> None:
    """The warm process: fork for each connection, until nobody holds it. Returns in the command's process only."""
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, f"a fork has one thread: {threading.enumerate()}"
    folder = tempfile.mkdtemp(prefix="warm-")
    forks, holds = (_listen(Path(folder) / name) for name in ("fork", "hold"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is taken note of by the kernel
    os.write(1, f"{folder}\n".encode())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    holders: list[socket.socket] = []
    while True:
        ready = select.select([forks, holds, *holders], [], [], None if holders else 60)[0]
        for one in ready:
            if one in holders:  # it never writes: this is its end
                holders.remove(one)
                one.close()
        if holds in ready:
            holders.append(holds.accept()[0])
            holders[-1].sendall(b".")
        if not holders:
            shutil.rmtree(folder)
            os._exit(0)
        if forks not in ready:
            continue
        connection, _ = forks.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (forks, holds, *holders):
            one.close()
        size, files, _, _ = socket.recv_fds(connection, 8, 2)
        request = json.loads(_exactly(connection, int.from_bytes(size, "big")))
        if child := os.fork():
            _hold(child, connection, files)
        connection.close()
        _enter(request, files)
        return


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    return listener


def _hold(child: int, connection: socket.socket, files: Sequence[int]) -> None:
    """Tell the child's pid and its exit status; kill it, and all in its group, when nobody listens any more."""
    for file in (0, 1, 2, *files):
        os.close(file)
    opened = os.pidfd_open(child)
    try:
        connection.sendall(child.to_bytes(8, "big"))
        if opened not in select.select([opened, connection], [], [])[0]:
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
    finally:
        os._exit(0)


def _enter(request: Mapping[str, Any], files: Sequence[int]) -> None:
    """Become the command: its group, pipes, limits, environment, folder."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for theirs, ours in zip((null, *files), (0, 1, 2), strict=True):
        os.dup2(theirs, ours)
    for file in {null, *files}:
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, value in request["limits"].items():
        resource.setrlimit(int(name), (value, value))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    tempfile.tempdir = None  # as TMPDIR says
    if path := os.environ.get(_SOLVERS):
        supervised.start = functools.partial(start_solver, path)
    kind, what, *arguments = request["argv"]
    sys.argv = [kind, *arguments]
    code = 1
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), main.__dict__)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1:])
