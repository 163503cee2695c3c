"""`--method auto` on scikit-learn's digits, beside the fixed default recipe and Optuna alone at an equal budget.

    python scripts/auto_images.py --seeds 0,1,2 --out docs/results/auto-images.json

The data are those of digits_images.py: a teacher of 900 digits, a student of 300 others, 597 held out from both. The
table of `auto` is empty. That of `auto, memory` (with --memory) has trainings of all methods on two tasks of generated
images. Optuna alone tunes the same methods and options with its TPE sampler, each trial a whole training that is scored
on one fold. Budgets are in passes, so that they are equal on any machine. What was chosen is trained on all 300 and
scored once on the held-out digits. A killed run goes on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from pathlib import Path
from random import Random

import numpy as np
from digits_images import VIT, write_images
from PIL import Image

from agentkd.config import ImagesConfig
from agentkd.distill.auto.images import distill_images_auto, make_bed, make_space, with_candidate
from agentkd.distill.auto.propose import as_params, suggest
from agentkd.distill.auto.search import passes_of
from agentkd.distill.auto.trials import STEPS
from agentkd.distill.images.data import read_images
from agentkd.distill.images.facts import candidate_of
from agentkd.distill.images.run import distill_images, open_pair
from agentkd.recommend.table import Candidate, add_rows, read_rows
from agentkd.runs.disk import write_atomically
from agentkd.stats import paired_difference

EPOCHS, BATCH, BUDGET = 30.0, 100, 3  # the budget is so many whole trainings on all training images
TEACHER = {**VIT, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
STUDENT = {**VIT, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
KINDS = ("stripes", "blobs")


def draw(kind: str, label: int, rng: np.random.Generator) -> np.ndarray:
    """A noisy grey image of 8 x 8: stripes of one of eight directions, or a blob in one of nine places."""
    y, x = np.mgrid[0:8, 0:8] - 3.5
    if kind == "stripes":
        angle = np.pi * (label + rng.normal(0, 0.25)) / 8
        image = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 1.2 + rng.uniform(0, 6))
    else:
        dx, dy = x - 2.2 * (label % 3 - 1) + rng.normal(0, 0.6), y - 2.2 * (label // 3 - 1) + rng.normal(0, 0.6)
        image = np.exp(-(dx**2 + dy**2) / 4)
    return np.clip(image + rng.normal(0, 0.35, (8, 8)), 0, 1)


def write_generated(folder: Path, kind: str) -> None:
    """The same halves as those of the digits, in one kind of generated images."""
    classes = 9 if kind == "blobs" else 8
    for half, count in (("many/train", 900), ("few/train", 300), ("test", 100)):
        rng = np.random.default_rng([len(half), count])
        for number in range(count):
            label = number % classes
            pixels = (draw(kind, label, rng) * 255).astype(np.uint8)
            for place in (half,) if half != "test" else ("many/test", "few/test"):
                file = folder / place / str(label) / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)


def prepare(folder: Path, seed: int) -> ImagesConfig:
    """Fit the teacher on its own images, and return the config of the student's training."""
    for name, settings in (("teacher", TEACHER), ("student", STUDENT)):
        (folder / f"{name}.json").write_text(json.dumps(settings))
    student = str(folder / "student.json")
    shared = {"student": student, "seed": seed, "batch": BATCH}
    distill_images(
        ImagesConfig(
            data=str(folder / "many"), teacher_model=str(folder / "teacher.json"), out=str(folder / "first"),
            teacher_epochs=20, epochs=1, lr=5e-3, **shared,
        )
    )  # fmt: skip
    return ImagesConfig(data=str(folder / "few"), teacher_model=str(folder / "first/teacher"), epochs=EPOCHS, **shared)


def open_bed(config: ImagesConfig, folder: Path):
    images = read_images(Path(str(config.data)), held_out=config.held_out, seed=config.seed)
    return make_bed(config, images, open_pair(config, images), folder)


def fill_memory(work: Path) -> None:
    """Rows of the table: every method's defaults on one generated task, a random candidate of each on the other."""
    rng = Random(100)
    for kind in KINDS:
        folder = work / "memory" / kind
        folder.mkdir(parents=True, exist_ok=True)
        write_generated(folder, kind)
        config = prepare(folder, seed=100)
        bed = open_bed(config, folder / "trials")
        for method in bed.space.methods:
            candidate = bed.space.make(method, {}) if kind == KINDS[0] else bed.space.draw(method, rng)
            note = folder / f"{method}.json"
            if not note.exists():
                reward = bed.train(candidate, STEPS[1], folder / "trials" / method)
                write_atomically(note, json.dumps([dict(candidate.options), reward]))
            options, reward = json.loads(note.read_text())
            add_rows([bed.row(as_trial(Candidate(method, options), reward))])


