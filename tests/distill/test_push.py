"""`agentkd push` against a hub on this machine that speaks the real protocol: the real client, in its own process."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from agentkd.cli.main import app
from agentkd.config import DistillConfig
from agentkd.distill.publish.push import push
from agentkd.errors import UserError
from agentkd.runs.store import RunDirectory
from tests.support.lazy import require
from tests.support.traces import make_trace, tooled, write_run
from tests.support.warm import KBQA, warm


class Hub:
    """Repositories, LFS objects, commits and the files they hold, and who has which token."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.commits: list[dict[str, Any]] = []
        self.cards: list[dict[str, Any]] = []
        self.tokens = {"hf_owner": "me", "hf_reader": "other"}


class Handler(BaseHTTPRequestHandler):
    """One request of the hub's HTTP API: /api/repos/create, validate-yaml, preupload, LFS batch, commit."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def reply(self, status: int, body: Any, **headers: str) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def user(self) -> str | None:
        return self.hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def do_GET(self) -> None:
        name = self.path.removeprefix("/api/models/")
        found = self.hub.repos.get(name)
        self.reply(200, {"id": name, "modelId": name, **found}) if found else self.reply(
            404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound"
        )

    def do_PUT(self) -> None:
        oid = self.path.rpartition("/")[2]
        content = self.body()
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.objects[oid] = content
        self.reply(200, {})

    def do_POST(self) -> None:
        sent = self.body()
        user, host = self.user(), f"http://{self.headers['Host']}"
        if user is None:
            self.reply(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            asked = json.loads(sent)
            name = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] != user:
                said = f"You don't have the rights to create a model under the namespace {asked['organization']!r}"
                self.reply(403, {"error": said}, X_Error_Message="no rights")
            elif name in self.hub.repos:
                self.reply(409, {"error": "You already created this model repo", "url": f"{host}/{name}"})
            else:
                self.hub.repos[name] = {"private": asked.get("visibility") == "private"}
                self.hub.kinds[name] = asked.get("type") or "model"
                self.reply(200, {"url": f"{host}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            front = yaml.safe_load(json.loads(sent)["content"].split("---\n")[1])
            self.hub.cards.append(front)
            fine = isinstance(front.get("license"), str) or json.loads(sent).get("repoType") == "dataset"
            errors = [] if fine else [{"message": '"license" must be a string'}]
            self.reply(400 if errors else 200, {"errors": errors, "warnings": []})
        elif match := re.fullmatch(r"/api/(?:models|datasets)/(\S+)/preupload/main", self.path):
            assert match[1] in self.hub.repos
            large = re.compile(r"\.(safetensors|gguf|png)$")
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large.search(file["path"]) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(sent)["files"]
            ]
            self.reply(200, {"files": files})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**item, "actions": {"upload": {"href": f"{host}/storage/{item['oid']}"}}}
                for item in json.loads(sent)["objects"]
                if item["oid"] not in self.hub.objects
            ]
            self.reply(200, {"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/(?:models|datasets)/(\S+)/commit/main", self.path):
            lines = [json.loads(line) for line in sent.splitlines()]
            self.hub.commits.append(lines[0]["value"])
            for line in lines[1:]:
                value = line["value"]
                large = line["key"] == "lfsFile"
                content = self.hub.objects[value["oid"]] if large else base64.b64decode(value["content"])
                self.hub.files[f"{match[1]}/{value['path']}"] = content
            self.reply(200, {"commitUrl": f"{host}/{match[1]}/commit/abc", "commitOid": "abc", "hookOutput": ""})
        else:
            self.reply(404, {"error": f"no {self.path}"})


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A finished student's files, with all that must stay at home beside them."""
    import numpy as np
    from safetensors.numpy import save_file

    out = tmp_path / "geo-sft"
    with RunDirectory(out, "distill", DistillConfig(traces="runs/x", out=str(out)), {"hash_dataset": "1"}) as run:
        save_file({"w": np.zeros(1000, np.float32)}, out / "model.safetensors")
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            (out / name).write_text(json.dumps({"file": name}))
        (out / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: a/b\n---\n# geo-sft\n")
        (out / "loss.png").write_bytes(b"\x89PNG")
        (out / "report.html").write_text("<html>")
        (out / "model-f16.gguf").write_bytes(b"GGUF" + bytes(100))
        run.finish({"losses": [1.0]})
    for inside in ("checkpoints/checkpoint-2", "logits", "logs"):
        (out / inside).mkdir(parents=True)
        (out / inside / "model.safetensors").write_bytes(b"no")
    for stray in (".model-f32.gguf.77", "training_args.bin", "notes.txt"):
        (out / stray).write_bytes(b"no")
    return out


def pushed(student: Path, repo: str, endpoint: str, token: str | None, *more: str) -> subprocess.CompletedProcess[str]:
    home = str(student.parent / "home")
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": home}
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        environment.pop(name, None)
    if token:
        environment["HF_TOKEN"] = token
    command = [sys.executable, "-m", "agentkd", "push", str(student), repo, *more]
    return warm(*KBQA).run(command, env=environment, timeout=120)  # which has not imported huggingface_hub


def test_a_student_is_committed_whole_and_nothing_else(student: Path, hub: tuple[Hub, str]) -> None:
    state, endpoint = hub
    done = pushed(student, "me/geo", endpoint, "hf_owner", "--private", "--json")
    assert done.returncode == 0, done.stderr
    assert state.repos == {"me/geo": {"private": True}} and len(state.commits) == 1
    kept = {
        "README.md", "config.json", "config.yaml", "generation_config.json", "loss.png", "manifest.json",
        "metrics.json", "model-f16.gguf", "model.safetensors", "report.html", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert {name.removeprefix("me/geo/") for name in state.files} == kept
    for name in kept:
        assert state.files[f"me/geo/{name}"] == (student / name).read_bytes()
    assert state.cards[0]["base_model"] == "a/b"
    report = json.loads(done.stdout)
    assert report["commit"] == "abc" and set(report["files"]) == kept and report["out"] == f"{endpoint}/me/geo"
    (student / "metrics.json").write_text("{}")  # pushed again, into the repository that is there
    again = pushed(student, "me/geo", endpoint, "hf_owner")
    assert again.returncode == 0 and "next: agentkd eval --model me/geo" in again.stderr
    assert len(state.commits) == 2 and state.files["me/geo/metrics.json"] == b"{}"


def test_a_run_becomes_a_data_set_of_sessions(tmp_path: Path, hub: tuple[Hub, str]) -> None:
    """In the hub's own format; what is not of the traces stays at home, and the sessions can be imported again."""
    state, endpoint = hub
    run = write_run(tmp_path / "run", [tooled(), make_trace("France")])
    done = pushed(run, "me/traces", endpoint, "hf_owner")
    assert done.returncode == 0, done.stderr
    assert (
        "left out: 1 without a call of a model" in done.stderr and f"wrote {endpoint}/datasets/me/traces" in done.stderr
    )
    assert state.kinds == {"me/traces": "dataset"}
    card, session = (state.files[name].decode() for name in sorted(state.files))
    assert "agent-traces" in card and "1 sessions of 1 traces" in card
    header, *messages = map(json.loads, session.splitlines())
    assert header["type"] == "session" and header["harness"] == "agentkd"
    assert header["agentkd"] == {"verified": False, "rung": "none", "sample": 0}
    assert [line["message"]["role"] for line in messages] == ["user", "assistant"]
    (run / "manifest.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        push(run, "me/traces")


@pytest.mark.parametrize(
    ("token", "code", "says"),
    [
        (None, 2, "knows no valid token of yours (401): make a token with write access at"),
        ("hf_stale", 2, "knows no valid token of yours (401): make a token with write access at"),
        ("hf_reader", 2, "your token may not write to me (403): make a token with write access at"),
    ],
)
def test_a_token_that_is_missing_or_may_not(
    student: Path, hub: tuple[Hub, str], token: str | None, code: int, says: str
) -> None:
    state, endpoint = hub
    done = pushed(student, "me/geo", endpoint, token)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not state.files and not state.commits


def test_no_network_and_a_card_that_the_hub_refuses(student: Path, hub: tuple[Hub, str]) -> None:
    done = pushed(student, "me/geo", "http://127.0.0.1:9", "hf_owner")  # discard: nobody listens
    assert done.returncode == 3 and "cannot push to http://127.0.0.1:9 (" in done.stderr
    assert "check the network" in done.stderr and "Traceback" not in done.stderr
    (student / "README.md").write_text("---\nbase_model: a/b\n---\n")
    done = pushed(student, "me/geo", hub[1], "hf_owner")
    assert done.returncode == 2 and '"license" must be a string' in done.stderr and "Traceback" not in done.stderr
    assert "check the name and the card" in done.stderr and not hub[0].files


def test_what_is_not_a_finished_student_is_named(student: Path, tmp_path: Path) -> None:
    for repo in ("geo", "me/", "a/b/c"):
        with pytest.raises(UserError, match=f"'{repo}' names no owner: write OWNER/NAME, such as my-name/geo-sft"):
            push(student, repo)
    with pytest.raises(UserError, match="is no student: give a directory that `agentkd distill` wrote"):
        push(tmp_path, "me/geo")
    (student / "model.safetensors").write_bytes((student / "model.safetensors").read_bytes()[:-8])
    with pytest.raises(UserError, match=r"model\.safetensors in .* is missing or half written"):
        push(student, "me/geo")
    (student / "manifest.json").unlink()
    done = CliRunner().invoke(app, ["push", str(student), "me/geo"])
    assert isinstance(done.exception, UserError) and "is not finished: run the `agentkd distill`" in str(done.exception)


def write_images(folder: Path) -> Path:
    """Two classes of ten grey images."""
    import numpy as np
    from PIL import Image

    for label in range(2):
        for number in range(10):
            file = folder / f"level {label}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([label, number]).integers(0, 40, (8, 8), dtype=np.uint8)
            Image.fromarray(noise + np.uint8(70 * label)).save(file)
    return folder


def image_model(folder: Path) -> str:
    """The config of a small ViT that sees grey images."""
    settings = {"image_size": 8, "patch_size": 4, "num_channels": 3, "hidden_size": 8, "num_hidden_layers": 1}
    settings |= {"num_attention_heads": 2, "intermediate_size": 16}
    (folder / "vit.json").write_text(json.dumps({"model_type": "vit", **settings}))
    return str(folder / "vit.json")


def student_of_images(folder: Path) -> Path:
    from agentkd.config import ImagesConfig
    from agentkd.distill.images.run import distill_images

    model, out = image_model(folder), str(folder / "out")
    pair = {"student": model, "teacher_model": model, "data": str(write_images(folder / "images"))}
    distill_images(ImagesConfig(**pair, out=out, epochs=1, teacher_epochs=1, batch=16))
    return folder / "out"


def student_of_texts(folder: Path) -> Path:
    from agentkd.config import TextsConfig
    from agentkd.distill.texts.run import distill_texts
    from tests.support.students import little_student

    student, corpus = little_student(folder / "model"), folder / "texts.txt"
    corpus.write_text("".join(f"the number {number} is there\n" for number in range(40)))
    values = {"corpus": str(corpus), "student": str(student), "out": str(folder / "out"), "max_length": 32}
    distill_texts(TextsConfig.model_validate({**values, "held_out": 0.2, "precision": "fp32", "evaluations": 1}))
    return folder / "out"


def student_of_questions(folder: Path) -> Path:
    from agentkd.config import VisionLanguageConfig
    from agentkd.distill.vision_language.run import distill_vision_language
    from tests.support.vision_language import make_model, write_questions

    pair = {"teacher_model": str(make_model(folder / "teacher", "llava", width=32))}
    pair |= {"student": str(make_model(folder / "model", "llava")), "data": str(write_questions(folder / "data"))}
    distill_vision_language(VisionLanguageConfig(**pair, out=str(folder / "out"), batch=16))
    return folder / "out"


KINDS = {
    "image-classification": student_of_images,
    "text-generation": student_of_texts,
    "image-text-to-text": student_of_questions,
}


@pytest.mark.parametrize("pipeline", KINDS)
def test_students_of_other_tasks_are_usable_from_what_the_hub_holds(
    pipeline: str, hub: tuple[Hub, str], tmp_path: Path
) -> None:
    require("trl", "torch", "PIL")
    import transformers

    state, endpoint = hub
    made = KINDS[pipeline](tmp_path)
    done = pushed(made, "me/other", endpoint, "hf_owner")
    assert done.returncode == 0, done.stderr
    assert f'next: transformers.pipeline("{pipeline}", model="me/other")' in done.stderr
    assert state.cards[0]["pipeline_tag"] == pipeline
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    for name, content in state.files.items():
        (loaded / name.removeprefix("me/other/")).write_bytes(content)
    kept = {path.name for path in loaded.iterdir()}
    assert kept >= {"README.md", "model.safetensors", "metrics.json", "report.html"}
    assert not kept & {"predictions.jsonl", "baseline", "teacher"}, "what was held out stays at home"
    transformers.pipeline(pipeline, model=str(loaded))
    if pipeline == "image-classification":
        (made / "preprocessor_config.json").unlink()
        done = pushed(made, "me/other", endpoint, "hf_owner")
        assert done.returncode == 2 and "has no image processor (preprocessor_config.json)" in done.stderr


@pytest.mark.whole
def test_the_student_of_a_client_is_pushed_and_not_that_of_all(hub: tuple[Hub, str], tmp_path: Path) -> None:
    require("torch", "PIL")
    from agentkd.config import ClientsConfig
    from agentkd.distill.clients.run import distill_clients

    for client in ("ann", "bob"):
        write_images(tmp_path / "data" / client)
    shared, out = write_images(tmp_path / "shared"), tmp_path / "out"
    values = {"data": str(tmp_path / "data"), "shared": str(shared), "student": image_model(tmp_path), "out": str(out)}
    distill_clients(ClientsConfig(**values, rounds=1, epochs=1, exchange_epochs=1, tune_epochs=1, batch=8))
    done = pushed(out, "me/ann", hub[1], "hf_owner")
    assert done.returncode == 2 and "holds a student for each client: push one of them (ann, bob)" in done.stderr
    done = pushed(out / "ann", "me/ann", hub[1], "hf_owner")
    assert done.returncode == 0, done.stderr
    assert hub[0].cards[0]["pipeline_tag"] == "image-classification"
    assert {"me/ann/README.md", "me/ann/preprocessor_config.json"} <= hub[0].files.keys()
