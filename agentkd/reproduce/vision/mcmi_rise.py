"""MCMI's teacher alone: does its objective raise the conditional mutual information, and what does that cost?

The teachers of `mcmi`, by weight of the CMI. The CMI is measured on the training images, where it is maximised, and on
test images with class means of training images; label smoothing stands beside it.
"""

from __future__ import annotations

from agentkd.methods.mcmi import class_means, cmi
from agentkd.reproduce.fit import accuracy, predict
from agentkd.reproduce.vision.mcmi import CLASSES, prepare, tune_teacher

ARMS = {
    "plain": "teacher tuned with cross-entropy, as long as the others",
    "0.25": "cross-entropy - 0.25 CMI",
    "0.5": "cross-entropy - 0.5 CMI",
    "1": "cross-entropy - CMI",
    "label smoothing": "labels smoothed by 0.1",
}
SMOOTHED = "label smoothing"


def one(arm: str, seed: int, quick: bool, bed: str = "digits") -> dict[str, float]:
    """The teacher's CMI in nats and its accuracy in percent."""
    data, _ = prepare(bed, seed, quick)
    weight = 0.0 if arm in ("plain", SMOOTHED) else float(arm)
    teacher = tune_teacher(bed, seed, quick, weight=weight, smoothing=0.1 * (arm == SMOOTHED))
    logits = predict(teacher, data.x_train)
    means = class_means(logits, data.y_train, CLASSES)
    return {
        "CMI, training images": float(cmi(logits, means[data.y_train])),
        "CMI, test images": float(cmi(predict(teacher, data.x_test), means[data.y_test])),
        "accuracy": accuracy(teacher, data.x_test, data.y_test),
    }
