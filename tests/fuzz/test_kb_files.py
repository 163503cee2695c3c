"""Knowledge bases: a damaged file is refused in one line, or read by the reader and by the checker alike."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from agentkd.errors import UserError
from agentkd.eval.faithful import RawKB
from agentkd.retrievers.kb import KnowledgeBase
from tests.support.fuzz import fuzz
from tests.support.kb_forms import FORMS, WD, write

pytestmark = pytest.mark.whole
PIECES = [*'"\t,;|\n\r<>?\\\0{}[]1= ', "@en", "^^", "_:", "\u200b", "é", f"{WD}entity/Q1", "Label", ":ID", ""]
PIECES += ["head", "relation", "tail", "type", "label", "source", "target", "id", "name"]


def damage_text(random: random.Random, text: str) -> str:
    for _ in range(random.randint(0, 4)):
        at = random.randrange(len(text) + 1)
        text = text[:at] + random.choice(PIECES) + text[at + random.choice((0, 0, 1, 2, 5, 20)) :]
    return text * 2 if random.random() < 0.1 else text


def test_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKD_HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("no folder: nothing is kept")

    def one_round(random: random.Random) -> None:
        files = {name: damage_text(random, text) for name, text in random.choice(FORMS)[1].items()}
        columns = random.choice((None, None, None, "1,2,3", "3,=r,1"))
        path = write(tmp_path / "kb", files)
        try:
            kb = KnowledgeBase.load(path, columns=columns)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert RawKB.load(path, columns=columns).triples == set(kb.triples())
        shutil.rmtree(tmp_path / "kb")

    fuzz(one_round, rounds=3000)
