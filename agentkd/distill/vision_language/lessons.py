"""What a student of answers minimises: the language-model loss, and in distilled stages MDist and RDist beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agentkd.distill.data.tokens import IGNORED
from agentkd.distill.images.lessons import group_parameters
from agentkd.distill.vision_language.batches import TEXT
from agentkd.distill.vision_language.reader import Reader, split_parts
from agentkd.methods.llava_kd import VisionLanguageLoss, answer_loss, relation_loss, visual_loss


class Answering(nn.Module):
    """Called with a batch of `Batches`, it returns the loss in nats: of the answer's tokens and, with a teacher, of
    LLaVA-KD. `trained` names the parts that learn: projector, language, tower."""

    def __init__(self, student: Reader, trained: tuple[str, ...], teacher: Reader | None = None) -> None:
        super().__init__()
        self.student, self.model = student, student.model
        self.others = () if teacher is None else (teacher,)  # in a tuple, or its weights would be trained and saved
        self.words = len(student.tokenizer)  # outputs beyond are padding
        for name, parameters in split_parts(student).items():
            for value in parameters:
                value.requires_grad_(name in trained)

    def forward(
        self, inputs: dict[str, Tensor], labels: Tensor, taught: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        logits = self.model(**inputs, use_cache=False).logits[..., : self.words].float()
        lm = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
        if not self.others:
            return {"loss": lm}
        seen = inputs if taught is None else {**taught, **{name: inputs[name] for name in TEXT if name in inputs}}
        with torch.no_grad():
            model = self.others[0].model.to(labels.device)
            target = model(**seen, use_cache=False).logits[..., : self.words].float()
        visual, relation = compare_images(logits, target, inputs["input_ids"] == self.student.image_token)
        return {"loss": VisionLanguageLoss(lm, answer_loss(logits, target, labels), visual, relation).total}

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups of an optimizer: weight decay for matrices alone."""
        return group_parameters(self)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """Without the second name of a tied weight, which safetensors would refuse."""
        found: dict[str, Any] = super().state_dict(*args, **options)
        first: dict[tuple[int, torch.Size], str] = {}
        return {
            name: value
            for name, value in found.items()
            if not value.numel() or first.setdefault((value.data_ptr(), value.shape), name) == name
        }


def compare_images(student_BLV: Tensor, teacher_BLV: Tensor, is_image_BL: Tensor) -> tuple[Tensor, Tensor]:
    """MDist and RDist of the logits at the images' positions: the means of the samples' values.

    Samples whose images have the same number of tokens are compared together."""
    counts = is_image_BL.sum(1)
    visual = relation = student_BLV.new_zeros(())
    for count in sorted(set(counts.tolist())):
        rows = counts == count
        places = is_image_BL[rows]
        own, other = (
            logits[rows][places].view(len(places), count, logits.shape[-1]) for logits in (student_BLV, teacher_BLV)
        )
        share = len(places) / len(counts)
        visual = visual + share * visual_loss(own, other)
        relation = relation + share * relation_loss(own, other)
    return visual, relation
