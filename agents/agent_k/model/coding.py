"""plan → code → sandbox → unit test: how the model writes code for a stage, and learns from what the world says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkd.agents.agent_k.context import MODEL, STAGES, Around, State
from agentkd.agents.agent_k.memory import Entry, remember, retrieve
from agentkd.agents.agent_k.model.ask import (
    LENGTHS,
    PAGE,
    VIEW,
    Silent,
    choices,
    clipped,
    object_schema,
    parse_code,
    parse_json,
)
from agentkd.agents.agent_k.workspace.checks import Failure, passed
from agentkd.agents.agent_k.workspace.maps import maps_hash
from agentkd.sandbox.collect import Outcome
from agentkd.trace import Step, Verdict

TRIES = 5  # of code for a stage
BACK = 2  # times that a stage is sent back to
ERROR = 1500  # characters of an error shown to the model


@dataclass
class Work:
    """What a stage does, step by step, until the graph keeps it."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    memory: list[Entry] = field(default_factory=list)
    teacher: str = ""  # who has answered
    cut: int = 0  # tokens at which the last answer was cut, 0 for a whole one

    @classmethod
    def on(cls, state: State) -> Work:
        return cls(memory=list(state.get("memory", [])))

    def note(self, step: Step) -> None:
        self.steps.append(step.model_dump(mode="json"))

    async def ask(
        self, around: Around, state: State, stage: str, action: str, *, setup: bool, schema: Any = None,
        attempt: int = 0, prompt: str = "", **values: Any,
    ) -> str:  # fmt: skip
        """The model's answer with the stage's context around the question; recorded. Raises Silent."""
        could = around.asker.open(setup=setup)
        try:
            step, reply = await around.asker.ask(
                stage, action, prompt or action, context(around, state, self.memory, stage) | values,
                setup=setup, schema=schema, attempt=attempt,
            )  # fmt: skip
        except Silent as silence:
            if could:
                verdict = Verdict(ok=False, rung=stage, reason=str(silence)[:300])
                self.note(Step(kind=f"{stage}.{action}", verdict=verdict))
            raise
        self.note(step)
        self.usage.append(reply.usage.model_dump(mode="json"))
        self.teacher = around.asker.teacher
        self.cut = LENGTHS[action] if reply.finish_reason == "length" else 0
        return step.output

    def update(self, **values: Any) -> dict[str, Any]:
        """What the node hands to the graph."""
        said = {"teacher": self.teacher} if self.teacher else {}
        return {"steps": self.steps, "usage": self.usage, "memory": self.memory, **said, **values}


@dataclass(frozen=True)
class Written:
    """The end of a stage's coding: an accepted folder, a stage to go back to, or neither."""

    folder: Path | None = None
    key: int | None = None  # in the long-term memory
    back: str = ""


def context(around: Around, state: State, memory: Sequence[Entry], stage: str) -> dict[str, Any]:
    """The values of agent_k/context.jinja: what is known, and the views that the stage needs. Rebuilt every time."""
    view = retrieve(memory, {"view": 1.0, stage: 0.5}, k=2)
    notes = retrieve(memory, {f"{stage}!": 2.0}, k=4)
    facts = retrieve(memory, {"facts": 1.0}, k=1)
    learnt = [f"worked before: {item.content[:300]}" for item in around.long_term.retrieve(stage, "lesson", k=2)]
    return {
        "title": around.source.title,
        "page": clipped(state.get("summary") or around.source.text or "(no description)", PAGE),
        "facts": facts[0] if facts else "",
        "view": clipped("\n\n".join(view), VIEW),
        "notes": [*notes, *learnt],
    }


Attempt = Callable[[Path], Awaitable[tuple[list[Failure], Outcome | None]]]


