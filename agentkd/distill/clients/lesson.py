"""What a client learns from the others: targets on shared images."""

from __future__ import annotations

from torch import Tensor

from agentkd.distill.images.classifier import Classifier
from agentkd.distill.images.lessons import Lesson
from agentkd.methods.knfu import fedmd_digest_loss, knowledge_loss


class Digest(Lesson):
    """KL of fused targets [N, C], or where logits are regressed their mean absolute error; labels are not looked at."""

    def __init__(self, student: Classifier, targets_NC: Tensor, *, regress: bool) -> None:
        super().__init__(student)
        self.targets_NC, self.loss = targets_NC, fedmd_digest_loss if regress else knowledge_loss

    def forward(self, pixels: Tensor, labels: Tensor, place: Tensor) -> dict[str, Tensor]:
        targets = self.targets_NC.to(place.device)[place]
        return {"loss": self.loss(self.logits(pixels), targets)}
