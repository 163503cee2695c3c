"""Run directories in every state of damage, as a stranger may hand them over: each command ends in a value or a line.

Of a sound directory one file at a time is damaged: its bytes, a value in it, or the file itself, which becomes empty, a
folder, a pipe, a link, or grows without end.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
import yaml

from agentkd.config import GenerateConfig
from agentkd.distill.data.dataset import load_training_set
from agentkd.distill.data.forms import FORMS
from agentkd.distill.feedback import read_rewards
from agentkd.distill.publish.card import (
    add_results,
    find_base_model,
    find_student_folder,
    find_untrained,
    find_weights_licence,
)
from agentkd.distill.publish.lineage import eval_command, read_lineage
from agentkd.distill.resolve import resolve_run
from agentkd.doubts.review import review_run
from agentkd.errors import AgentkdError
from agentkd.eval.systems import inherit_task, read_taught_form
from agentkd.report.write import write_report
from agentkd.runs.read import find_newest_run, read_failures, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import summarise_run
from agentkd.verify import check_draft
from agentkd.world import TaskWorld
from tests.support.fuzz import damage, damage_value, fuzz

pytestmark = pytest.mark.whole
BOMB = b"&a [x,x,x,x,x,x,x,x,x]"


def damage_file(random: random.Random, path: Path) -> None:
    """Damage a file in one of many ways."""
    content = path.read_bytes()
    way = random.random()
    if way < 0.35 and content:
        path.write_bytes(damage(random, content))
    elif way < 0.85:
        damage_content(random, path, content)
    else:
        path.unlink()
        replace_file(random, path)


def damage_content(random: random.Random, path: Path, content: bytes) -> None:
    """Damage a value in a file of records, which stays well-formed."""
    if path.suffix == ".jsonl":
        lines = content.splitlines()
        place = random.randrange(len(lines))
        lines[place] = json.dumps(damage_value(random, json.loads(lines[place]))).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps(damage_value(random, json.loads(content))))
    elif path.suffix == ".yaml":
        path.write_text(yaml.dump(damage_value(random, yaml.safe_load(content))), errors="replace")
    elif path.suffix == ".sqlite":
        damage_database(random, path)
    else:
        path.write_bytes(damage(random, content))


def damage_database(random: random.Random, path: Path) -> None:
    """Damage one value of a table; a checkpoint stays MessagePack."""
    with closing(sqlite3.connect(path)) as database, database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = random.choice(tables)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        rows = database.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid DESC LIMIT 3").fetchall()
        if not rows:
            database.execute(f"DROP TABLE {table}")
            return
        row, column = random.choice(rows), random.randrange(len(columns))
        value: Any = row[1 + column]
        if isinstance(value, bytes) and random.random() < 0.8:
            options = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_REPLACE_SURROGATES
            try:
                plain = ormsgpack.unpackb(value, option=ormsgpack.OPT_NON_STR_KEYS)
                value = ormsgpack.packb(damage_value(random, plain), option=options)
            except (TypeError, ValueError):  # damaged already, or a number that MessagePack has no room for
                value = damage(random, value)
        else:
            value = random.choice([None, 5, -1, 1e999, "", "half", "[[", b"", b"\xc1\xff", "x" * 10_000])
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(f"UPDATE OR IGNORE {table} SET {columns[column]} = ? WHERE rowid = ?", (value, row[0]))


def replace_file(random: random.Random, path: Path) -> None:
    """Put something else in a file's place."""
    way = random.randrange(9)
    if way == 0:
        path.mkdir()
    elif way == 1:
        os.mkfifo(path)
    elif way == 2:
        path.symlink_to(random.choice(["/dev/zero", "/proc/self/mem", path.name, "/etc/hostname"]))
    elif way == 3:
        path.write_bytes(random.choice([b"", b"\0" * 4096, b"\xff\xfe", b"\n\n", b"null\n", b"[]\n", b"{}\n", b"5\n"]))
    elif way == 4:
        path.write_bytes(random.choice([b"[", b'{"id":', b"- ", b"{a: "]) * random.choice((900, 30_000)))
    elif way == 5:
        with path.open("wb") as file:
            file.truncate(random.choice((2, 200)) << 30)  # a hole, which takes no room on the disk
    elif way == 6:
        path.write_bytes(b"a: " + BOMB + b"".join(b"\n%c: [%s]" % (98 + n, b",".join([b"*a"] * 9)) for n in range(9)))
    elif way == 7:
        path.write_bytes(b'{"id": "q", "sample": 0, "x": "' + b"y" * random.choice((10**5, 5 * 10**7)) + b'"}\n')
    # else it is gone


def attempt(work: Callable[[], object]) -> None:
    """Do what a command does: it may be refused, in one line."""
    with suppress(AgentkdError, OSError):
        work()


def damaged_copies(tmp_path: Path, sound: Path, files: Sequence[str]) -> Callable[[random.Random], Path]:
    """Return the function that copies a directory and damages one of its files."""
    place = tmp_path / "damaged" / sound.name

    def make(random: random.Random) -> Path:
        if place.is_symlink():
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(sound, place, symlinks=True)
        damage_file(random, random.choice([path for name in files for path in sorted(place.glob(name))]))
        return place

    return make