async def write_code(
    around: Around, state: State, work: Work, stage: str, attempt_code: Attempt, *, setup: bool,
    values: Mapping[str, Any] | None = None, number: int = 0,
) -> Written:  # fmt: skip
    """Let the model write the stage's code until it passes, at most TRIES times. `attempt_code` runs what lies in a
    folder (code.py) and tests it. The steps, with every prompt, error and verdict, go to `work`."""
    values = dict(values or {})
    plan = failed = error = cause = ""
    try:
        plan = await work.ask(around, state, stage, "plan", setup=setup, attempt=number, **values)
        for attempt in range(TRIES):
            answer = await work.ask(
                around, state, stage, "code", setup=setup, attempt=number + attempt, plan=clipped(plan, 1000),
                failed=clipped(failed, 3000), error=error, cause=cause, **values,
            )  # fmt: skip
            code = parse_code(answer)
            folder, failures = await tried(around, work, stage, code, attempt_code)
            if not failures:
                around.asker.outcome(True)
                key = around.long_term.add("code", stage, code, {"run": around.run.name, "attempt": attempt})
                return Written(folder, key)
            failed, error = code, clipped("\n".join(f"{item.test}: {item.message}" for item in failures), ERROR)
            cause, fault = await analysed(around, state, work, stage, failed, error, failures, setup=setup)
            work.memory = remember(work.memory, f"{stage} failed: {cause or error[:300]}", f"{stage}!", "error")
            if fault != stage and may_go_back(state, fault):
                work.memory = remember(work.memory, f"{stage} failed because of {fault}: {cause or error[:300]}",
                                       f"{fault}!", "error")  # fmt: skip
                return Written(back=fault)
    except Silent:
        return Written()
    around.asker.outcome(False)
    return Written()


async def tried(around: Around, work: Work, stage: str, code: str, attempt_code: Attempt) -> tuple[Path, list[Failure]]:
    """Run and test one answer. The folder is named by its code and the maps, so a resumed run finds its results."""
    digest = hashlib.sha256((code + maps_hash(around.workspace)).encode()).hexdigest()[:10]
    folder = around.workspace / "code" / f"{stage}-{digest}"
    outcome = None
    if not code:
        failures = [Failure(test="answers with code", stage=stage, message="no ```python block with a function")]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "code.py").write_text(code)
        with around.clock.models():
            failures, outcome = await attempt_code(folder)
    if failures and work.cut:
        message = f"the answer was cut at {work.cut} tokens: write shorter code, without comments and explanations"
        failures = [Failure(test="answer is whole", stage=stage, message=message), *failures]
    evidence = [item.evidence for item in failures] or [passed(f"{stage} code")]
    reason = "; ".join(item.message for item in failures)
    work.note(
        Step(
            kind=f"{stage}.run",
            output=json.dumps({"code": folder.name, "stopped": outcome.stopped, "output": outcome.output[-2000:]})
            if outcome
            else "",
            evidence=tuple(evidence),
            verdict=Verdict(ok=not failures, rung=stage, reason=reason[:500]),
        )
    )
    return folder, failures


async def analysed(
    around: Around, state: State, work: Work, stage: str, failed: str, error: str, failures: Sequence[Failure],
    *, setup: bool,
) -> tuple[str, str]:  # fmt: skip
    """The cause of a failure and the stage at fault: the unit test's word where it blames another stage, else the
    model's, among the stages whose result the model has made."""
    fault = next((item.stage for item in failures if item.stage != stage), stage)
    stages = [stage, *(name for name in STAGES[: STAGES.index(stage_of(stage))] if may_go_back(state, name))]
    schema = object_schema({"cause": {"type": "string"}, "stage": choices(stages)})
    answer = await work.ask(around, state, stage, "analyse", setup=setup, schema=schema, failed=clipped(failed, 2500),
                            error=error, stages=stages)  # fmt: skip
    said = parse_json(answer) or {}
    if fault == stage and said.get("stage") in stages:
        fault = str(said["stage"])
    return clipped(str(said.get("cause", "")), 400), fault


def stage_of(part: str) -> str:
    """The stage that a part belongs to: features and solutions are written while solving."""
    return "solve" if part in ("features", "solution") else part


def may_go_back(state: State, stage: str) -> bool:
    """A stage is worth going back to where the model made its result, and has not been sent back to it too often."""
    made = state.get("accepted", {}).get(stage) == MODEL
    return made and state.get("sent_back", {}).get(stage, 0) < BACK
