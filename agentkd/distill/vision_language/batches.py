"""Questions as batches: the prompt with its image, then the answer, whose tokens are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentkd.distill.data.tokens import IGNORED
from agentkd.distill.vision_language.questions import Question
from agentkd.distill.vision_language.reader import Reader

if TYPE_CHECKING:
    from torch import Tensor

TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")  # inputs that the models share


class Batches:
    """A torch data set of the places of questions; `collate` reads images and texts. With a teacher whose processor
    differs, a batch has `taught`, the same images for that one."""

    unit = "nats/token"

    def __init__(self, questions: Sequence[Question], reader: Reader, teacher: Reader | None = None) -> None:
        self.questions, self.reader = questions, reader
        self.teacher = teacher if teacher and not same_images(teacher.processor, reader.processor) else None

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"place": place}

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """`inputs` of the model, `labels` [B, L] and, for another processor, `taught`."""
        asked = [self.questions[row["place"]] for row in rows]
        inputs = self.reader.look(asked)
        answers = [self.reader.answer_ids(question.answer) for question in asked]
        inputs, labels = append_answers(inputs, answers, self.reader.tokenizer.pad_token_id)
        batch = {"inputs": inputs, "labels": labels}
        if self.teacher is not None:
            seen = self.teacher.look(asked)
            batch["taught"] = {name: value for name, value in seen.items() if name not in TEXT}
        return batch


def same_images(one: Any, other: Any) -> bool:
    """Whether two processors make the same inputs of an image."""
    first, second = one.image_processor, other.image_processor
    return first is second or (type(first) is type(second) and first.to_dict() == second.to_dict())


def append_answers(inputs: dict[str, Any], answers: Sequence[Sequence[int]], pad: int) -> tuple[dict[str, Any], Tensor]:
    """Put each answer behind its prompt, padded on the right, and return inputs and labels [B, L]."""
    import torch

    lengths = inputs["attention_mask"].sum(1).tolist()
    whole = max(length + len(answer) for length, answer in zip(lengths, answers, strict=True))
    made = {name: value for name, value in inputs.items() if name not in TEXT}
    for name in TEXT:
        if name in inputs:
            filler = pad if name == "input_ids" else 0
            made[name] = inputs[name].new_full((len(answers), whole), filler)
    labels = torch.full((len(answers), whole), IGNORED)
    for row, (length, answer) in enumerate(zip(lengths, answers, strict=True)):
        for name in TEXT:
            if name in inputs:
                made[name][row, :length] = inputs[name][row, :length]
        behind = slice(length, length + len(answer))
        made["input_ids"][row, behind] = labels[row, behind] = torch.tensor(answer)
        made["attention_mask"][row, behind] = 1
    return made, labels
