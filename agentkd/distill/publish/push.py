"""`agentkd push`: upload a finished student, or the traces of a run, to the Hugging Face hub, in one commit.

FILES lists what is uploaded of a student: weights, tokenizer, processors, configs, metrics, curves, report, card and,
if they exist, GGUF files. So checkpoints, a teacher's scores, predictions, locks and logs cannot slip in. A run becomes
a data set of sessions, which the hub renders (`dataset.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from agentkd.distill.publish.dataset import sessions_of_run
from agentkd.distill.publish.lineage import eval_command, read_lineage
from agentkd.errors import UserError, WorldError
from agentkd.models import check_model_folder
from agentkd.runs.progress import say
from agentkd.runs.read import TAUGHT_FROM, is_complete, read_config

FILES = (
    "README.md", "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "*.gguf",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    "*.py", "config.yaml", "metrics.json", "manifest.json", "*.png", "report.html",
)  # fmt: skip
PIPELINES = {
    "distill-images": "image-classification",
    "distill-clients": "image-classification",
    "distill-vision-language": "image-text-to-text",
    "distill-texts": "text-generation",
}  # of transformers, by the stage that wrote a student; one of traces is used with `eval`
_IMAGES = "distill-images", "distill-clients"  # whose students have no tokenizer
_TOKEN = "make a token with write access at https://huggingface.co/settings/tokens, then `hf auth login` or HF_TOKEN=…"


def push(folder: Path, repo: str, *, private: bool = False) -> dict[str, Any]:
    """Make the repository `OWNER/NAME` if it is missing, and commit the files of a student or of a run to it.

    The token is `$HF_TOKEN` or that of `hf auth login`; the hub is `$HF_ENDPOINT` if that is set. Raises UserError for
    what is not finished, a name without an owner, a card that the hub refuses, and a token that is missing or lacks the
    right; WorldError if the hub cannot be reached or answers with an error.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UserError(f"'{repo}' names no owner: write OWNER/NAME, such as my-name/{folder.resolve().name}")
    if stage_of(folder) in TAUGHT_FROM:
        with sessions_of_run(folder, repo) as (sessions, facts):
            return facts | upload(repo, sessions, f"Traces of {folder.resolve().name}", private=private, kind="dataset")
    run, stage = find_run(folder)
    if not is_complete(run):
        raise UserError(f"{run} is not finished: run the `agentkd distill` that writes it again, it goes on")
    check_model_folder(folder, reads_images=stage in _IMAGES)  # names what is missing or torn
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and is_published(path.name)}
    if links := [name for name, path in files.items() if path.is_symlink()]:
        raise UserError(f"{folder}/{links[0]} is a link: put the file itself there, or remove it")
    done = upload(repo, files, f"{folder.resolve().name}, distilled with agentkd", private=private)
    return done | {"next": next_use(folder, stage, repo)}


def upload(repo: str, files: Mapping[str, Path], message: str, *, private: bool, kind: str = "model") -> dict[str, Any]:
    """Commit files, by their paths in the repository, and return where they are."""
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise UserError(f"push needs {error.name}: pip install 'agentkd[train]'") from None
    size = sum(path.stat().st_size for path in files.values())
    api = HfApi()
    say(f"pushing {len(files)} files, {size / 1e6:.0f} MB, to {api.endpoint}/{repo}")
    try:
        api.create_repo(repo, private=private or None, exist_ok=True, repo_type=kind)
        done = api.create_commit(
            repo,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()],
            commit_message=message,
            repo_type=kind,
        )
    except HfHubHTTPError as error:
        raise explain_refusal(error, repo, api.endpoint) from None
    except ValueError as error:  # from the client's own checks, or the hub's of the card
        raise UserError(f"{api.endpoint} refuses {repo} ({error_text(error)}): check the name and the card") from None
    except Exception as error:  # the hub client lets errors of its HTTP and storage libraries through
        if isinstance(error.__cause__, HfHubHTTPError):  # of one file
            raise explain_refusal(error.__cause__, repo, api.endpoint) from None
        raise WorldError(
            f"cannot push to {api.endpoint} ({error_text(error)}): "
            f"check the network and HF_HUB_OFFLINE, then run it again"
        ) from None
    place = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    return {"out": place, "commit": done.oid, "files": list(files), "bytes": size}


def find_run(student: Path) -> tuple[Path, str]:
    """The run that wrote a student and its stage: the folder itself, or that of all clients above a client's.

    Raises UserError for a folder that no `distill` wrote, and for that of all clients, which holds several."""
    stages = {folder: stage_of(folder) for folder in (student, student.resolve().parent)}
    if stages[student] == "distill-clients":
        clients = sorted(file.parent.name for file in student.glob("*/config.json"))
        raise UserError(f"{student} holds a student for each client: push one of them ({', '.join(clients)})")
    run = student if stages[student] else student.resolve().parent
    if stages[run] not in ("distill", *PIPELINES) or (run != student and stages[run] != "distill-clients"):
        raise UserError(f"{student} is no student: give a directory that `agentkd distill` wrote")
    return run, stages[run]


def stage_of(folder: Path) -> str:
    """The stage that wrote a folder; empty for any other."""
    try:
        return str(read_config(folder).get("stage", ""))
    except (UserError, OSError):
        return ""


def next_use(student: Path, stage: str, repo: str) -> str:
    """How a student on the hub is used."""
    if stage in PIPELINES:
        return f'transformers.pipeline("{PIPELINES[stage]}", model="{repo}")'
    form = str(read_config(student).get("form", "one-call"))
    if form == "agent":
        return f"agentkd serve {repo}"
    return f"{eval_command(read_lineage(student), model=repo)} form={form}"


def is_published(name: str) -> bool:
    """Whether a file of a student's directory is uploaded."""
    return any(fnmatch(name, pattern) for pattern in FILES) and not name.startswith(".")


def explain_refusal(error: Any, repo: str, endpoint: str) -> UserError | WorldError:
    """The error for the user, with a remedy, for an HTTP error of the hub."""
    status = error.response.status_code if error.response is not None else 0
    owner = repo.split("/")[0]
    if status == 401:
        return UserError(f"{endpoint} knows no valid token of yours (401): {_TOKEN}")
    if status == 403:
        return UserError(f"your token may not write to {owner} (403): {_TOKEN}, or push to a name of your own")
    if status in (400, 404, 409):
        return UserError(f"{endpoint} refuses {repo} ({status}: {error_text(error)}): check the name and the card")
    return WorldError(f"{endpoint} answered {status} ({error_text(error)}): run the command again later")


def error_text(error: Exception) -> str:
    """An error's message in one line, at most 200 characters."""
    text = " ".join(str(getattr(error, "server_message", None) or error).split())
    return (text or type(error).__name__)[:200]
