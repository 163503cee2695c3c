"""The vLLM server of a model, as a `ManagedServer`, and the search for a Python that has vLLM."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agentkd.config import has_bf16
from agentkd.errors import UserError, WorldError
from agentkd.models import find_weights, is_hub_name
from agentkd.serving.managed import ManagedServer, ServerOptions

TIMEOUT_SECONDS = 1800.0  # for a start, with a download
# A small model may fill the blanks that JSON allows between tokens until its answer is cut: allow none.
_COMPACT_JSON = ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')
# Without its parser, a model that thinks is held to the JSON schema from its first token, and does not think (vLLM's
# docs, "Reasoning Outputs"). First match by name counts; no parser for those that do not think, as it would wait for
# the end of their thoughts before it constrains.
_REASONING_PARSERS = (
    (r"instruct|coder|base|embedding|reranker|guard", None),
    (r"deepseek-r1|qwq|qwen3.*thinking", "deepseek_r1"),
    (r"qwen3", "qwen3"),
    (r"gpt-oss", "openai_gptoss"),
    (r"glm-4\.[5-9]", "glm45"),
)
_VLLM_REMEDY = (
    "make test-vllm builds .venv-vllm here; or pip install vllm in an environment of its own, AGENTKD_VLLM=PATH"
)


def make_vllm_server(model: str, *, args: Sequence[str], options: ServerOptions) -> ManagedServer:
    """Make a vLLM server of a directory, a hub name or `smollm2-135m`.

    It runs in vLLM's own environment, and `args` go to vLLM. Raises WorldError when no vLLM is found."""
    python, cpu = find_vllm()
    # vLLM downloads by itself; when it may not, our own look into the cache fails in a second, with a remedy.
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    by_itself = is_hub_name(model) and not offline
    weights = model if by_itself else str(find_weights(model).resolve())
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    environment["PYTHONSAFEPATH"] = "1"  # a folder called eval/ or prompts/ here must not shadow vLLM's modules
    if cpu:
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB; the default of 4 is much for a laptop
        # Threads are not bound to cores: in a container that sees fewer cores than the machine has, that is slow.
        environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        dtype = "bfloat16" if has_bf16() else "float32"
        # `vllm serve` looks for a distribution called vllm, which vllm-cpu is not. Eager: compiling takes minutes here.
        start = ["vllm.entrypoints.openai.api_server", "--model", weights, "--dtype", dtype, "--enforce-eager"]
        # A prompt read in two chunks turns the seed's generator back, which torch's for the CPU refuses: vLLM dies.
        start += ["--no-enable-chunked-prefill"]
    else:
        start = ["vllm.entrypoints.cli.main", "serve", weights]

    def command(port: int) -> list[str]:
        # Distillation reads 128 log-probabilities per token; the user's own arguments come last and win.
        place = ["--host", options.host, "--port", str(port)]
        place = ["--uds", str(options.socket)] if options.socket is not None else place
        ours = ["--served-model-name", model, *place, "--max-logprobs", "128"]
        # The rounds and samples of an agent begin alike. vLLM's default, too, but some of its models change it.
        ours += ["--enable-prefix-caching"]
        parser = find_reasoning_parser(model)
        thoughts = ["--reasoning-parser", parser] if parser else []
        return [str(python), "-m", *start, *ours, *_COMPACT_JSON, *thoughts, *args]

    if options.timeout_seconds is None:
        options = replace(options, timeout_seconds=TIMEOUT_SECONDS)
    return ManagedServer(command, model=model, options=options, environment=environment)


def find_reasoning_parser(model: str) -> str | None:
    """Find vLLM's name for the parser that reads the thoughts of a model, by the model's family.

    None for models that do not think before they answer, for unknown ones, and for what agentkd has distilled, whose
    answers hold no thoughts."""
    if (Path(model) / "config.yaml").is_file():  # a student's directory
        return None
    name = model.rstrip("/").rpartition("/")[2].lower()
    return next((parser for pattern, parser in _REASONING_PARSERS if re.search(pattern, name)), None)


def find_vllm() -> tuple[Path, bool]:
    """Find the Python that has vLLM, and whether it is the CPU build.

    Looks at `$AGENTKD_VLLM`, `vllm` on PATH and `.venv-vllm`, in this order. Raises UserError for an AGENTKD_VLLM that
    is wrong, WorldError where there is none."""
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
    """The Python that runs an installed console script: the one of its #! line, else of its folder."""
    with script.open("rb") as file:
        first = file.readline(1024).decode("utf-8", "replace").strip()
    named = Path(first[2:].split(" ")[0]) if first.startswith("#!/") else Path()
    return named if named.name.startswith("python") and named.is_file() else script.parent / "python"
