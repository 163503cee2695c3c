"""Start, await and stop a model server: llama.cpp for one GGUF file, vLLM for a model directory or hub name.

    async with llama_server(find_gguf("smollm2-135m"), slots=4, context=4096, log=run / "logs/llama.log") as server:
        client = AsyncOpenAI(base_url=server.url, api_key="none")

A server never outlives agentkd: `supervisor.py` holds it on a pipe and ends its whole process group.
"""

import asyncio
import errno
import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agentkd.config import has_bf16
from agentkd.errors import UserError, WorldError
from agentkd.models import find_weights, is_hub_name
from agentkd.runs.progress import Say
from agentkd.serving.supervisor import GRACE_SECONDS

LOCAL_SLOTS = 4  # requests in flight of the local teacher
LOOPBACK = "127.0.0.1"
OnWait = Callable[[float, str], None]

WAIT_LINES = 15  # seconds between two lines while a server starts

_HERE = Path(__file__).parent
_PORT_TRIES = 3
_POLL_SECONDS = 0.2
_ASK_SECONDS = 5.0
_PORT_TAKEN = re.compile(r"address already in use|couldn't bind|bind HTTP server socket", re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# The error that ended a traceback; vLLM's own last one only points at an earlier one.
_ERROR = re.compile(r"\b\w*(Error|Exception): (?!Engine core|.*See root cause)\S|^\S+ E |: error: ")
# A small model may fill the blanks that JSON allows between tokens until its answer is cut: allow none.
_COMPACT_JSON = ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')
_VLLM_REMEDY = (
    "make test-vllm builds .venv-vllm here; or pip install vllm in an environment of its own, AGENTKD_VLLM=PATH"
)


class ManagedServer:
    """One server process as an async context manager: up inside the block, gone after it.

    `command` is given the port and returns the argv. `url` ends in /v1, `model` is the name to send, `log` holds
    stdout and stderr. `on_wait(seconds, last_log_line)` is called about once a second until the server answers.
    `command` is to listen on `host`, on the port it is given: `port`, else one that is free. Entering raises WorldError
    when `port` is taken, the server ends or `timeout_seconds` pass; one object serves one block.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        model: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = 300.0,
        on_wait: OnWait | None = None,
        host: str = LOOPBACK,
        port: int | None = None,
    ) -> None:
        self.model = model
        self.log = log
        self.url = ""
        self.host, self.port = host, port
        self.on_wait = on_wait
        self.timeout_seconds = timeout_seconds
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    async def __aenter__(self) -> "ManagedServer":
        for tries_left in reversed(range(_PORT_TRIES if self.port is None else 1)):
            if self.port is not None:
                check_port(self.host, self.port)
            port = self.port if self.port is not None else _free_port()
            self.url = f"http://{bracketed(reachable(self.host))}:{port}/v1"
            self._start(port)
            try:
                await self._until_up(port)
                return self
            except WorldError:
                await self._stop()
                # Between our look and the server's bind another process may have taken the port.
                if not tries_left or not _PORT_TAKEN.search(self._log_text()):
                    raise
            except BaseException:
                await self._stop()
                raise
        raise AssertionError("the last try returns or raises")

    async def __aexit__(self, *error: object) -> None:
        await self._stop()

    async def ended(self) -> None:
        """Wait for as long as the server runs; raises WorldError, with its last words, when it ends by itself."""
        process = self._process
        assert process is not None
        while process.poll() is None:
            await asyncio.sleep(_POLL_SECONDS)
        raise WorldError(
            f"the server of {self.model!r} ended with status {process.returncode}: {self._complaint()} "
            f"(log: {self.log}); start it again"
        )

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def last_line(self) -> str:
        """The last non-empty line of the log since this start."""
        lines = self._lines()
        return lines[-1] if lines else ""

    def _start(self, port: int) -> None:
        argv = [sys.executable, "-P", str(_HERE / "supervisor.py"), "--parent", str(os.getpid()), "--"]
        argv += self._command(port)
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,  # a ctrl-C in the terminal is for agentkd alone
                )
        except OSError as error:
            raise WorldError(f"cannot start {self.model!r} with log {self.log}: {error}", retry=False) from error

    async def _until_up(self, port: int) -> None:
        process = self._process
        assert process is not None
        started = reported = time.monotonic()
        while not await asyncio.to_thread(_answers, reachable(self.host), port, self.model):
            now = time.monotonic()
            seconds = now - started
            if process.poll() is not None:
                raise WorldError(
                    f"the server of {self.model!r} ended with status {process.returncode} "
                    f"after {seconds:.0f} s: {self._complaint()} (log: {self.log})"
                )
            if seconds > self.timeout_seconds:
                raise WorldError(
                    f"the server of {self.model!r} did not answer within {self.timeout_seconds:.0f} s, "
                    f"last: {self._complaint()} (log: {self.log})"
                )
            if self.on_wait is not None and now - reported >= 1:
                reported = now
                self.on_wait(seconds, self.last_line())
            await asyncio.sleep(_POLL_SECONDS)

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the supervisor takes this as the order to end everything
        try:
            await asyncio.to_thread(process.wait, GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    def _log_text(self) -> str:
        """The end of what this start wrote to the log."""
        try:
            with self.log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, end - 64 * 1024))
                return _ANSI.sub("", file.read().decode("utf-8", "replace"))
        except OSError:
            return ""

    def _lines(self) -> list[str]:
        return [line.strip() for line in re.split(r"[\r\n]+", self._log_text()) if line.strip()]

    def _complaint(self) -> str:
        """The log's last line that names an error, else its last line."""
        lines = self._lines()
        errors = [line for line in lines if _ERROR.search(line)]
        return (errors or lines or ["it wrote nothing"])[-1][:300]


def make_wait_reporter(say: Say) -> OnWait:
    """An `on_wait` that says every WAIT_LINES seconds that the server is still starting, with its last log line."""
    reported = 0

    def on_wait(seconds: float, last_line: str) -> None:
        nonlocal reported
        if seconds >= (reported + 1) * WAIT_LINES:
            reported = int(seconds // WAIT_LINES)
            say(f"still starting after {seconds:.0f} s: {last_line[:100]}")

    return on_wait


def llama_server(
    gguf: Path,
    *,
    slots: int,
    context: int,
    log: Path,
    name: str | None = None,
    host: str = LOOPBACK,
    port: int | None = None,
    timeout_seconds: float = 300.0,
    on_wait: OnWait | None = None,
) -> ManagedServer:
    """A llama.cpp server with `slots` requests in flight of `context` tokens each (prompt and answer).

    It answers to `name`, by default the file's stem. A prefix that requests share is read once a slot."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise UserError("the local teacher needs llama.cpp: pip install 'agentkd[local]'")

    alias = name or gguf.stem

    def command(port: int) -> list[str]:
        # -P and the file instead of -m: neither the user's folder nor ours shadows a module of the same name.
        argv = [sys.executable, "-P", str(_HERE / "llama_server.py"), "--model", str(gguf), "--alias", alias]
        argv += ["--host", host, "--port", str(port)]
        return [*argv, "--slots", str(slots), "--context", str(context)]

    return ManagedServer(
        command, model=alias, log=log, timeout_seconds=timeout_seconds, on_wait=on_wait, host=host, port=port
    )


def vllm_server(
    model: str,
    *,
    args: Sequence[str],
    log: Path,
    host: str = LOOPBACK,
    port: int | None = None,
    timeout_seconds: float = 1800.0,
    on_wait: OnWait | None = None,
) -> ManagedServer:
    """A vLLM server, in vLLM's own environment, of a directory, hub name or `smollm2-135m`; `args` go to vLLM.

    WorldError when no vLLM is found. The generous timeout leaves room for a download.
    """
    python, cpu = find_vllm()
    # vLLM downloads by itself; when it may not, our look into the cache fails in a second and with a remedy.
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    by_itself = is_hub_name(model) and not offline
    weights = model if by_itself else str(find_weights(model).resolve())
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    environment["PYTHONSAFEPATH"] = "1"  # a folder called eval/ or prompts/ here must not shadow vLLM's modules
    if cpu:
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB; the default of 4 is much for a laptop
        # Binding threads to cores costs half the speed in a container that sees fewer cores than the machine has.
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        dtype = "bfloat16" if has_bf16() else "float32"
        # `vllm serve` looks for a distribution called vllm, which vllm-cpu is not. Eager: compiling takes minutes here.
        start = ["vllm.entrypoints.openai.api_server", "--model", weights, "--dtype", dtype, "--enforce-eager"]
        # A prompt read in two chunks turns the seed's generator back, which torch's for the CPU refuses: vLLM dies.
        start += ["--no-enable-chunked-prefill"]
    else:
        start = ["vllm.entrypoints.cli.main", "serve", weights]

    def command(port: int) -> list[str]:
        # 128 log-probabilities a token are what distillation reads; the user's own arguments come last and win.
        ours = ["--served-model-name", model, "--host", host, "--port", str(port), "--max-logprobs", "128"]
        # The rounds and samples of an agent begin alike. vLLM's default, too, but some of its models change it.
        ours += ["--enable-prefix-caching"]
        return [str(python), "-m", *start, *ours, *_COMPACT_JSON, *args]

    return ManagedServer(
        command,
        model=model,
        log=log,
        environment=environment,
        timeout_seconds=timeout_seconds,
        on_wait=on_wait,
        host=host,
        port=port,
    )


def find_vllm() -> tuple[Path, bool]:
    """The Python that has vLLM, and whether it is the CPU build: `$AGENTKD_VLLM`, `vllm` on PATH, `.venv-vllm`."""
    given = os.environ.get("AGENTKD_VLLM")
    on_path = shutil.which("vllm")
    if given:
        path = Path(given).expanduser()
        python = path / "bin" / "python" if path.is_dir() else path
        if not python.is_file():
            raise UserError(f"AGENTKD_VLLM={given!r} is neither a Python nor a virtual environment: {_VLLM_REMEDY}")
    elif on_path:
        python = _interpreter(Path(on_path))
    else:
        python = Path(".venv-vllm/bin/python")
        if not python.is_file():
            raise WorldError(f"no vLLM found (AGENTKD_VLLM, vllm on PATH, .venv-vllm): {_VLLM_REMEDY}", retry=False)
    python = python.absolute()  # not resolved: the link's place is what makes a virtual environment
    look = "from importlib.metadata import distributions as d; print(*{str(x.metadata['Name']).lower() for x in d()})"
    try:
        names = subprocess.run([python, "-I", "-c", look], capture_output=True, text=True, timeout=60).stdout.split()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorldError(f"cannot run {python}: {error}; {_VLLM_REMEDY}", retry=False) from error
    if "vllm" not in names and "vllm-cpu" not in names:
        raise WorldError(f"{python} has no vLLM: {_VLLM_REMEDY}", retry=False)
    return python, "vllm" not in names


def _interpreter(script: Path) -> Path:
    """The Python that runs an installed console script: its #! line, else the python beside it."""
    with script.open("rb") as file:
        first = file.readline(1024).decode("utf-8", "replace").strip()
    named = Path(first[2:].split(" ")[0]) if first.startswith("#!/") else Path()
    return named if named.name.startswith("python") and named.is_file() else script.parent / "python"


def check_port(host: str, port: int) -> None:
    """UserError where `host` is no address of this machine, WorldError where `port` cannot be had on it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended are no hindrance
            probe.bind(address)
    except PermissionError:
        raise WorldError(f"only root may listen on port {port}: choose one above 1023 with --port") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise WorldError(
                f"port {port} of {host} is taken by another program: choose another with --port, 0 finds one"
            ) from None
        raise UserError(
            f"cannot listen on host {host!r} ({error.strerror}): give an address of this machine, or 0.0.0.0 for all"
        ) from None


def reachable(host: str) -> str:
    """The address at which this machine itself finds what listens on `host`."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers(host: str, port: int, model: str) -> bool:
    """Whether the server at `host` and `port` lists `model`, and so is ours and ready. Asks without any proxy."""
    connection = http.client.HTTPConnection(host, port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/v1/models")
        reply = connection.getresponse()
        return reply.status == 200 and model in [entry["id"] for entry in json.loads(reply.read())["data"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()
