"""The model card: what the student is, what it learned from, its licences and its results.

A card is the README.md of the student's directory, in the form that the Hugging Face hub reads (YAML between dashes,
then Markdown). Its results are between two comments; `add_results` replaces those of the same questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from agentkd.distill.data.dataset import Dataset
from agentkd.distill.data.private_tokens import describe_for_card
from agentkd.distill.publish.lineage import eval_command
from agentkd.distill.resolve import Stage
from agentkd.doubts.groups import read_groups
from agentkd.doubts.review import describe_review, read_summary
from agentkd.errors import UserError
from agentkd.models import PACKAGED, is_hub_name
from agentkd.prompts import render
from agentkd.runs.disk import write_atomically
from agentkd.runs.read import read_config, read_metrics
from agentkd.runs.untrusted import CONFIG_BYTES, parse_yaml, read_small
from agentkd.tasks.items import is_foreign
from agentkd.tasks.load import find_licence

TAGS = {"agent": ("agent", "tool-use")}
BASE, BASE_LICENCE = "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"  # of the packaged weights
OPEN, CLOSE = "<!-- results -->", "<!-- end of results -->"
FACTS = ("retriever", "verify", "hash_data", "hash_kb", "hash_prompts", "hash_agent")  # not every run has all
KEY = 4  # first cells of a row: task, split, n, seed
_DATASETS = {"webqsp": "rmanluo/RoG-webqsp", "cwq": "rmanluo/RoG-cwq"}


def write_card(stage: Stage, dataset: Dataset, metrics: Mapping[str, Any]) -> None:
    """Write README.md, the card that the hub shows, into the student directory."""
    config, source = stage.config, stage.source
    base, weights_licence = find_base_model(config.student), find_weights_licence(config.student)
    front: dict[str, Any] = {
        "base_model": base,
        "license": weights_licence or "unknown",
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["agentkd", "knowledge-distillation", *TAGS.get(str(config.form), ("question-answering", "kbqa"))],
        "datasets": [_DATASETS[source["task"]]] if source["task"] in _DATASETS and not source.get("data") else None,
    }
    counts = read_counts(stage.traces)
    review = read_summary(stage.traces)
    last = {name: metrics[name][-1] for name in ("nll", "divergence") if metrics.get(name)}
    text = render(
        "card",
        front=yaml.safe_dump({key: value for key, value in front.items() if value}, sort_keys=False).strip(),
        title=stage.out.resolve().name,
        config=config,
        own_agent=is_foreign(source.get("agent")),
        source=dict.fromkeys(FACTS) | dict(source),
        counts={"unchecked": 0, "doubtful": 0, **counts} if counts else None,
        metrics=metrics,
        terms=", ".join(f"{name} {value}" for name, value in last.items()),
        private=describe_for_card(metrics["private"], config) if metrics.get("private") else "",
        base=base,
        dequantised=config.student == PACKAGED,
        dataset_hash=dataset.hash,
        left_out=", ".join(f"{count} {reason}" for reason, count in dataset.left_out.items()) or "nothing",
        licence=weights_licence,
        data_licence=find_licence(source["task"]),
        review=describe_review(review) if review else "",
        groups=[group for group in read_groups(stage.traces) if group.doubt],
        eval_command=eval_command(source, model=str(config.out)),
        results=render_results([]),
    )
    write_atomically(stage.out / "README.md", text + "\n")


def read_counts(traces: Path) -> dict[str, Any] | None:
    """The numbers of traces and questions of a finished run; None where it names none."""
    found = read_metrics(traces) if (traces / "metrics.json").is_file() else {}
    counted = all(isinstance(found.get(name), int) for name in ("verified", "traces", "questions"))
    return found if counted else None


def find_base_model(student: str) -> str | None:
    """The hub name of the model that the student began as, through students of students, or None if unknown."""
    if student == PACKAGED:
        return BASE
    if is_hub_name(student):
        return student
    if not is_student(Path(student)):
        return None
    before = find_untrained(Path(student))
    return find_base_model(before) if before and not is_student(Path(before)) else None


def find_untrained(folder: Path) -> str:
    """The model that a student was before any training, as its config names it, through students of students.

    Empty where they name each other."""
    seen = set[Path]()
    while folder.resolve() not in seen:
        seen.add(folder.resolve())
        before = str(read_config(folder).get("student", ""))
        if not is_student(Path(before)):
            return before.rstrip("/")
        folder = Path(before)
    return ""


def find_weights_licence(student: str) -> str | None:
    """The licence in a base model's own card, or None without one."""
    if student == PACKAGED:
        return BASE_LICENCE
    try:
        card = read_small(Path(student) / "README.md", CONFIG_BYTES)
        _, front, _ = card.decode(errors="replace").split("---\n", 2)
        named = (parse_yaml(front) or {}).get("license")
    except (OSError, UserError, ValueError, AttributeError):
        return None
    return named if isinstance(named, str) and named != "unknown" else None


def is_student(folder: Path) -> bool:
    """Whether `distill` wrote this folder."""
    try:
        return read_config(folder).get("stage") == "distill"
    except (UserError, OSError):
        return False


def find_student_folder(spec: str) -> Path | None:
    """The student directory that a model's name refers to: the directory, vLLM serving it, or its GGUF file."""
    path = Path(re.sub(r"^(vllm|local):", "", spec))
    folder = path.parent if path.suffix == ".gguf" else path
    return folder if is_student(folder) else None


def add_results(folder: Path, report: Mapping[str, Any], names: Sequence[str], seed: int) -> None:
    """Put an evaluation's rows called one of `names` into a student's card. They replace those of the same task, split,
    number of questions and seed; doing it again changes nothing."""
    card = folder / "README.md"
    text = read_small(card, CONFIG_BYTES).decode(errors="replace") if card.is_file() else ""
    before, found, rest = text.partition(OPEN)
    inside, _, after = rest.partition(CLOSE) if found else ("", "", "")
    cells = [re.split(r" \| ", line.strip("| \n")) for line in inside.splitlines() if line.startswith("| ")]
    kept = [row for row in cells if row[0] != "task"]
    key = [str(part) for part in (report["task"], report["split"], report["n"], seed)]
    minus = {(item["name"], item["matcher"]): item for item in report["differences"]}
    new = []
    for row in report["rows"]:
        if row["name"] in names:
            f1 = f"{row['f1']:.1f} [{row['f1_low']:.1f}, {row['f1_high']:.1f}]"
            scores = f"{row['hit']:.1f}", f1, "–" if row["tokens"] is None else f"{row['tokens']:.0f}"
            difference = format_difference(minus.get((row["name"], row["matcher"])))
            new.append([*key, row["name"].replace("|", "/"), row["matcher"], *scores, difference])
    rows = sorted([row for row in kept if row[:KEY] != key] + new, key=lambda row: row[:KEY])
    before = before if found else f"{text.rstrip()}\n\n".lstrip()
    write_atomically(card, before + render_results(rows) + (after or "\n"))


def format_difference(item: Mapping[str, Any] | None) -> str:
    """A paired difference of F1 with its interval and the row it is measured against."""
    if item is None:
        return "–"
    return f"{item['f1']:+.1f} [{item['f1_low']:+.1f}, {item['f1_high']:+.1f}] ({item['minus'].replace('|', '/')})"


def render_results(rows: Sequence[Sequence[str]]) -> str:
    """The card's results, between the comments that mark them."""
    return f"{OPEN}\n{render('card_results', rows=rows)}\n{CLOSE}"
