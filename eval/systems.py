"""The systems that an evaluation compares: agents with teachers, and students in the form in which they were taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkd.agents import MODEL_FREE, WITH_TOOLS
from agentkd.config import EvalConfig, default_teacher, has_gpu, slug
from agentkd.distill.data.forms import AGENTS
from agentkd.distill.publish.card import find_student_folder
from agentkd.distill.publish.lineage import read_lineage, task_options
from agentkd.errors import AgentkdError, UserError, unknown_name
from agentkd.inference.in_process import identify_weights
from agentkd.models import find_weights
from agentkd.runs.progress import say
from agentkd.runs.read import read_config
from agentkd.serving.vllm import find_vllm
from agentkd.teacher.chat import NO_TEACHER
from agentkd.teacher.open import split_specs
from agentkd.world import reading_settings

SERVED = ("http:", "https:", "vllm:", "openai:", "local")


@dataclass(frozen=True)
class System:
    """A system that answers questions; `identity` tells apart two students of one path. With `trust`, code in a model's
    folder may run. Answers of one student through vLLM and in process are kept apart."""

    name: str
    agent: str
    model: str
    served: bool
    identity: str
    trust: bool = False

    @property
    def folder(self) -> str:
        through = "-vllm" if self.identity and self.served else ""
        return slug(self.name) + (f"-{self.identity[:8]}{through}" if self.identity else "")

    @property
    def student(self) -> Path | None:
        """The directory of the student that `distill` made; None for any other system."""
        return find_student_folder(self.model) if self.agent in (*AGENTS.values(), *WITH_TOOLS) else None

    def describe_reading(self, config: EvalConfig, max_hops: int) -> str:
        """How the model's opinion is read. Two ways are worth different scores with the same weights."""
        if self.model == NO_TEACHER:
            return "no model"
        settings = reading_settings(config, self.model.rpartition("#")[2], self.agent, max_hops=max_hops)
        if self.agent == "path-writer" and settings.constrain == "kb" and not self.served:
            return "weighed"
        by_votes = self.agent == "path-writer" and settings.constrain == "kb"
        by_votes = by_votes or (self.agent == "kd-cot" and settings.reader == "complete")
        return f"{settings.votes} votes" if by_votes and settings.votes > 1 else "one answer"


def list_systems(config: EvalConfig, tool: str = "") -> list[System]:
    """List the systems to evaluate: agents times teachers, then each model in the form in which it was taught.

    `tool` is the agent that alone can answer the task, where it has one: all models are asked by it. Else a model that
    was not taught, such as the student before training, takes the form of the first one that was.
    """
    found = []
    for agent in split_list(config.agent):
        if agent in MODEL_FREE:
            found.append(System(agent, agent, NO_TEACHER, served=True, identity=""))
            continue
        for teacher in split_specs(config.teacher or default_teacher()):
            if agent != "none":
                found.append(System(f"{agent}/{teacher}", agent, teacher, served=True, identity=""))
    models = split_specs(config.model or "")
    taught = {model: own for model in models if (own := read_taught_form(model))}
    default = next(iter(taught.values()), "path")
    backend = choose_backend(config) if any(not model.startswith(SERVED) for model in models) else None
    for model in models:
        served = model.startswith(SERVED)
        identity = "" if served else identify_weights(find_weights(model))
        form: str = config.form or taught.get(model, default)
        if not tool and form not in AGENTS:
            raise UserError(
                f"{model} is of form {form}, which no agent of agentkd asks: serve it, and run its own agent with "
                f"agentkd generate --agent … --teacher URL#MODEL"
            )
        if config.constrain == "kb" and form != "path":
            raise UserError(f"--constrain kb is for students that write paths, {model} is of form {form}")
        started = not served and backend == "vllm"
        found.append(
            System(
                model.rstrip("/"),
                tool or AGENTS[form],
                f"vllm:{model}" if started else model,
                served=served or started,
                identity=identity,
                trust=config.trust_remote_code,
            )
        )
    if not found:
        raise UserError("nothing to evaluate: give --agent (with --teacher) or --model")
    return found


def choose_backend(config: EvalConfig) -> str:
    """How students are run that no server is named for: `vllm` or `in-process`, as the config says.

    Else vLLM, where a GPU and vLLM are found; a line says so, since it reads paths otherwise."""
    if config.backend is not None:
        return config.backend
    if not has_gpu() or config.trust_remote_code:  # vLLM would run code of the folder without our checks
        return "in-process"
    try:
        find_vllm()
    except AgentkdError as error:
        say(f"a GPU is here, but students answer in this process, one batch after another: {error}")
        return "in-process"
    say("students answer through vLLM, by votes; backend=in-process weighs paths exactly, and is slower")
    return "vllm"


def read_taught_form(model: str) -> str:
    """Return the form that a student was taught in, from its config.yaml; empty for a model without one."""
    folder = find_student_folder(model)
    return str(read_config(folder).get("form", "one-call")) if folder else ""  # configs without the field


def inherit_task(config: EvalConfig) -> EvalConfig:
    """Take what the command line leaves open of task, data, kb and retriever from the students' own traces.

    Raises UserError where students of several tasks are named and no task is."""
    folders = {model: find_student_folder(model) for model in split_specs(config.model or "")}
    known = {model: task_options(read_lineage(folder)) for model, folder in folders.items() if folder is not None}
    known = {model: options for model, options in known.items() if options}
    given = config.model_fields_set
    if "task" in given:
        known = {model: options for model, options in known.items() if options["task"] == config.task}
    if not known:
        return config
    model, options = next(iter(known.items()))
    for other, others in known.items():
        if other_task := next((name for name in ("task", "data", "kb") if others.get(name) != options.get(name)), None):
            raise UserError(
                f"{model} was taught on {other_task} {options.get(other_task)}, {other} on {others.get(other_task)}: "
                f"name the task with --task, --data and --kb"
            )
    of_kb = {"kb_columns", "aliases"} if "kb" in given else set()  # they belong to the knowledge base of the traces
    taken = {name: value for name, value in options.items() if name not in given | of_kb}
    if taken:
        say(f"{', '.join(f'{name} {value}' for name, value in taken.items())}: as {model} was taught")
    return config.model_copy(update=taken)


def check_baseline(baseline: str | None, names: Sequence[str]) -> None:
    """Raise UserError for a baseline that is none of the systems."""
    if baseline is not None and baseline.rstrip("/") not in names:
        raise unknown_name("baseline", baseline, names)


def split_list(text: str) -> list[str]:
    """Split a comma-separated list."""
    return [word for part in text.split(",") if (word := part.strip())]
