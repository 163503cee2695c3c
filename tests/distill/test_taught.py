"""What a student was taught is read back from its directory, whatever else stands there."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agentkd.agents.path_writer import prompt_text, read_prompt
from agentkd.agents.worked_examples import Example
from agentkd.distill.data.dataset import trl_row
from agentkd.distill.data.forms import Example as Row
from agentkd.distill.data.taught import read_lessons
from agentkd.retrievers.path_retriever import mask_topics


def test_lessons_come_back_and_other_rows_are_left_out(tmp_path: Path) -> None:
    rows = [
        trl_row(Row(id="q1", trace="t", prompt=prompt_text("Who directed Alien?", ["Alien"]), target="directed by")),
        {"id": "q2", "messages": []},
        {"id": "q3", "prompt": "Answer: ", "completion": '"a path"'},
        {"id": "q4", "prompt": prompt_text("Who?", []), "completion": "no JSON"},
        7,
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "[" * 5000 + "\n"
    (tmp_path / "dataset.jsonl").write_text(text)
    assert read_lessons(tmp_path) == [Example("q1", "Who directed ?", "directed by")]
    assert read_lessons(tmp_path / "nowhere") == []


@given(st.text())
def test_a_question_is_read_from_its_prompt(question: str) -> None:
    assert read_prompt(prompt_text(question, [])) == mask_topics(question, [])
