"""Feedback augmentation: the dense retriever learns from the rewards of the relation paths that were tried.

As in KD-CoT (arXiv 2308.13259, section 3.2) the positives come from verified reasoning, and the negatives are paths
that the retriever ranked high and that were refused; KD-CoT ranks passages, this ranks relation paths. The target is a
distribution over a question's paths, weighted by the square of their reward (strict F1, joined after a draft was
judged), and learned with a KL divergence over the list. Some untried paths around the same topic are added as easy
negatives, so that the encoder does not forget the rest.

A round is `agentkd generate --agent top-path --samples 8` and `agentkd feedback`; the next round generates with
`--retriever DIR`, whose mistakes are the next hard negatives. A tenth of the questions is held out for measurement.

A second model, the reranker, learns from the same paths and their answers (`rerank.py`).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentkd.config import FeedbackConfig, GenerateConfig, slug, task_label
from agentkd.distill.checkpoints import last_checkpoint, progress_callback, trainer_arguments
from agentkd.distill.health import train_until_stopped
from agentkd.distill.rerank import LOWEST, log_weights, train_reranker
from agentkd.errors import UserError
from agentkd.pretrained import load_encoder
from agentkd.proof import Proof
from agentkd.retrievers.path_retriever import mask_topics
from agentkd.retrievers.reranker import FOLDER as RERANKER
from agentkd.runs.disk import write_atomically
from agentkd.runs.interrupt import Interrupt
from agentkd.runs.progress import say
from agentkd.runs.read import find_newest_run, is_complete, read_config, read_metrics, read_traces
from agentkd.runs.shapes import RetrieverFigures
from agentkd.runs.store import RunDirectory
from agentkd.trace import Trace

if TYPE_CHECKING:
    from agentkd.retrievers.graph import Graph

HELD_OUT = 10  # every tenth question
ENCODER = "encoder.json"  # the encoder's metrics, written when it is trained: a resumed run goes on with the reranker


@dataclass
class PathRewards:
    """A question with the rewards of the paths that were tried for it: label -> reward, 0 for what was not verified.

    `answers` has the first answers of each path."""

    query: str
    topics: tuple[str, ...]
    rewards: dict[str, float] = field(default_factory=dict)
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)


def collect_rewards(traces: Iterable[Trace]) -> dict[str, PathRewards]:
    """Collect the rewards of each question's paths from a run's traces, by question id."""
    from agentkd.agents.option import PREVIEW
    from agentkd.agents.survey import followed_label, trace_reward

    found: dict[str, PathRewards] = {}
    for trace in traces:
        label = followed_label(trace)
        proof = Proof.of(trace)
        several = proof.joins or proof.others
        if label is None or several:  # the encoder ranks single paths from one topic
            continue
        topics = proof.topics
        paths = found.setdefault(trace.id, PathRewards(mask_topics(trace.question, topics), topics))
        paths.rewards[label] = max(paths.rewards.get(label, 0.0), trace_reward(trace) if trace.verified else 0.0)
        paths.answers[label] = trace.answers[:PREVIEW]
    return found


def make_table(
    questions: Sequence[PathRewards], kb: Graph, *, candidates: int, hops: int, seed: int
) -> dict[str, list[Any]]:
    """Make the trainer's columns: `query`, `path_0` … and `label`, the log weights of the paths."""
    rng = random.Random(seed)
    table: dict[str, list[Any]] = {"query": [], **{f"path_{n}": [] for n in range(candidates)}, "label": []}
    everything = sorted({label for item in questions for label in item.rewards})
    for item in questions:
        ranked = sorted(item.rewards.items(), key=lambda pair: -pair[1])[:candidates]
        around = {kb.label(path) for path in kb.relation_paths(item.topics, hops)} - set(item.rewards)
        others = rng.sample(sorted(around), min(len(around), candidates - len(ranked)))
        elsewhere = [label for label in everything if label not in item.rewards and label not in around]
        others += rng.sample(elsewhere, min(len(elsewhere), candidates - len(ranked) - len(others)))
        weights = log_weights([value for _, value in ranked]) + [LOWEST] * len(others)
        labels = [label for label, _ in ranked] + others
        if len(labels) < candidates:  # a knowledge base with very few relations
            continue
        table["query"].append(item.query)
        for number, label in enumerate(labels):
            table[f"path_{number}"].append(label)
        table["label"].append(weights)
    return table


def train_retriever(config: FeedbackConfig) -> dict[str, Any]:
    """Run `agentkd feedback` and return its metrics."""
    folders = [Path(name) for name in config.traces.split(",")] if config.traces else [find_newest_run(Path("runs"))]
    source = read_config(folders[0], ("task",))
    out = Path(config.out or f"students/{slug(task_label(source['task']))}-retriever")
    config = config.model_copy(update={"traces": ",".join(map(str, folders)), "out": str(out)})
    questions = read_rewards(folders)
    learned, held_out = split_questions(questions, str(config.traces))
    say(
        f"{len(questions)} questions from {config.traces}: {len(learned)} with a proven path to learn from, "
        f"{len(held_out)} held out → {out}"
    )
    from agentkd.world import TaskWorld

    shared = {name: source[name] for name in GenerateConfig.model_fields if name in source}
    world = TaskWorld.load(GenerateConfig.model_validate(shared))
    identity = {"hash_kb": world.kb.sha256, "task": str(source["task"])}
    with RunDirectory(out, "feedback", config, identity) as run:
        if is_complete(out):
            say(f"{out} is complete: nothing to do")
            return {"out": str(out), **read_metrics(out, RetrieverFigures)}
        hops = int(source.get("hops") or world.task.max_hops)
        metrics = read_stage(out)
        if metrics is None:
            table = make_table(learned, world.kb, candidates=config.candidates, hops=hops, seed=config.seed)
            metrics = train_encoder(config, table, held_out, out)
            write_atomically(out / ENCODER, json.dumps(metrics) + "\n")
        if config.reranker:
            ranking = rank_tried(load_encoder(str(out)), held_out)
            metrics |= train_reranker(config, learned, held_out, ranking, out / RERANKER)
            shutil.rmtree(out / "checkpoints-reranker", ignore_errors=True)
        run.finish(metrics)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return {"out": str(out), **metrics}


