"""A task's questions through an agent and a teacher, into the store.

Gold is joined here and nowhere earlier: after an agent has handed over its draft and the verifier has judged it.
`collect` is the loop that `eval` shares.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentkd.agents import MODEL_FREE
from agentkd.config import GenerateConfig, default_teacher, slug, task_label
from agentkd.errors import AgentkdError, PutOff, UserError, WorldError
from agentkd.matching import strict_f1
from agentkd.models import PACKAGED
from agentkd.prompts import prompts_hash
from agentkd.retrievers import default_retriever, make_retriever
from agentkd.retrievers.graph import in_memory
from agentkd.runs.engine import run_items
from agentkd.runs.interrupt import Drain
from agentkd.runs.progress import Progress, say
from agentkd.runs.store import Run, is_complete, read_config, read_lines, read_traces
from agentkd.serving.server import LOCAL_SLOTS
from agentkd.teacher.open import (
    NO_TEACHER,
    Cache,
    NoTeacher,
    Teacher,
    TokenLimit,
    open_teacher,
)
from agentkd.trace import Draft, Step, Trace, Usage, Verdict, content_hash
from agentkd.verify import check_draft, join_gold

if TYPE_CHECKING:
    from agentkd.agents.base import Agent, Surroundings
    from agentkd.agents.memory import Memory
    from agentkd.retrievers.bm25 import BM25Passages, PathRetriever
    from agentkd.retrievers.graph import Graph
    from agentkd.tasks.task import Gold, Question, Task
    from agentkd.teacher.open import Chat

Config = TypeVar("Config", bound=GenerateConfig)
GIVE_UP = 8  # errors of the world in a row, after which a run stops instead of failing sample after sample


@dataclass
class World:
    """A task with its KB and retriever, loaded once and used by every agent of the command."""

    task: Task
    kb: Graph
    config: GenerateConfig
    _passages: BM25Passages | None = None

    @classmethod
    def load(cls, config: GenerateConfig) -> World:
        from agentkd.tasks.task import load_task

        task = load_task(
            config.task,
            data=Path(config.data) if config.data else None,
            kb=config.kb,
        )
        kb = task.knowledge_base()
        return cls(task, in_memory(kb, "shuffle=true").shuffled(config.seed) if config.shuffle else kb, config)

    @property
    def identity(self) -> dict[str, str]:
        """What may not change in a run directory besides the config: the content of data, KB and prompts."""
        data = content_hash(self.task.hashes(self.config.split))
        identity = {"hash_data": data, "hash_kb": self.kb.sha256, "hash_prompts": prompts_hash()}
        if (folder := Path(str(self.config.retriever))).is_dir():
            from agentkd.retrievers.dense import encoder_hash

            identity["hash_retriever"] = encoder_hash(folder)
        if self.config.demos:
            identity["hash_demos"] = content_hash(self.memory.examples)
        return identity

    @cached_property
    def memory(self) -> Memory:
        """The worked examples: of the runs that `demos` names, else the packaged ones."""
        from agentkd.agents.memory import Memory, from_traces, packaged

        folders = [Path(name.strip()) for name in (self.config.demos or "").split(",") if name.strip()]
        for folder in folders:
            read_config(folder)  # a folder that is no run is named
        examples = from_traces(trace for folder in folders for trace in read_traces(folder)) if folders else packaged()
        if not examples:
            raise UserError(f"no verified trace in {self.config.demos}: generate some, or leave demos= out")
        return Memory(examples, getattr(self.retriever, "encoder", None))

    @cached_property
    def retriever(self) -> PathRetriever:
        return make_retriever(self.config.retriever or default_retriever(), self.kb)

    def agent(self, name: str, model: Chat) -> Agent:
        """The agent of that name over this world. Raises UserError for an unknown one."""
        from agentkd.agents import make_agent
        from agentkd.agents.judge import Judged
        from agentkd.retrievers.bm25 import BM25Passages

        if name == "rag" and self._passages is None:
            self._passages = BM25Passages(in_memory(self.kb, "agent rag"))
        around = self.surroundings(model, name)
        agent = make_agent(name, around)
        return Judged(agent, around) if self.config.judge else agent

    def surroundings(self, model: Chat, agent: str = "") -> Surroundings:
        """All that the agent may use."""
        from agentkd.agents.base import Surroundings

        return Surroundings(
            kb=self.kb,
            retriever=self.retriever,
            model=model,
            paths=paths_of(self.config, agent),
            hops=self.config.hops or self.task.max_hops,
            rounds=self.config.rounds,
            temperature=self.config.temperature or 0.0,
            passages=self._passages,
            memory=self.memory,
            examples=self.config.examples,
            constrain=self.config.constrain or "kb",
            **reading(self.config, model.name, agent),
        )


PATHS = {"path-writer": 12}  # a path costs a student some four tokens, and is not shown with its answers
VOTES = 8
TAUGHT = 3.0  # nats
RATIONALISED = 1_000_000  # its sample's number: behind all that --samples may ask for


def paths_of(config: GenerateConfig, agent: str) -> int:
    """How many relation paths the agent chooses from."""
    return config.paths or PATHS.get(agent, 5)


def reading(config: GenerateConfig, model: str, agent: str = "") -> dict[str, Any]:
    """How a model reads, where the user left it open (docs/kd-cot.md). The packaged 135M model goes on with a pattern,
    and its choice is worth a nat or so; any other is instructed, and decides alone. Eight votes cost a server that
    shares their prompt hardly more than one; the embedded one reads it again for each. A student that writes paths
    votes as often, and was taught to: its votes count for more."""
    if agent == "path-writer":
        return {"votes": config.votes or VOTES, "trust": TAUGHT if config.trust is None else config.trust}
    small = model == "local" or model.endswith(PACKAGED)
    reader = config.reader or ("complete" if small else "choose")
    votes = config.votes or (VOTES if reader == "complete" and model != "local" else 1)
    trust = (1.0 if small else 20.0) if config.trust is None else config.trust
    return {"reader": reader, "votes": votes, "trust": trust}


def derive(config: Config, *, split: str, out: str) -> Config:
    """Fill in what the user left open; the caller prints it."""
    teacher = config.teacher or (NO_TEACHER if config.agent in MODEL_FREE else default_teacher())
    concurrency = config.concurrency or (LOCAL_SLOTS if teacher.startswith(("local", NO_TEACHER)) else 32)
    return config.model_copy(
        update={
            "teacher": teacher,
            "split": config.split or split,
            "retriever": config.retriever or default_retriever(),
            "temperature": (0.0 if config.samples == 1 else 0.7) if config.temperature is None else config.temperature,
            "concurrency": concurrency,
            "out": config.out or out,
        }
    )


def generate(config: GenerateConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Opening the same directory again goes on where it stopped."""
    world = World.load(config)
    task = world.task
    default_out = f"runs/{slug(task_label(config.task))}-{slug(config.agent)}"
    config = derive(config, split=task.default_split("generate"), out=default_out)
    config = config.model_copy(update={"hops": config.hops or task.max_hops})
    world.config = config
    out = Path(str(config.out))
    questions = task.pick(str(config.split), config.limit, config.seed)
    say(describe(config, len(questions), task))
    with Run(out, "generate", config, world.identity) as run:
        missing = unsolved(questions, config, run)
        if missing:
            asyncio.run(_generate(world, run, missing))
        if config.rationalise:
            asyncio.run(_rationalise(world, run, questions))
        metrics = summarise(out, {question.id for question in questions}, config.samples)
        metrics["usd"] = Cache(out / "cache").usd
        if not is_complete(out):
            from agentkd.report.write import write_report

            write_report(out, metrics=metrics)
        close(run, metrics, missing=len(unsolved(questions, config, run)))
    return {"out": str(out), **metrics}


