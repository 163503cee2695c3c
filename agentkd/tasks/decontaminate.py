"""Decontamination: neither students nor retrievers may learn from a question that an evaluation asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.errors import AgentkdError
from agentkd.matching import normalize
from agentkd.runs.progress import say
from agentkd.runs.read import IMPORTED
from agentkd.tasks.items import Item, is_own_agent, read_items
from agentkd.tasks.load import reload_task
from agentkd.tasks.overlap import id_root
from agentkd.trace import Trace


def make_evaluation_check(source: Mapping[str, Any]) -> Callable[[Trace], bool]:
    """Return the test whether a trace's question is in another split of its task, by text or by root of its id.

    `source` is the config of the trace's run. Where the task's files are gone, a line says so, and nothing is left out.
    """
    if source.get("agent") == IMPORTED:
        say("imported traces have no evaluation questions that are known here: nothing is left out for them")
        return lambda trace: False
    try:
        if is_own_agent(source.get("agent")):
            return check_items(read_items(Path(str(source.get("task")))), str(source.get("split")))
        task = reload_task(source)
        splits = [split for split in task.splits if split != source.get("split")]
        others = [question for split in splits for question in task.pick(split, None, 0)]
    except AgentkdError as error:
        say(f"not checked against evaluation questions: {error}")
        return lambda trace: False
    texts = {normalize(question.question) for question in others}
    roots = {id_root(question.id) for question in others}
    return lambda trace: normalize(trace.question) in texts or id_root(trace.id) in roots


def check_items(items: Sequence[Item], split: str) -> Callable[[Trace], bool]:
    """The same test for items, whose ids have no roots: by id, or by text, in another split of their file."""
    others = [item for item in items if item.split != split]
    ids, texts = {item.id for item in others}, {normalize(item.question) for item in others}
    return lambda trace: trace.id in ids or normalize(trace.question) in texts
