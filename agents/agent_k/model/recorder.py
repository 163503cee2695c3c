"""Record a stage's steps, usage and memory until the graph keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentkd.agents.agent_k.memory import Entry, add_entry
from agentkd.trace import Step, Usage


@dataclass
class Recorder:
    """The steps, usage and memory of one stage."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    memory: list[Entry] = field(default_factory=list)
    teacher: str = ""  # the model that has answered, "" for none
    cut_at: int = 0  # tokens at which the last answer was cut, 0 for a whole answer

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Recorder:
        return cls(memory=list(state.get("memory", [])))

    def note(self, step: Step) -> None:
        self.steps.append(step.model_dump(mode="json"))

    def note_usage(self, usage: Usage) -> None:
        self.usage.append(usage.model_dump(mode="json"))

    def remember(self, content: str, *tags: str) -> None:
        self.memory = add_entry(self.memory, content, *tags)

    def update(self, **values: Any) -> dict[str, Any]:
        """The update of the state that the node returns, with further `values`."""
        teacher = {"teacher": self.teacher} if self.teacher else {}
        return {"steps": self.steps, "usage": self.usage, "memory": self.memory, **teacher, **values}