def unsolved(questions: Sequence[Question], config: GenerateConfig, run: Run) -> list[tuple[Question, int]]:
    """What is outstanding; with `until_verified` nothing is where a sample is verified."""
    proven = verified_ids(run.path) if config.until_verified else set()
    return [item for item in outstanding(questions, config.samples, run) if item[0].id not in proven]


def verified_ids(path: Path) -> set[str]:
    return {trace.id for trace in read_traces(path) if trace.verified}


async def _generate(world: World, run: Run, missing: Sequence[tuple[Question, int]]) -> None:
    config = world.config
    async with open_teacher(
        str(config.teacher),
        run=run.path,
        **client_options(config),
        vllm_args=shlex.split(config.vllm_args),
        slots=config.concurrency or LOCAL_SLOTS,
        say=say,
    ) as teacher:
        agent = world.agent(config.agent, teacher)
        shared: dict[str, Any] = {"label": "traces", "concurrency": config.concurrency or 1}
        if not config.until_verified:
            await collect(world, run, agent, teacher, missing, **shared)
            return
        for number in range(config.samples):
            proven = verified_ids(run.path)
            some = [
                (question, sample) for question, sample in missing if sample == number and question.id not in proven
            ]
            if some:
                await collect(world, run, agent, teacher, some, **shared)


async def _rationalise(world: World, run: Run, questions: Sequence[Question]) -> None:
    """One more sample, the one after the last, for each question that has gold and no verified trace."""
    from agentkd.agents.rationalise import Rationalise

    config = world.config
    gold = {name: item.answers for name, item in world.task.gold(str(config.split)).items()}
    proven = verified_ids(run.path)
    unproven = [(q, RATIONALISED) for q in questions if q.id in gold and q.id not in proven]
    missing = [(question, sample) for question, sample in unproven if (question.id, sample) not in run.done]
    if missing:
        model = NoTeacher()
        agent = Rationalise(world.surroundings(model), gold)
        await collect(world, run, agent, model, missing, label="rationalised", concurrency=1)


