"""One run of a stage: its context, its record, and where the graph goes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from langgraph.types import Command

from agentkd.agents.agent_k.context import CODE_PARTS, Context, RunState
from agentkd.agents.agent_k.contract import Failure, clip, passed_test
from agentkd.agents.agent_k.memory import Entry, retrieve
from agentkd.agents.agent_k.model.ask import LENGTHS, NoAnswer
from agentkd.agents.agent_k.model.recorder import Recorder
from agentkd.agents.agent_k.results import MODEL
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.trace import Step, Verdict

BACK = 2  # times that a run is sent back to a stage, at most
PAGE, VIEW = 3500, 2500  # characters of the pages and of the data shown in a prompt


@dataclass(frozen=True)
class StageRun:
    """A stage in progress. `stage` names it, or one of CODE_PARTS while solving."""

    context: Context
    state: RunState
    recorder: Recorder
    stage: str

    @classmethod
    def begin(cls, context: Context, state: RunState, stage: str) -> StageRun:
        return cls(context, state, Recorder.from_state(state), stage)

    def part(self, name: str) -> StageRun:
        """The same run, recorded under the name of one of its parts."""
        return replace(self, stage=name)

    @property
    def bench(self) -> Workbench:
        return self.context.bench

    @property
    def times_sent_back(self) -> int:
        """How often a later stage has sent the run back to this one."""
        return self.state.get("sent_back", {}).get(self.stage, 0)

    async def ask(
        self, action: str, *, prompt: str = "", schema: dict[str, Any] | None = None, attempt: int = 0, **values: Any
    ) -> str:
        """Ask the model with all that is known of the competition, and return its text, recorded.

        `prompt` is the template, that of the action by default; `values` are further values of it. Raises
        NoAnswer."""
        model, setup = self.context.model, self.stage not in CODE_PARTS
        could_ask = model.can_ask(setup=setup)
        values = prompt_values(self.context, self.state, self.recorder.memory, self.stage) | values
        try:
            step, reply = await model.ask(
                self.stage, action, prompt or action, values, setup=setup, schema=schema, attempt=attempt
            )
        except NoAnswer as error:
            if could_ask:
                verdict = Verdict(ok=False, rung=self.stage, reason=str(error)[:300])
                self.note(Step(kind=f"{self.stage}.{action}", verdict=verdict))
            raise
        self.note(step)
        self.recorder.note_usage(reply.usage)
        self.recorder.teacher = model.teacher
        self.recorder.cut_at = LENGTHS[action] if reply.finish_reason == "length" else 0
        return step.output

    def note(self, step: Step) -> None:
        self.recorder.note(step)

    def note_test(self, failures: Sequence[Failure]) -> None:
        """Record the outcome of the stage's unit test."""
        evidence = tuple(item.evidence for item in failures) or (passed_test(self.stage),)
        reason = "; ".join(item.message for item in failures)[:500]
        verdict = Verdict(ok=not failures, rung=self.stage, reason=reason)
        self.note(Step(kind=f"{self.stage}.test", evidence=evidence, verdict=verdict))

    def remember(self, content: str, *tags: str) -> None:
        self.recorder.remember(content, *tags)

    def accept(self, author: str) -> dict[str, str]:
        """`accepted` of the state, with CODE or MODEL as the author of this stage's result."""
        return self.state.get("accepted", {}) | {self.stage: author}

    def may_go_back(self, stage: str) -> bool:
        """Whether the model made a stage's result, and the run was not sent back to it too often."""
        made = self.state.get("accepted", {}).get(stage) == MODEL
        return made and self.state.get("sent_back", {}).get(stage, 0) < BACK

    def go_to(self, stage: str, **values: Any) -> Command[str]:
        """Go on with a stage; `values` change the state."""
        return Command(goto=stage, update=self.recorder.update(**values))

    def go_back(self, stage: str, **values: Any) -> Command[str]:
        """Go back to a stage at fault, which then decides anew; `values` change the state."""
        sent_back = dict(self.state.get("sent_back", {}))
        sent_back[stage] = sent_back.get(stage, 0) + 1
        return self.go_to(stage, **values, sent_back=sent_back)


def prompt_values(context: Context, state: RunState, memory: Sequence[Entry], stage: str) -> dict[str, Any]:
    """The values of agent_k/context.jinja: the facts, and the views that the stage needs.

    They are made anew for every prompt."""
    source = context.bench.source
    views = retrieve(memory, {"view": 1.0, stage: 0.5}, k=2)
    notes = retrieve(memory, {f"{stage}!": 2.0}, k=4)
    facts = retrieve(memory, {"facts": 1.0}, k=1)
    lessons = [f"worked before: {item.content[:300]}" for item in context.long_term.retrieve(stage, "lesson", k=2)]
    return {
        "title": source.title,
        "page": clip(state.get("summary") or source.text or "(no description)", PAGE),
        "facts": facts[0] if facts else "",
        "view": clip("\n\n".join(views), VIEW),
        "notes": [*notes, *lessons],
    }
