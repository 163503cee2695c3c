"""The context that every stage gets, and the state that the graph keeps."""

from __future__ import annotations

import operator
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typing_extensions import TypedDict  # pydantic checks it, and needs this one before Python 3.12

from agentkd.agents.agent_k.memory import Entry
from agentkd.agents.agent_k.results import BlendRecord, PlainName

if TYPE_CHECKING:
    from agentkd.agents.agent_k.competition.submit_once import Submissions
    from agentkd.agents.agent_k.memory import LongTermMemory
    from agentkd.agents.agent_k.model.ask import Model
    from agentkd.agents.agent_k.workbench import Workbench

CODE_PARTS = ("features", "solution")  # the parts that the model writes while solving, in the solvers' time


@dataclass(frozen=True)
class Context:
    """The parts of a run that stay the same for all stages."""

    bench: Workbench
    model: Model
    submissions: Submissions
    long_term: LongTermMemory
    stages: tuple[str, ...]  # in their order: the nodes of the graph
    stop: threading.Event  # set by ctrl-C: no stage begins, nothing more is sent or waited for


class RunState(TypedDict, total=False):
    """The state that the checkpointer keeps after every node, as plain values.

    Steps and usage only grow."""

    settled: dict[str, str]  # facts that the user had fixed when the run began; other facts begin it anew
    data: str  # the hash of the files that the run began with; other files begin it anew
    teacher: str  # the model that has answered, "" for none yet
    steps: Annotated[list[dict[str, Any]], operator.add]
    usage: Annotated[list[dict[str, Any]], operator.add]
    said: list[str]  # what is guessed, left out or doubted, a line each
    memory: list[Entry]  # the working memory, newest first
    summary: str
    accepted: dict[str, str]  # stage → CODE or MODEL
    sent_back: dict[str, int]  # stage → how often a later stage has sent the run back to it
    format_code: PlainName | Literal[""]  # the folder of the accepted code, "" for the generic form
    metric_code: PlainName | Literal[""]
    features: str  # the folder of accepted features
    candidates: dict[str, dict[str, Any]]  # name → a dumped results.Scored or results.Failed
    rounds: dict[str, int]  # part of CODE_PARTS → how often the model was asked for it
    best: dict[str, Any]  # a dumped results.Best, {} for none
    blend: BlendRecord
