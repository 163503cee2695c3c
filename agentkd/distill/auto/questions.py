"""`--method auto` for traces: folds of the questions, and as reward what a student answers to those held out.

A held-out question counts as right as far as the student's path, executed on the knowledge base, gives the answers that
its trace has proven: strict F1. Gold is not read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from agentkd.config import DistillConfig, EvalConfig, GenerateConfig
from agentkd.distill import processes
from agentkd.distill.auto.advice import recommend
from agentkd.distill.auto.choice import budget_of, require_budget, say_choice
from agentkd.distill.auto.search import Bed, rows_of, say_plan, search
from agentkd.distill.auto.trials import FOLDS, STEPS, Step, Trial
from agentkd.distill.data.dataset import Dataset, load_training_set
from agentkd.distill.data.teacher_scores import check_vocabularies
from agentkd.distill.method import METHODS
from agentkd.distill.prepare import find_teachers
from agentkd.distill.publish.table_row import candidate_of, make_row, measure_facts
from agentkd.distill.resolve import Stage, resolve_run, resolve_stages
from agentkd.distill.stages import distill, run_stage
from agentkd.distill.student import open_student
from agentkd.errors import UserError
from agentkd.inference.model_folder import open_tokenizer
from agentkd.proof import Proof
from agentkd.recommend.space import Space
from agentkd.recommend.table import Candidate, Row, as_values, remember
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.tasks.load import reload_task
from agentkd.trace import Trace

SEARCH = "search"  # the folder of the trials in the student's


def distill_auto(config: DistillConfig) -> dict[str, Any]:
    """Choose by trials on the traces' questions, then train the choice on all traces; returns its metrics."""
    require_budget(config)
    stage, dataset = resolve_auto(config)
    folder = stage.out / SEARCH
    recorded = stage.config.model_copy(update={"method": "auto"})
    with RunDirectory(folder, "distill-auto", recorded, {"hash_dataset": dataset.hash}) as run:
        if is_complete(folder):
            found = read_metrics(folder)
            say(f"{folder} is complete: {found['method']} was chosen")
        else:
            bed = make_bed(config, stage, dataset)
            found = search(bed, budget_of(config), folder, config.seed)
            run.finish(found)
            remember(rows_of(bed, folder))
            for fold in range(FOLDS):
                shutil.rmtree(folder / f"fold-{fold}", ignore_errors=True)
    say_choice(found)
    chosen = Candidate(found["method"], found["options"])
    return {**distill(with_candidate(stage.config, chosen)), "search": found}


def plan_auto(config: DistillConfig) -> dict[str, Any]:
    """Print what would be tried first, and how much fits into the budget, by the time of real steps."""
    from agentkd.distill.plan import plan_run

    require_budget(config)
    stage, dataset = resolve_auto(config)
    bed = make_bed(config, stage, dataset)
    measured = plan_run(stage.config)
    return say_plan(bed, budget_of(config), str(stage.out), measured["seconds"] / stage.epochs, config.seed)


def recommend_questions(config: DistillConfig) -> dict[str, Any]:
    """What the table of distillations lets one expect of each method on these traces."""
    return recommend(make_bed(config, *resolve_auto(config)), config.seed)


def resolve_auto(config: DistillConfig) -> tuple[Stage, Dataset]:
    """The stage of the default method, and its examples. Raises UserError for what a search cannot have."""
    if processes.world_size() > 1:
        raise UserError("--method auto runs in one process: start it without a launcher")
    default = DistillConfig.model_fields["method"].default
    out = config.out
    if out is None:
        out = str(resolve_run(config.model_copy(update={"method": default}))[0].out).removesuffix(default) + "auto"
    (stage,) = resolve_run(config.model_copy(update={"method": default, "out": out}))
    if stage.config.control is not None:
        raise UserError(f"control={stage.config.control} has nothing to choose: give --method")
    if stage.config.mixup or stage.config.paraphrase:
        raise UserError("--method auto does not choose with mixup= or paraphrase=: leave them out, or give --method")
    return stage, load_training_set(stage)


def choose_methods(config: DistillConfig, stage: Stage) -> list[str]:
    """The methods that these models can be trained by: with a teacher of the same vocabulary its logits, with one of
    another cross-tokenizer, too."""
    if not config.teacher:
        return ["sft"]
    name = "logits"
    (told,) = resolve_stages(stage.config.model_copy(update={"method": name, "teacher": config.teacher}), stage.source)
    student = open_student(stage.student, trust=config.trust_remote_code)
    for teacher in find_teachers(told):
        tokenizer = open_tokenizer(teacher.folder, teacher.name, trust=teacher.trust)
        try:
            check_vocabularies(student.tokenizer, tokenizer, teacher.name)
        except UserError:
            name = "cross-tokenizer"
    return [method for method in ("sft", name) if config.privacy in (None, *METHODS[method].privacy)]


