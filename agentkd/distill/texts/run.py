"""`agentkd distill --corpus`, in a straight line: find → count → check → blocks → train → card.

The directory is the student's: an ordinary transformers one, with the blocks in `blocks/` while it trains. The same
command goes on where it was stopped.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.config import TextsConfig, slug
from agentkd.corpus.select import measure
from agentkd.distill import processes
from agentkd.distill.checkpoints import check_trackers
from agentkd.distill.prepare import load_libraries
from agentkd.distill.student import Student, check_checkpointing, open_student
from agentkd.distill.texts.blocks import Corpus, read_blocks, write_blocks
from agentkd.distill.texts.needs import check_needs
from agentkd.distill.texts.publish import publish
from agentkd.distill.texts.train import count_steps, train
from agentkd.errors import UserError
from agentkd.inference.in_process import identify_weights
from agentkd.inference.model_folder import context_length
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory
from agentkd.trace import content_hash


class Resolved(NamedTuple):
    """Everything that is known before texts are tokenised."""

    config: TextsConfig
    corpus: Corpus
    documents: int
    student: Student
    identity: dict[str, str]


def resolve(config: TextsConfig) -> Resolved:
    """Fill in what was left open, read the corpus once, and open the student. Raises UserError for wrong input."""
    check_trackers(config.log)
    if processes.world_size() > 1:
        raise UserError("distill --corpus trains in one process: start it without accelerate")
    corpus = Corpus.find(config.corpus or "", config.validation, config.field, config.held_out)
    total, hashes = measure(corpus.files, config.field)
    identity = {"hash_corpus": content_hash(hashes)}
    if corpus.validation:
        more, hashes = measure(corpus.validation, config.field)
        total, identity = total + more, {**identity, "hash_validation": content_hash(hashes)}
    load_libraries()
    student = open_student(config.student, trust=config.trust_remote_code)
    if config.grad_checkpointing:
        check_checkpointing(student)
    context = context_length(student.settings.get_text_config())
    if context and context < config.max_length:
        say(f"{config.student} reads {context} tokens: blocks are as long, not {config.max_length}")
    config = config.model_copy(
        update={
            "max_length": min(config.max_length, context or config.max_length),
            "lr": config.lr or (6e-4 if config.fresh else 2e-4),
            "out": config.out or f"students/{slug(corpus.files[0].stem)}-texts",
        }
    )
    identity["hash_student"] = identify_weights(student.folder)
    return Resolved(config, corpus, total, student, identity)


def distill_texts(config: TextsConfig) -> dict[str, Any]:
    """Train and return the metrics. Raises UserError for wrong input before a directory is made."""
    config, corpus, documents, student, identity = resolve(config)
    folder = Path(str(config.out))
    say(
        f"texts · student {config.student}{', fresh weights' if config.fresh else ''} · {documents:,} documents in "
        f"{len(corpus.files) + len(corpus.validation)} files · lr {config.lr:g} · blocks of {config.max_length} tokens "
        f"→ {folder}"
    )
    if not folder.exists():
        check_needs(config, student, corpus)
    with RunDirectory(folder, "distill-texts", config, identity) as run:
        if is_complete(folder):
            say(f"{folder} is complete: nothing to do")
            return {"out": str(folder), **read_metrics(folder)}
        blocks = folder / "blocks"
        counts = write_blocks(corpus, documents, student.tokenizer, config.max_length, blocks)
        tables = {part: read_blocks(blocks, part) for part in ("train", "validation")}
        steps = count_steps(config, len(tables["train"]), counts.tokens["train"] - 1)
        say(
            f"{counts.documents['train']:,} documents of {counts.tokens['train']:,} tokens to learn, "
            f"{counts.documents['validation']:,} of {counts.tokens['validation']:,} held out"
            + (f", {counts.left_out:,} left out: empty, or held out too" if counts.left_out else "")
            + f" · {steps.steps:,} steps of {steps.a_step} blocks"
        )
        metrics = {
            "documents": counts.documents["train"],
            "held_out": counts.documents["validation"],
            "left_out": counts.left_out,
            "corpus_tokens": counts.tokens["train"],
            "held_out_tokens": counts.tokens["validation"],
            "bytes_per_token": round(counts.bytes_per_token, 4),
            **train(config, student, tables, steps, folder),
        }
        publish(config, metrics, run)
        shutil.rmtree(blocks, ignore_errors=True)
    return {"out": str(folder), **metrics}
