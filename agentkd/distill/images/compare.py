"""What the student kept: accuracy on the held-out images, paired by image with the same student without a teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.distill.images.data import ImageSet
from agentkd.runs.disk import write_atomically
from agentkd.stats import bootstrap_interval, paired_difference


def compare(images: ImageSet, predicted: Mapping[str, Sequence[int]], folder: Path) -> dict[str, Any]:
    """Write predictions.jsonl, and return accuracies (percent, with 95 % intervals over images) and the differences
    of the student to the others."""
    labels = [item.label for item in images.test]
    lines = [
        json.dumps(
            {
                "image": item.name,
                "label": images.classes[item.label],
                **{name: images.classes[values[place]] for name, values in predicted.items()},
            },
            ensure_ascii=False,
        )
        for place, item in enumerate(images.test)
    ]
    write_atomically(folder / "predictions.jsonl", "\n".join(lines) + "\n")
    right = {
        name: [100.0 * (a == b) for a, b in zip(values, labels, strict=True)] for name, values in predicted.items()
    }
    per_class = {
        label: {name: sum(scores[place] for place in own) / len(own) for name, scores in right.items()}
        for number, label in enumerate(images.classes)
        if (own := [place for place, value in enumerate(labels) if value == number])
    }
    return {"held_out": len(labels), **compare_scores(right), "per_class": per_class}


def compare_scores(right: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """`rows`, the mean of each model's scores (percent, of the same examples), and `differences`, the student's paired
    differences to the others; all with 95 % intervals over examples."""
    rows = []
    for name, scores in right.items():
        low, high = bootstrap_interval(scores)
        rows.append({"name": name, "accuracy": sum(scores) / len(scores), "low": low, "high": high})
    differences = []
    for name, scores in right.items():
        if name != "student":
            mean, low, high = paired_difference(right["student"], scores)
            differences.append({"minus": name, "accuracy": mean, "low": low, "high": high})
    return {"rows": rows, "differences": differences}