def make_space(config: DistillConfig, methods: Sequence[str]) -> Space:
    """The options of the methods. Those that the user has given stay as they are."""
    ranges = {name: METHODS[name].ranges for name in methods}
    names = {option for own in ranges.values() for option in own}
    values = {name: getattr(config, name) for name in names}
    values["lr"] = config.lr[0] if config.lr else METHODS["sft"].lr
    values["divergence"] = config.divergence or METHODS["sft"].divergence
    kept = {name: value for name, value in as_values(values).items() if name in names}
    return Space(ranges, kept, frozenset(config.model_fields_set & names))


def with_candidate(config: DistillConfig, candidate: Candidate) -> DistillConfig:
    """The config of a candidate's training."""
    options = {**candidate.options, "lr": (candidate.options["lr"],)}
    return config.model_copy(
        update={"method": candidate.method, **options, "budget_hours": None, "budget_passes": None}
    )


def make_bed(config: DistillConfig, stage: Stage, dataset: Dataset) -> Bed:
    """What the search is told."""
    folds = Folds(config, stage, dataset)
    return Bed(
        kind="questions",
        space=make_space(config, choose_methods(config, stage)),
        default=candidate_of(stage),
        facts=folds.facts,
        epochs=stage.epochs,
        train=folds.train,
        row=folds.row,
    )


class Folds:
    """The questions in parts, one of which is held out at a time: a run directory of the others' traces, and a task of
    its own."""

    def __init__(self, config: DistillConfig, stage: Stage, dataset: Dataset) -> None:
        self.stage, self.dataset = stage, dataset
        self.teacher = config.teacher
        self.folder = stage.out / SEARCH
        ids = sorted({example.id for example in dataset.examples})
        if len(ids) < 2 * FOLDS:
            raise UserError(f"{len(ids)} questions are too few to hold some out: --method auto takes {2 * FOLDS}")
        Random(f"{config.seed} folds").shuffle(ids)
        self.fold_of = {id_: place % FOLDS for place, id_ in enumerate(ids)}
        self.facts = measure_facts(stage, dataset, teacher=config.teacher)

    def prepare(self, fold: int) -> Path:
        """Write the fold's run directory and its task of held-out questions, where they are not there yet."""
        folder = self.folder / f"fold-{fold}"
        held, traces = folder / "held.jsonl", folder / "traces"
        if held.exists() and is_complete(traces):
            return folder
        used = {example.trace for example in self.dataset.examples}
        best = [trace for trace in read_traces(self.stage.traces) if trace.hash in used]
        known = {name: value for name, value in self.stage.source.items() if name in GenerateConfig.model_fields}
        shutil.rmtree(traces, ignore_errors=True)
        with RunDirectory(traces, "generate", GenerateConfig.model_validate(known), {}) as run:
            for trace in best:
                if self.fold_of[trace.id] != fold:
                    run.append(trace)
            run.finish({})
        rows = [as_question(trace) for trace in best if self.fold_of[trace.id] == fold]
        write_atomically(held, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return folder

    def train(self, candidate: Candidate, step: Step, folder: Path) -> float:
        """Train a student without the step's fold; its strict F1 there, in percent."""
        from agentkd.eval.kbqa import evaluate

        part = self.prepare(step.fold)
        student = folder / "student"
        short = {"traces": str(part / "traces"), "out": str(student), "doubtful": True, "teacher": self.teacher}
        config = with_candidate(self.stage.config, candidate)
        config = config.model_copy(update={**short, "epochs": (self.stage.epochs * step.share,)})
        (stage,) = resolve_stages(config, self.stage.source)
        run_stage(stage, load_training_set(stage))
        found = evaluate(self.question_config(part / "held.jsonl", student, folder / "eval"))
        return float(next(row["f1"] for row in found["rows"]))

    def question_config(self, held: Path, student: Path, out: Path) -> EvalConfig:
        """How the held-out questions are asked: with the knowledge base and the retriever of the traces."""
        source = self.stage.source
        task = reload_task(source)
        kb = source.get("kb") or str(task.kb_path)
        aliases = source.get("aliases") or (str(task.aliases_path) if task.aliases_path else None)
        return EvalConfig.model_validate(
            {
                "task": str(held),
                "kb": kb,
                "aliases": aliases,
                "kb_columns": source.get("kb_columns"),
                "split": "test",
                "model": str(student),
                "retriever": source.get("retriever"),
                "hops": task.max_hops,
                "seed": self.stage.config.seed,
                "matchers": "strict",
                "ceiling": 0,
                "trust_remote_code": self.stage.config.trust_remote_code,
                "out": str(out),
            }
        )

    def row(self, trial: Trial) -> Row:
        """A trial for the table."""
        fold = STEPS[trial.step].fold
        earned = {"score": trial.reward, "seconds": trial.seconds}
        return make_row(
            self.dataset.hash, self.facts, trial.candidate, seed=self.stage.config.seed, fold=fold, **earned
        )


def as_question(trace: Trace) -> dict[str, Any]:
    """A trace's question as a row of a task, with the answers that the trace has proven."""
    proof = Proof.of(trace)
    return {
        "id": trace.id,
        "split": "test",
        "question": trace.question,
        "topic_entities": list(proof.topics),
        "answers": list(trace.answers),
    }
