"""The reranker's training: a cross-encoder learns which of the tried paths were right, and what its word is worth.

The examples are those of feedback (`feedback.py`): a question's tried paths with their rewards, here with their first
answers, which the survey of a trace shows. The loss is listwise (ListNet, Cao et al., ICML 2007), against the same
distribution that the encoder learns from.

What the cross-encoder is worth beside the ranking is fitted on the held-out questions, as a logistic regression over
their tried paths: two weights, for the sum of both logits. So a cross-encoder that has learned nothing gets no weight.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.reading import CALIBRATION
from agentkd.config import FeedbackConfig
from agentkd.distill.checkpoints import last_checkpoint, progress_callback, trainer_arguments
from agentkd.distill.health import train_until_stopped
from agentkd.pretrained import load_cross_encoder
from agentkd.retrievers.reranker import MIX, TOKENS, Mix, pair_text, predict
from agentkd.runs.disk import write_atomically
from agentkd.runs.interrupt import Interrupt
from agentkd.stats import paired_difference

if TYPE_CHECKING:
    from agentkd.distill.feedback import PathRewards

BATCH = 4  # questions per step: its new head learns from many steps, and each question is a list of pairs
LOWEST = -20.0  # the logit of a path with reward 0
Logits = npt.NDArray[np.float64]


def log_weights(rewards: Sequence[float]) -> list[float]:
    """The logits of a question's paths as they are learned: the square of the reward, LOWEST for none."""
    return [2 * math.log(value) if value else LOWEST for value in rewards]


def make_lists(questions: Sequence[PathRewards], candidates: int, seed: int) -> dict[str, list[Any]]:
    """Make the trainer's columns: `query`, `docs` (texts) and `labels` (log weights), both lists.

    The paths of a list are shuffled: they come in the order of their rank."""
    rng = random.Random(seed)
    table: dict[str, list[Any]] = {"query": [], "docs": [], "labels": []}
    for item in questions:
        tried = sorted(item.rewards.items(), key=lambda pair: -pair[1])[:candidates]
        if len(tried) < 2:
            continue
        rng.shuffle(tried)
        table["query"].append(item.query)
        table["docs"].append([pair_text(label, item.answers.get(label, ())) for label, _ in tried])
        table["labels"].append(log_weights([value for _, value in tried]))
    return table


def train_reranker(
    config: FeedbackConfig,
    learned: Sequence[PathRewards],
    held_out: Sequence[PathRewards],
    ranking: Sequence[Mapping[str, float]],
    out: Path,
) -> dict[str, Any]:
    """Train a cross-encoder into `out`, fit its weight, and return the rewards on held-out questions before and after.

    It starts with the weights of the encoder in the folder above, which has learned what the words of paths mean.
    `ranking` has the encoder's logit of each tried path of each held-out question, by label."""
    import torch
    import transformers
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import ListNetLoss
    from transformers import PrinterCallback

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)  # it warns of the new head, which is meant
    torch.manual_seed(config.seed)
    model = load_cross_encoder(str(out.parent), max_length=TOKENS, num_labels=1)
    table = make_lists(learned, config.candidates, config.seed)
    interrupt = Interrupt(lambda: None)
    checkpoints = out.parent / "checkpoints-reranker"
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(
            **trainer_arguments(checkpoints, config.seed),
            num_train_epochs=config.reranker_epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=config.reranker_lr,
            warmup_steps=max(1, len(table["query"]) // BATCH // 5),
            bf16=config.half,
        ),
        train_dataset=Dataset.from_dict(table),
        loss=ListNetLoss(model, mini_batch_size=-1),
        callbacks=[progress_callback("nats/question (reranker)", interrupt)],
    )
    trainer.remove_callback(PrinterCallback)
    result = train_until_stopped(trainer, interrupt, last_checkpoint(checkpoints))
    reranked = [score_tried(model, item) for item in held_out]
    mix = fit_mix(held_out, ranking, reranked)
    model.save_pretrained(str(out), create_model_card=False)
    write_atomically(out / MIX, json.dumps({"ranking": mix.ranking, "reranker": mix.reranker}) + "\n")
    before = [item.rewards[max(item.rewards, key=own.__getitem__)] for item, own in zip(held_out, ranking, strict=True)]
    after = [
        item.rewards[max(item.rewards, key=lambda label: mix.ranking * own[label] + mix.reranker * new[label])]
        for item, own, new in zip(held_out, ranking, reranked, strict=True)
    ]
    mean, low, high = paired_difference([100 * value for value in after], [100 * value for value in before])
    return {
        "reranker_f1": 100 * float(np.mean(after)),
        "reranker_gain": mean,
        "reranker_gain_low": low,
        "reranker_gain_high": high,
        "reranker_mix": [mix.ranking, mix.reranker],
        "reranker_loss": result.training_loss,
        "reranker_seconds": round(result.metrics["train_runtime"], 1),
    }


def score_tried(model: Any, item: PathRewards) -> dict[str, float]:
    """The cross-encoder's logit of each tried path of a question."""
    labels = list(item.rewards)
    scores = predict(model, item.query, [pair_text(label, item.answers.get(label, ())) for label in labels])
    return dict(zip(labels, map(float, scores), strict=True))


def fit_mix(
    questions: Sequence[PathRewards], ranking: Sequence[Mapping[str, float]], reranked: Sequence[Mapping[str, float]]
) -> Mix:
    """The weights of both logits with the least loss on held-out questions; 1 and 0 where none has a proven path.

    The loss is that of training, after the division by CALIBRATION that a reader of logits makes."""
    from scipy.optimize import minimize

    lists = []
    for item, own, new in zip(questions, ranking, reranked, strict=True):
        if any(item.rewards.values()) and len(item.rewards) > 1:
            target = _softmax(np.array(log_weights(list(item.rewards.values()))))
            lists.append((np.array([[own[label], new[label]] for label in item.rewards]) / CALIBRATION, target))
    if not lists:
        return Mix(1.0, 0.0)

    def loss(weights: Logits) -> float:
        return -float(np.mean([target @ np.log(_softmax(pairs @ weights) + 1e-12) for pairs, target in lists]))

    found = minimize(loss, np.array([0.5, 0.5]), method="L-BFGS-B", bounds=[(0.0, 20.0)] * 2)
    return Mix(round(float(found.x[0]), 4), round(float(found.x[1]), 4))


def _softmax(logits: Logits) -> Logits:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)
