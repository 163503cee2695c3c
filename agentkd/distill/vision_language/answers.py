"""Greedy answers to questions, and what the student kept: exact answers, paired with the same student without a
teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.distill.images.compare import compare_scores
from agentkd.distill.vision_language.questions import Question
from agentkd.distill.vision_language.reader import Reader
from agentkd.matching import strict_key
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Progress
from agentkd.trace import Usage


def answer_all(reader: Reader, questions: Sequence[Question], batch: int) -> list[str]:
    """The greedy answer to each question, at most as long as the longest expected one."""
    import torch
    from transformers import GenerationConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = reader.model.to(device).eval()
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max(len(reader.answer_ids(question.answer)) for question in questions),
        eos_token_id=reader.tokenizer.eos_token_id,
        pad_token_id=reader.tokenizer.pad_token_id,
    )
    answers: list[str] = []
    with Progress("questions are asked", total=len(questions), unit="") as progress, torch.inference_mode():
        for start in range(0, len(questions), batch):
            inputs = reader.look(questions[start : start + batch], side="left")
            length = inputs["input_ids"].shape[1]
            made = model.generate(
                **{name: value.to(device) for name, value in inputs.items()}, generation_config=settings
            )
            answers += reader.tokenizer.batch_decode(made[:, length:], skip_special_tokens=True)
            for _ in range(len(made)):
                progress.advance(Usage(), good=True)
    return [answer.strip() for answer in answers]


def compare_answers(
    questions: Sequence[Question], answers: Mapping[str, Sequence[str]], folder: Path
) -> dict[str, Any]:
    """Write predictions.jsonl, and return accuracies (percent of answers that are the expected one, but for case and
    punctuation) and the student's differences to the others."""
    lines = [
        json.dumps(
            {
                "image": question.image,
                "question": question.question,
                "answer": question.answer,
                **{name: values[place] for name, values in answers.items()},
            },
            ensure_ascii=False,
        )
        for place, question in enumerate(questions)
    ]
    write_atomically(folder / "predictions.jsonl", "\n".join(lines) + "\n")
    right = {
        name: [
            100.0 * (strict_key(answer) == strict_key(question.answer))
            for answer, question in zip(values, questions, strict=True)
        ]
        for name, values in answers.items()
    }
    return {"held_out": len(questions), **compare_scores(right)}
