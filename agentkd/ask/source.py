"""Where a student looks for answers: the knowledge base that the user names, else the one of its own traces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.answering import check_names, derive_config
from agentkd.config import EvalConfig
from agentkd.distill.data.forms import AGENTS
from agentkd.distill.publish.card import find_student_folder
from agentkd.distill.publish.lineage import read_lineage, task_options
from agentkd.errors import UserError
from agentkd.eval.systems import SERVED, System, list_systems
from agentkd.runs.progress import say
from agentkd.runs.read import read_config
from agentkd.tasks.load import load_facts, load_task
from agentkd.tasks.task import Task
from agentkd.tasks.tool_task import ToolTask
from agentkd.teacher.open import split_specs
from agentkd.world import TaskWorld

HOPS = 3  # edges of the longest path, where nobody tells: as for questions of one's own
OTHERS = {
    "distill-texts": "plain text",
    "distill-images": "images",
    "distill-clients": "images",
    "distill-vision-language": "questions about images",
}


@dataclass(frozen=True)
class AskedSystem:
    """A student, and the world of facts in which it is asked. `read_by` says how its opinion is read."""

    system: System
    world: TaskWorld
    read_by: str

    @property
    def form(self) -> str:
        """The form in which the student reads and writes: path, one-call or dialogue."""
        return next(form for form, agent in AGENTS.items() if agent == self.system.agent)


def find_system(config: EvalConfig) -> AskedSystem:
    """Find the student that `config.model` names and load its knowledge base; what was left open is said.

    Raises UserError for a model that cannot be asked, and where neither the user nor the student names a knowledge
    base."""
    spec = str(config.model or "")
    if len(split_specs(spec)) != 1:
        raise UserError(f"{spec!r} is not one student: give a directory that `agentkd distill` wrote, or a model")
    check_student(spec)
    folder = find_student_folder(spec)
    lineage = read_lineage(folder) if folder is not None else {}
    config, task = choose_task(config, lineage, spec)
    # A server for one question would take longer to start than the question.
    (system,) = list_systems(config.model_copy(update={"backend": config.backend or "in-process"}))
    if folder is None:
        say(f"{spec} is no student of `agentkd distill`: it is asked in form path, as if it were")
    config = derive_config(config, split="", out="", hops=task.max_hops)
    check_names(config, [system.agent], [system.model] if system.served else [])
    world = TaskWorld(task, task.knowledge_base(), config)
    return AskedSystem(system, world, system.describe_reading(config, task.max_hops))


def check_student(spec: str) -> None:
    """Raise UserError for a directory of another stage than `distill` of traces, or of a form that no agent asks in."""
    folder = Path(spec)
    if spec.startswith(SERVED) or not (folder / "config.yaml").is_file():
        return
    written = read_config(folder)
    if (stage := str(written.get("stage"))) != "distill":
        taught = OTHERS.get(stage)
        what = f"was taught {taught}" if taught else f"is a directory of stage {stage!r}"
        raise UserError(f"{spec} {what}: questions are for students that `agentkd distill` made of traces")
    if (form := written.get("form", "one-call")) not in AGENTS:
        raise UserError(f"{spec} was taught in form {form!r}; those that can be asked are {', '.join(AGENTS)}")


def choose_task(config: EvalConfig, lineage: dict[str, Any], spec: str) -> tuple[EvalConfig, Task]:
    """Open the task whose knowledge base is asked, and put into the config what comes from the student.

    `--kb` alone is enough: a knowledge base needs no questions to be asked. A student of one's own questions needs only
    their knowledge base, too."""
    given, known = config.model_fields_set, task_options(lineage)
    hops = lineage.get("hops") if isinstance(lineage.get("hops"), int) else None
    if "task" in given:
        known = known if known.get("task") == config.task else {}
    elif "kb" in given:
        known = {name: value for name, value in known.items() if name == "retriever"}
    elif not known:
        raise UserError(f"{spec} does not say which knowledge base it was taught on: give --kb FILE, or --task NAME")
    of_kb = {"kb_columns", "aliases"} if "kb" in given else set()
    taken = {name: value for name, value in known.items() if name not in given | of_kb}
    if taken:
        say(f"{', '.join(f'{name} {value}' for name, value in taken.items())}: as {spec} was taught")
    config = config.model_copy(update=taken)
    facts_alone = "task" not in given and (config.kb if "kb" in given else _is_own(config))
    if facts_alone:
        task = load_facts(str(config.kb), aliases=config.aliases, columns=config.kb_columns, max_hops=hops or HOPS)
    else:
        task = load_task(config.task, data=config.data, kb=config.kb, aliases=config.aliases, columns=config.kb_columns)
        if isinstance(task, ToolTask):
            raise UserError(
                f"task {task.name} is answered with a tool, not from a knowledge base: evaluate {spec} with "
                f"agentkd eval --task {task.name}, or run it as --teacher of agentkd generate --agent {task.name}"
            )
    return config.model_copy(update={"hops": config.hops or hops}), task


def _is_own(config: EvalConfig) -> bool:
    """Whether the task is the user's own file of questions, which its knowledge base does without."""
    return config.kb is not None and config.task.endswith((".jsonl", ".json"))
