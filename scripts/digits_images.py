"""The images road on scikit-learn's digits as PNGs: what a student of few labels gains from a teacher of many.

    python scripts/digits_images.py --seeds 0,1,2 --out docs/results/images-digits.json

A seed shuffles the 1,797 digits: the teacher (ViT, 136 k parameters) learns from 900, the student (ViT, 11 k) has 300
others, and 597 are held out from both. All is done by `agentkd distill --task images`; a killed run goes on. The gain
is paired by image with the same student without a teacher, pooled over the seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from agentkd.stats import paired_difference

VIT = {
    "model_type": "vit", "image_size": 8, "patch_size": 2, "num_channels": 1, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
TEACHER = {**VIT, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
STUDENT = {**VIT, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def write_images(folder: Path, seed: int) -> None:
    """PNGs in class folders: `many` for the teacher and `few` for the student, with the same held-out ones."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.images))
    halves = {
        "many/train": order[:900],
        "few/train": order[900:1200],
        "many/test": order[1200:],
        "few/test": order[1200:],
    }
    for half, places in halves.items():
        for place in places:
            file = folder / half / str(digits.target[place]) / f"{place}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[place] * 15.9375).astype(np.uint8)).save(file)


def distill(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "agentkd", "distill", "--task", "images", *words]
    subprocess.run([*command, "--student", str(folder / "student.json")], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--method", default="mix-kd")
    parser.add_argument("--work", type=Path, default=Path("runs/images-digits"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows, right = [], {"student": [], "baseline": [], "teacher": []}
    for seed in map(int, options.seeds.split(",")):
        folder = options.work / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        write_images(folder, seed)
        for name, settings in (("teacher", TEACHER), ("student", STUDENT)):
            (folder / f"{name}.json").write_text(json.dumps(settings))
        named = ["--seed", str(seed), "--out"]
        distill(
            folder, "--data", str(folder / "many"), "--teacher-model", str(folder / "teacher.json"), *named,
            str(folder / "first"), "teacher_epochs=60", "epochs=1",
        )  # fmt: skip
        out = folder / options.method
        distill(
            folder, "--data", str(folder / "few"), "--teacher-model", str(folder / "first/teacher"), *named, str(out),
            "--method", options.method, "epochs=150", "lr=2e-3",
        )  # fmt: skip
        found = json.loads((out / "metrics.json").read_text())
        rows.append({"seed": seed, "rows": found["rows"], "differences": found["differences"]})
        for line in (out / "predictions.jsonl").read_text().splitlines():
            row = json.loads(line)
            for name, values in right.items():
                values.append(100.0 * (row[name] == row["label"]))
    gain, low, high = paired_difference(right["student"], right["baseline"])
    summary = {name: sum(values) / len(values) for name, values in right.items()}
    result = {"method": options.method, "seeds": rows, "accuracy": summary, "gain": [gain, low, high]}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({"accuracy": summary, "gain": [round(value, 2) for value in (gain, low, high)]}))


if __name__ == "__main__":
    main()
