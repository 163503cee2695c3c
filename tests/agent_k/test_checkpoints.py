"""A checkpoint is plain values: nothing that it names is imported or called, whoever wrote the run directory."""

from __future__ import annotations

import asyncio
import json
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs the extra kaggle")

import ormsgpack
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agentkd.agents.agent_k.checkpoints import FILE, PlainSerializer, check_state
from agentkd.agents.agent_k.run import THREAD, run
from agentkd.errors import UserError
from tests.support.competition_runs import config
from tests.support.little_competition import make


class Planted:
    """A value that makes a directory when LangGraph's serializer, or pickle, reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.folder,)


def extension(code: int, *content: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb({"steps": ormsgpack.Ext(code, ormsgpack.packb(content))})


def attacks(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every way in which a checkpoint can name what is to be called."""
    name, arguments = str(folder), {"name": str(folder)}
    lc = {"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [name]}
    secret = {"lc": 1, "type": "secret", "id": ["HOME"]}
    return {
        "one argument": extension(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "os", "mkdir", name),
        "arguments": extension(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, "os", "mkdir", [name]),
        "named arguments": extension(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, "os", "makedirs", arguments),
        "a method": extension(jsonplus.EXT_METHOD_SINGLE_ARG, "os", "path", name, "exists"),
        "pydantic 1": extension(jsonplus.EXT_PYDANTIC_V1, "os", "makedirs", arguments),
        "pydantic 2": extension(jsonplus.EXT_PYDANTIC_V2, "os", "makedirs", arguments, "model_validate_json"),
        "an array": extension(jsonplus.EXT_NUMPY_ARRAY, "<f8", [1], "C", b"12345678"),
        "a dataclass": extension(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, "agentkd.config", "KaggleConfig", arguments),
        "an enum": extension(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, "signal", "Signals", 9),
        "a regular expression": extension(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, "re", "compile", ["(a+)+b", 0]),
        "within another": extension(
            jsonplus.EXT_DELTA_SNAPSHOT, ormsgpack.Ext(0, ormsgpack.packb(("os", "mkdir", name)))
        ),
        "a JSON constructor": ("json", json.dumps(lc).encode()),
        "a secret of the environment": ("json", json.dumps(secret).encode()),
        "a pickle": ("pickle", pickle.dumps(Planted(folder))),
    }


RUN_BY_LANGGRAPH = ("one argument", "arguments", "named arguments", "pydantic 1", "pydantic 2")


@pytest.mark.parametrize("name", attacks(Path("x")))
def test_nothing_that_a_checkpoint_names_is_called(name: str, tmp_path: Path) -> None:
    attack = attacks(tmp_path / "made")[name]
    with pytest.raises(UserError, match=r"checkpoints.sqlite .*: remove checkpoints.sqlite of the run directory"):
        PlainSerializer().loads_typed(attack)
    assert not (tmp_path / "made").exists()
    if name in RUN_BY_LANGGRAPH:  # what this protects from
        jsonplus.JsonPlusSerializer().loads_typed(attack)
        assert (tmp_path / "made").is_dir()


def plant(folder: Path, attack: tuple[str, bytes], where: str) -> None:
    """A run directory's checkpoint of a finished first stage, with the attack in the state or in a pending write."""

    class Evil(PlainSerializer):
        def dumps_typed(self, value: Any) -> tuple[str, bytes]:
            evil = value == "evil" if where == "writes" else isinstance(value, dict) and "channel_values" in value
            return attack if evil else super().dumps_typed(value)

    async def write() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(folder / FILE)) as saver:
            saver.serde = Evil()
            at: Any = {"configurable": {**THREAD["configurable"], "checkpoint_ns": ""}}
            after = await saver.aput(at, empty_checkpoint(), {"source": "loop", "step": 1}, {})
            await saver.aput_writes(after, [("steps", "evil")], "task")

    folder.mkdir()
    asyncio.run(write())


@pytest.mark.parametrize("where", ["checkpoints", "writes"])
def test_a_strangers_run_directory_runs_nothing(where: str, tmp_path: Path) -> None:
    """The command itself opens the directory: one line, nothing made, no candidate begun."""
    home, out = make(tmp_path), tmp_path / "run"
    plant(out, attacks(tmp_path / "made")["one argument"], where)
    with sqlite3.connect(out / FILE) as database:
        assert database.execute(f"SELECT count(*) FROM {where}").fetchone() == (1,)
    with pytest.raises(UserError, match="was not written by agentkd"):
        run(config(home, out))
    assert not (tmp_path / "made").exists() and not (out / "submission.csv").exists()


def test_a_state_comes_back_as_it_was() -> None:
    state = {"steps": [{"kind": "plan", "reward": 0.5}], "memory": [], "teacher": "Ä🙂", "rounds": {"features": 1}}
    plain = PlainSerializer()
    for value in (state, None, [1, True, None, b"\0", "half \ud83d"]):
        form, content = plain.dumps_typed(value)
        again = plain.loads_typed((form, content))
        assert again == value or again == [1, True, None, b"\0", "half ?"], "half a character cannot be stored"
    check_state(state)
    assert "KeyError" in plain.loads_typed(plain.dumps_typed(KeyError("x"))), "the error of a stage is noted as text"
    with pytest.raises(TypeError, match="not msgpack serializable: PosixPath"):
        plain.dumps_typed({"folder": Path("x")})


@pytest.mark.parametrize("state", [{"steps": 5}, {"candidates": {"a": 1}}, {"another": 1}, ["steps"]])
def test_a_state_of_another_shape_is_refused(state: Any) -> None:
    with pytest.raises(UserError, match=r"checkpoints.sqlite is damaged .*remove"):
        check_state(state)