@pytest.fixture(scope="module")
def run_of_questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with groups, reviewed traces and failures."""
    from agentkd.generate import generate

    out = tmp_path_factory.mktemp("sound") / "run"
    config = GenerateConfig(agent="top-path", retriever="bm25", limit=12, samples=2, paths=3, out=str(out))
    generate(config)
    review_run(out, count=4, seed=0, ask=lambda *_: "right")
    failures = [{"id": f"q{number}", "sample": 0, "error": "refused", "retry": number == 1} for number in range(3)]
    (out / "failures-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in failures))
    return out


def test_runs_of_questions(run_of_questions: Path, tmp_path: Path) -> None:
    from agentkd.answering import describe_lost
    from agentkd.config import DistillConfig

    config = GenerateConfig.model_validate(
        {name: value for name, value in yaml.safe_load((run_of_questions / "config.yaml").read_text()).items()
         if name in GenerateConfig.model_fields}
    )  # fmt: skip
    world = TaskWorld.load(config)
    copy = damaged_copies(tmp_path, run_of_questions, ["*.json*", "config.yaml"])

    def use_traces(run: Path) -> None:
        for trace in read_traces(run):
            check_draft(world.kb, trace)
            for form in FORMS.values():
                form(trace)

    def resume(run: Path) -> None:
        with RunDirectory(run, "generate", config, world.identity):
            pass

    def learn(run: Path, **options: Any) -> None:
        load_training_set(resolve_run(DistillConfig(traces=str(run), student="s", **options))[0])

    def one_round(random: random.Random) -> None:
        run = copy(random)
        uses: list[Callable[[], object]] = [
            lambda: write_report(run, out=tmp_path / "report.html"),
            lambda: use_traces(run),
            lambda: learn(run, form=random.choice(list(FORMS)), limit=5),
            lambda: learn(run, control=random.choice(["unverified", "shuffled"])),
            lambda: read_rewards([run]),
            lambda: find_newest_run(run.parent),
            lambda: (summarise_run(run, {"q1"}, 2), describe_lost(run), list(read_failures(run))),
            lambda: TaskWorld.load(config.model_copy(update={"demos": str(run)})).memory,
            lambda: review_run(run, count=3, seed=random.randrange(9), ask=lambda *_: "wrong"),
            lambda: resume(run),
        ]
        for use in uses:
            attempt(use)

    fuzz(one_round, rounds=40)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, run_of_questions: Path) -> Path:
    """A student without weights: records, card and report."""
    from agentkd.config import DistillConfig
    from agentkd.distill.publish.lineage import write_lineage

    out = tmp_path_factory.mktemp("students") / "student"
    config = DistillConfig(traces=str(run_of_questions), student="smollm2-135m", out=str(out), epochs=(3.0,), batch=8)
    metrics = {"examples": 21, "steps": 3, "loss_first": 2.5, "loss_last": 0.5, "seconds": 9.0, "losses": [2.5, 1, 0.5],
               "tokens_per_second": 70.5, "traces": 12}  # fmt: skip
    with RunDirectory(out, "distill", config, {"hash_dataset": "d"}) as run:
        write_lineage(out, yaml.safe_load((run_of_questions / "config.yaml").read_text()))
        (out / "README.md").write_text(f"---\nlicense: mit\n---\n# student\n\n{RESULTS}")
        (out / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 5, "auto_map": None}))
        (out / "tokenizer.json").write_text("{}")
        (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
        (out / "model-1.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
        run.finish(metrics)
    return out


RESULTS = "<!-- results -->\n| task | split |\n|---|---|\n| geo | test | 4 | 0 | a | 1 |\n<!-- end of results -->\n"
SCORES = dict.fromkeys(("hit", "hits1", "precision", "recall", "em"), 50.0)
ROW = {"name": "student", "matcher": "strict", "n": 2, **SCORES,
       "f1": 50.0, "f1_low": 40.0, "f1_high": 60.0, "faithful": None, "calls": 1.0, "tokens": 321.0, "seconds": 0.5,
       "in_kb": None, "missing": 0, "read_by": "votes"}  # fmt: skip
DIFFERENCE = {"name": "student", "minus": "base", "matcher": "strict", "f1": 3.0, "f1_low": 1.0, "f1_high": 5.0}


def test_students(student: Path, tmp_path: Path) -> None:
    from agentkd.config import DistillConfig, EvalConfig
    from agentkd.models import find_weights

    names = ["config.yaml", "metrics.json", "lineage.json", "README.md", "manifest.json", "config.json", "*.index.json"]
    copy = damaged_copies(tmp_path, student, [*names, "*.safetensors"])
    config = DistillConfig.model_validate(
        {name: value for name, value in yaml.safe_load((student / "config.yaml").read_text()).items()
         if name in DistillConfig.model_fields}
    )  # fmt: skip
    report = {"task": "geo", "split": "test", "n": 2, "rows": [ROW], "differences": [DIFFERENCE]}

    def resume(folder: Path) -> None:
        with RunDirectory(folder, "distill", config, {"hash_dataset": "d"}):
            pass

    def one_round(random: random.Random) -> None:
        folder = copy(random)
        uses: list[Callable[[], object]] = [
            lambda: write_report(folder, out=tmp_path / "report.html"),
            lambda: (find_student_folder(str(folder)), find_base_model(str(folder))),
            lambda: (find_untrained(folder), read_taught_form(str(folder))),
            lambda: (find_weights_licence(str(folder)), eval_command(read_lineage(folder))),
            lambda: inherit_task(EvalConfig(model=str(folder))),
            lambda: find_weights(str(folder)),
            lambda: add_results(folder, report, ["student"], 0),
            lambda: resume(folder),
        ]
        for use in uses:
            attempt(use)

    fuzz(one_round, rounds=150)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, run_of_questions: Path) -> Path:
    out = tmp_path_factory.mktemp("evaluations") / "eval"
    out.mkdir()
    rows = [
        {**ROW, "name": name, "matcher": matcher} for name in ("student", "top-path") for matcher in ("rog", "strict")
    ]
    report = {"task": "geo", "split": "train", "n": 12, "note": "", "rows": rows, "differences": [DIFFERENCE],
              "groups": [], "below_untrained": [DIFFERENCE], "coverage": {}, "out": str(out)}  # fmt: skip
    (out / "metrics.json").write_text(json.dumps(report))
    shutil.copytree(run_of_questions, out / "top-path")
    values = yaml.safe_load((out / "top-path" / "config.yaml").read_text())
    (out / "top-path" / "config.yaml").write_text(yaml.safe_dump({**values, "stage": "answers", "teacher": "top-path"}))
    return out


def test_evaluations(evaluation: Path, tmp_path: Path) -> None:
    copy = damaged_copies(tmp_path, evaluation, ["metrics.json", "metrics.json", "*/config.yaml", "*/traces-0.jsonl"])

    def one_round(random: random.Random) -> None:
        folder = copy(random)
        attempt(lambda: write_report(folder, out=tmp_path / "report.html"))

    fuzz(one_round, rounds=300)


@pytest.fixture(scope="module")
def competition_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A small competition, a finished run, and one that was stopped while it solved."""
    pytest.importorskip("lightgbm", reason="needs the extra kaggle")
    from agentkd.agents.agent_k import graph
    from agentkd.agents.agent_k.run import run
    from agentkd.sandbox import supervised
    from tests.support.competition_runs import config
    from tests.support.little_competition import make
    from tests.support.warm import KAGGLE, start_solver, warm

    home = tmp_path_factory.mktemp("competition")
    folder = make(home, rows=80)

    async def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervised, "start", functools.partial(start_solver, warm(*KAGGLE).path))
        run(config(folder, home / "whole"))
        patch.setitem(graph.NODES, "ensemble", (stop, graph.NODES["ensemble"][1]))
        with pytest.raises(KeyboardInterrupt):
            run(config(folder, home / "stopped"))
    for out in (home / "whole", home / "stopped"):
        (out / "submissions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in JOURNAL))
        shutil.rmtree(out / "workspace" / "code", ignore_errors=True)
    return folder, home / "whole", home / "stopped"


JOURNAL = (
    {"kind": "run", "hash": "", "id": "abcd"},
    {"kind": "intent", "hash": "h", "file": "s.csv", "message": "m", "score": 0.5, "when": "w"},
    {"kind": "sent", "hash": "h", "ref": 7},
    {"kind": "scored", "hash": "h", "status": "COMPLETE", "public": 0.5, "private": None, "error": ""},
)
FILES = (
    *(2 * ("metrics.json", "traces-0.jsonl", "clock.json", "memory.sqlite", "submissions.jsonl", "checkpoints.sqlite")),
    "config.yaml", "manifest.json", "workspace/maps/*", "workspace/maps/setup.json", "workspace/candidates/*/*.*",
    "workspace/submissions/*",
)  # fmt: skip


@pytest.mark.parametrize("which", ["whole", "stopped"])
def test_competition_runs(
    which: str, competition_runs: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentkd.agents.agent_k.run import run
    from agentkd.sandbox.collect import Outcome
    from agentkd.sandbox.sandbox import Sandbox
    from tests.support.competition_runs import config

    home, *runs = competition_runs
    sound = runs[which == "stopped"]
    files = [pattern for pattern in FILES if list(sound.glob(pattern))]
    copy = damaged_copies(tmp_path, sound, files)
    monkeypatch.setattr(Sandbox, "run", lambda *_, **__: Outcome(ok=False, code=1, seconds=0.1, output="no solver"))

    def one_round(random: random.Random) -> None:
        out = copy(random)
        attempt(lambda: write_report(out, out=tmp_path / "report.html"))
        attempt(lambda: run(config(home, out, max_hours=random.choice((0.2, 0.3)), candidates=random.choice((3, 4)))))

    fuzz(one_round, rounds=40)