async def collect(
    world: World,
    run: Run,
    agent: Agent,
    model: Chat,
    missing: Sequence[tuple[Question, int]],
    *,
    label: str,
    concurrency: int,
) -> None:
    """Solve the missing (question, sample) pairs; each finished one is on disk before the next is counted.

    A sample's own error is recorded and the run goes on; GIVE_UP errors of the world in a row, a limit or a full disk
    end it with a WorldError, ctrl-C with a KeyboardInterrupt (see `Drain`), and what is done stays done."""
    gold = world.task.gold(str(world.config.split))
    in_a_row = 0
    limit: TokenLimit | None = None
    stop = model.stop if isinstance(model, Teacher) else lambda: None
    with Progress(label, total=len(missing)) as progress, Drain(stop) as drain:
        begun = takewhile(lambda item: limit is None and not drain.asked, missing)
        jobs = run_items(begun, lambda item: agent.solve(item[0], item[1]), concurrency)
        async for (question, sample), result in jobs:
            if isinstance(result, PutOff):
                continue
            if isinstance(result, AgentkdError):
                retry = getattr(result, "retry", False)
                run.fail((question.id, sample), str(result), retry=retry)
                if isinstance(result, TokenLimit):
                    limit = limit or result  # others may still finish with what they have
                    continue
                in_a_row += 1
                if in_a_row >= GIVE_UP:
                    raise result
                progress.failed()
                continue
            if isinstance(result, Exception):
                raise result
            in_a_row = 0
            draft, verdict = judge(world.kb, result, gold.get(question.id))
            trace = Trace.close(
                **{name: getattr(draft, name) for name in type(draft).model_fields},
                id=question.id,
                sample=sample,
                task=world.task.name,
                question=question.question,
                verified=verdict.ok,
                verdict=verdict,
                teacher=model.name,
            )
            run.append(trace)
            progress.advance(trace.usage, good=trace.verified)
    if limit is not None:
        raise limit


def client_options(config: GenerateConfig) -> dict[str, Any]:
    """What `open_teacher` takes from the config, the same for `generate` and `eval`."""
    names = ("timeout", "token_timeout", "max_tokens", "max_usd")
    paths = {name: Path(value) if (value := getattr(config, name)) else None for name in ("prices", "batch")}
    return {**{name: getattr(config, name) for name in names}, **paths}


def judge(kb: Graph, draft: Draft, gold: Gold | None) -> tuple[Draft, Verdict]:
    """The verdict on a draft. Gold, where it exists, joins as a last step whose reward is the strict F1."""
    verdict = check_draft(kb, draft)
    if gold is None:
        return draft, verdict
    final = join_gold(verdict, draft.answers, gold.answers)
    step = Step(kind="gold", verdict=final, reward=round(strict_f1(draft.answers, gold.answers), 4))
    return draft.model_copy(update={"steps": (*draft.steps, step)}), final


def outstanding(questions: Sequence[Question], samples: int, run: Run) -> list[tuple[Question, int]]:
    """The pairs that are not on disk yet, sample by sample, so that a stopped run has all questions early."""
    return [
        (question, sample)
        for sample in range(samples)
        for question in questions
        if (question.id, sample) not in run.done
    ]


def close(run: Run, metrics: Mapping[str, Any], *, missing: int) -> None:
    """Declare the run complete, or say what is left of it."""
    if missing:
        errors = [row["error"] for row in read_lines(run.path, "failures") if row["retry"]]
        raise WorldError(
            f"{missing} samples of {run.path} failed, last: {errors[-1] if errors else 'unknown'}; "
            f"run the same command again to retry them"
        )
    if not is_complete(run.path):
        run.finish(metrics)


def summarise(path: Path, ids: set[str], samples: int) -> dict[str, Any]:
    """Counts, rates and cost of a run, over the items that the command asked for."""
    found = [trace for trace in read_traces(path) if trace.id in ids]
    traces = [trace for trace in found if trace.sample < samples]
    usage = Usage.total(trace.usage for trace in traces)
    verified = [trace for trace in traces if trace.verified]
    rungs: dict[str, int] = {}
    for trace in traces:
        rungs[trace.verdict.rung] = rungs.get(trace.verdict.rung, 0) + 1
    count = len(traces) or 1
    return {
        "questions": len(ids),
        "traces": len(traces),
        "verified": len(verified),
        "questions_with_verified": len({trace.id for trace in verified}),
        "rationalised": sum(trace.verified for trace in found if trace.sample == RATIONALISED),
        "rungs": rungs,
        "failures": sum(1 for row in read_lines(path, "failures") if row["id"] in ids and not row["retry"]),
        "calls": usage.calls / count,
        "tokens": usage.tokens / count,
        "model_seconds": usage.seconds / count,
        "total_tokens": usage.tokens,
    }


def describe(config: GenerateConfig, count: int, task: Task) -> str:
    """The values that were used, derived ones included, on a few lines."""
    if not count:
        raise UserError(f"task {task.name} has no question in split '{config.split}': choose --split or raise --limit")
    lines = [
        f"{task.name} · {config.split} · {count} questions × {config.samples} · agent {config.agent} · "
        f"teacher {config.teacher}",
        f"retriever {config.retriever}, {paths_of(config, config.agent)} paths of "
        f"≤ {config.hops or task.max_hops} hops · "
        f"temperature {config.temperature} · {config.concurrency} in flight · seed {config.seed} → {config.out}",
    ]
    return "\n".join([*lines, *([task.note] if task.note else [])])