def read_stage(out: Path) -> dict[str, Any] | None:
    """The metrics of an encoder that an earlier call has trained; None where there is none yet."""
    try:
        found = json.loads((out / ENCODER).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_rewards(folders: Sequence[Path]) -> dict[str, PathRewards]:
    """Read the rewards of all runs' paths, by question id, without questions of an evaluation split."""
    from agentkd.tasks.decontaminate import make_evaluation_check

    questions: dict[str, PathRewards] = {}
    for folder in folders:
        is_evaluated = make_evaluation_check(read_config(folder))
        traces = read_traces(folder)
        for name, item in collect_rewards(trace for trace in traces if not is_evaluated(trace)).items():
            known = questions.setdefault(name, item)
            known.rewards.update(item.rewards)
            known.answers.update(item.answers)
    return questions


def split_questions(questions: dict[str, PathRewards], traces: str) -> tuple[list[PathRewards], list[PathRewards]]:
    """Split questions into those to learn from, which have a proven path, and every tenth one, which is held out.
    Raises UserError for too few. `traces` names their runs."""
    useful = {name: item for name, item in sorted(questions.items()) if any(item.rewards.values())}
    if len(useful) < HELD_OUT:
        raise UserError(
            f"{len(useful)} questions with a proven path in {traces}, {HELD_OUT} are needed: generate more, "
            f"for example agentkd generate --agent top-path samples=8 paths=8"
        )
    held_out = {name: item for n, (name, item) in enumerate(questions.items()) if n % HELD_OUT == 0}
    return [item for name, item in useful.items() if name not in held_out], list(held_out.values())


def train_encoder(
    config: FeedbackConfig, table: dict[str, list[Any]], held_out: Sequence[PathRewards], out: Path
) -> dict[str, Any]:
    """Fine-tune the encoder on the table; returns its top path's reward on held-out questions before and after."""
    try:
        import torch
        import transformers
        from datasets import Dataset
        from datasets.utils.logging import disable_progress_bar
        from sentence_transformers import (
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from transformers import PrinterCallback
    except ImportError as error:
        raise UserError(f"feedback needs {error.name}: pip install 'agentkd[dense,train]'") from None
    from agentkd.distill.list_loss import ListLoss
    from agentkd.retrievers.dense import SCALE, find_encoder
    from agentkd.stats import paired_difference

    disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(config.seed)
    model = load_encoder(config.base or find_encoder())
    before = top_rewards(model, held_out)
    interrupt = Interrupt(lambda: None)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            **trainer_arguments(out / "checkpoints", config.seed),
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch,
            learning_rate=config.lr,
            warmup_steps=max(1, len(table["query"]) // config.batch // 5),
            bf16=config.half,
        ),
        train_dataset=Dataset.from_dict(table),
        loss=ListLoss(model, SCALE),
        callbacks=[progress_callback("nats/question", interrupt)],
    )
    trainer.remove_callback(PrinterCallback)
    result = train_until_stopped(trainer, interrupt, last_checkpoint(out / "checkpoints"))
    after = top_rewards(model, held_out)
    model.save(str(out), create_model_card=False)
    mean, low, high = paired_difference([100 * value for value in after], [100 * value for value in before])
    return {
        "examples": len(table["query"]),
        "held_out": len(held_out),
        "f1_before": 100 * float(np.mean(before)),
        "f1_after": 100 * float(np.mean(after)),
        "f1_gain": mean,
        "f1_gain_low": low,
        "f1_gain_high": high,
        "loss": result.training_loss,
        "seconds": round(result.metrics["train_runtime"], 1),
    }


def rank_tried(model: Any, questions: Sequence[PathRewards]) -> list[dict[str, float]]:
    """For each question the encoder's logit of every path that was tried, by label."""
    from agentkd.retrievers.dense import SCALE

    labels = sorted({label for item in questions for label in item.rewards})
    options = {"batch_size": 64, "normalize_embeddings": True, "show_progress_bar": False}
    vectors = dict(zip(labels, model.encode(labels, **options), strict=True))
    queries = model.encode([item.query for item in questions], **options)
    return [
        {label: SCALE * float(vectors[label] @ query) for label in item.rewards}
        for item, query in zip(questions, queries, strict=True)
    ]


def top_rewards(model: Any, held_out: Sequence[PathRewards]) -> list[float]:
    """For each held-out question, the reward of the path that the encoder ranks first among those tried."""
    ranked = rank_tried(model, held_out)
    return [item.rewards[max(item.rewards, key=own.__getitem__)] for item, own in zip(held_out, ranked, strict=True)]