def as_trial(candidate: Candidate, reward: float):
    from agentkd.distill.auto.trials import Trial

    return Trial(
        number=0, step=1, method=candidate.method, options=dict(candidate.options), source="drawn", reward=reward,
        seconds=0.0, passes=0.0,
    )  # fmt: skip


def tune_alone(config: ImagesConfig, folder: Path) -> dict[str, object]:
    """Optuna's TPE, whole trainings on one fold, within the passes of the budget; the trial with the best reward."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bed, space = open_bed(config, folder / "trials"), make_space(config)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.seed))
    trials: list[tuple[Candidate, float]] = []
    count = int(BUDGET * EPOCHS / passes_of(bed, STEPS[1]))
    for number in range(count):
        note = folder / f"{number}.json"
        trial = study.ask()  # in a run that goes on, too: the sampler draws from one sequence
        candidate = candidate_of(config) if number == 0 else suggest(trial, space)
        if not note.exists():
            reward = bed.train(candidate, STEPS[1], folder / "trials" / str(number))
            write_atomically(note, json.dumps([candidate.method, dict(candidate.options), reward]))
        method, options, reward = json.loads(note.read_text())
        candidate = Candidate(method, options)
        params, ranges = as_params(space, candidate)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=reward))
        trials.append((candidate, reward))
    best, reward = max(trials, key=lambda pair: pair[1])
    found = distill_images(with_candidate(config, best).model_copy(update={"out": str(folder / "student")}))
    chosen = {"method": best.method, "options": dict(best.options), "reward": reward, "trainings": count}
    return {**found, "search": chosen}


def run_arm(arm: str, config: ImagesConfig, folder: Path) -> dict[str, object]:
    """One student and what it scored."""
    out = folder / arm.replace(", ", "-")
    out.mkdir(exist_ok=True)
    if arm == "default":
        return distill_images(config.model_copy(update={"out": str(out)}))
    if arm == "optuna":
        return tune_alone(config, out)
    given = {**config.model_dump(exclude_unset=True), "method": "auto", "budget_passes": BUDGET * EPOCHS}
    return distill_images_auto(ImagesConfig.model_validate({**given, "out": str(out)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--work", type=Path, default=Path("runs/auto-images"))
    parser.add_argument("--memory", action="store_true", help="let auto begin with the table of two generated tasks")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    memory = options.work / "home"
    os.environ["AGENTKD_DATA_HOME"] = str(memory)
    if options.memory:
        fill_memory(options.work)
    rows, right = [], {}
    for seed in map(int, options.seeds.split(",")):
        folder = options.work / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        write_images(folder, seed)
        for arm in ("default", "auto", "optuna", *(["auto, memory"] if options.memory else [])):
            # A home for each run: what is learned about the digits in one must not help another.
            home = options.work / "homes" / f"{arm}-{seed}"
            os.environ["AGENTKD_DATA_HOME"] = str(home)
            if arm == "auto, memory" and not home.exists():
                add_rows(read_rows(memory / "distillations.sqlite"))
            found = run_arm(arm, prepare(folder, seed), folder)
            name = Path(str(found["out"])) / "predictions.jsonl"
            own = [json.loads(line) for line in name.read_text().splitlines()]
            right.setdefault(arm, {})[seed] = [100.0 * (row["student"] == row["label"]) for row in own]
            accuracy = {row["name"]: row["accuracy"] for row in found["rows"]}
            rows.append({"seed": seed, "arm": arm, "accuracy": accuracy, "search": found.get("search")})
            print(json.dumps({"seed": seed, "arm": arm, **accuracy}), flush=True)
            write(options.out, rows, right)


def write(out: Path, rows: list[dict[str, object]], right: dict[str, dict[int, list[float]]]) -> None:
    """What there is so far: rows, and the differences of the searches to the others over the seeds that both have."""
    differences = []
    for arm, other in itertools.permutations(right, 2):
        both = [seed for seed in right[arm] if seed in right[other]]
        if arm.startswith("auto") and both:
            pairs = [(a, b) for seed in both for a, b in zip(right[arm][seed], right[other][seed], strict=True)]
            mean, low, high = paired_difference(*zip(*pairs, strict=True))
            by_seed = [float(np.mean(right[arm][seed]) - np.mean(right[other][seed])) for seed in both]
            differences.append({"arm": arm, "minus": other, "mean": mean, "low": low, "high": high, "seeds": by_seed})
    result = {"epochs": EPOCHS, "budget_trainings": BUDGET, "runs": rows, "differences": differences}
    write_atomically(out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
