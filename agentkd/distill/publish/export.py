"""`agentkd export`: a student as one GGUF file, in any type that llama.cpp has.

Llama in f32 and f16 is written here (`gguf.py`). Other architectures (Qwen3, Gemma, …) and bf16 are written by
llama.cpp's own `convert_hf_to_gguf.py`, and quantised types by its `llama-quantize`, as far as a checkout of llama.cpp
is named or they are on PATH. The `gguf` package of PyPI has neither.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkd.config import slug
from agentkd.distill.publish import gguf
from agentkd.errors import UserError, WorldError, unknown_name
from agentkd.inference.model_folder import refuse_pickles
from agentkd.models import find_weights
from agentkd.pretrained import load_settings
from agentkd.runs.disk import disk_error
from agentkd.runs.progress import say

CONVERTED = ("f32", "f16", "bf16", "q8_0")  # types that the converter writes
QUANTISED = (
    "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_0", "q4_1", "q4_k_s", "q4_k_m", "q5_0", "q5_1", "q5_k_s", "q5_k_m",
    "q6_k", "iq4_nl", "iq4_xs",
)  # fmt: skip
DTYPES = (*CONVERTED, *QUANTISED)
SCRIPT, QUANTISER = "convert_hf_to_gguf.py", "llama-quantize"
VARIABLE = "LLAMA_CPP"
_PLACES = ("", "build/bin", "bin")  # of programs in a checkout


def export(
    student: str, *, dtype: str = "f32", out: Path | None = None, llama_cpp: str | None = None
) -> dict[str, Any]:
    """Write `student` (a directory, hub name or `smollm2-135m`) as GGUF; returns path, type, size and who wrote it.

    `llama_cpp` is a checkout of llama.cpp; by default `$LLAMA_CPP`, and what is on PATH. The file appears when it is
    whole. Raises UserError for a type that is none, for a model that cannot be written with what is there, and where a
    program of llama.cpp refuses; WorldError if the disk does."""
    dtype = dtype.lower()
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    checkout = find_checkout(llama_cpp)
    inside = Path(student).is_dir()
    target = out or (Path(student) / f"model-{dtype}.gguf" if inside else Path(f"{slug(student)}-{dtype}.gguf"))
    if dtype in gguf.DTYPES and (done := _write_ours(student, dtype, target, checkout)):
        return done
    if dtype not in QUANTISED:
        return _convert(student, dtype, target, checkout)
    quantiser = find_program(QUANTISER, checkout)
    if quantiser is None:
        raise UserError(
            f"--dtype {dtype} needs {QUANTISER}: build llama.cpp and name its folder with --llama-cpp DIR, or take f16"
        )
    with half_written(target, ".whole") as whole, half_written(target) as half:
        done = _write_ours(student, "f32", whole, checkout) or _convert(student, "f32", whole, checkout)
        say(f"quantising it to {dtype}")
        run_program([str(quantiser), str(whole), str(half), dtype.upper()], student, target)
        half.replace(target)
    return {**done, "out": str(target), "dtype": dtype, "bytes": target.stat().st_size}


def find_checkout(given: str | None) -> Path | None:
    """The folder of llama.cpp that the user names by option or variable; None where neither does.

    Raises UserError for one that is not there."""
    named = given or os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        who = "--llama-cpp" if given else VARIABLE
        raise UserError(f"{who} {named}: no such folder; give a checkout of llama.cpp")
    return folder


def find_program(name: str, checkout: Path | None) -> Path | None:
    """A program of llama.cpp: in the checkout, also where it was built, else on PATH."""
    if checkout is not None:
        for place in _PLACES:
            if (file := checkout / place / name).is_file():
                return file
    found = shutil.which(name)
    return Path(found) if found else None


def _write_ours(student: str, dtype: str, target: Path, checkout: Path | None) -> dict[str, Any] | None:
    """Write a file with `gguf.py`; None for a model that it does not know, where llama.cpp's converter is found."""
    try:
        return {**gguf.export(student, dtype=dtype, out=target), "written_by": "agentkd"}
    except gguf.NotKnown:
        if find_program(SCRIPT, checkout) is None:
            raise
        return None


def _convert(student: str, dtype: str, target: Path, checkout: Path | None) -> dict[str, Any]:
    """Write a file with llama.cpp's converter, in an interpreter of its own."""
    script = find_program(SCRIPT, checkout)
    if script is None:
        raise UserError(
            f"--dtype {dtype} needs {SCRIPT}: name a checkout of llama.cpp with --llama-cpp DIR, or take f16"
        )
    folder = find_weights(student)
    refuse_own_code(folder)
    refuse_pickles(folder)
    load_settings(folder)  # says what is wrong with a config, better than a traceback of another program
    say(f"exporting {student} → {target}, by {script}")
    with half_written(target) as half:
        command = [sys.executable, str(script), str(folder.resolve()), "--outfile", str(half), "--outtype", dtype]
        run_program(command, student, target)
        if not half.is_file():
            raise UserError(f"{script} wrote no file for {student}: is it of this llama.cpp?")
        half.replace(target)
    return {"out": str(target), "dtype": dtype, "bytes": target.stat().st_size, "written_by": "llama.cpp"}


def refuse_own_code(folder: Path) -> None:
    """Raise UserError for a model with Python files: the converter lets those of some architectures run."""
    if code := next(iter(sorted(folder.glob("*.py"))), None):
        raise UserError(
            f"{folder} has code of its own ({code.name}), which llama.cpp's converter may run: remove it first"
        )


@contextlib.contextmanager
def half_written(target: Path, mark: str = "") -> Iterator[Path]:
    """A path beside the target, whose file is gone at the end, whatever happens."""
    path = target.with_name(f".{target.name}{mark}.{os.getpid()}.gguf")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield path
    except OSError as error:
        raise disk_error(target, error) from None
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def run_program(command: Sequence[str], student: str, target: Path) -> None:
    """Run a program of llama.cpp without the network. Raises UserError with its last line where it fails."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment = {**kept, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    name = next(Path(word).name for word in command if word != sys.executable)
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise WorldError(
            f"cannot run {command[0]} ({error.strerror}): check its rights, or build llama.cpp again"
        ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
        last = (lines or [f"status {done.returncode}, without a word"])[-1][:200]
        if "No space left" in last:
            raise WorldError(f"cannot write {target} ({last}): make room and run the same command again")
        raise UserError(f"{name} cannot write {student} ({last}): take a newer llama.cpp, or --teacher vllm:DIR")
