"""Mixup, paraphrases and MCMI on `geo` with small language models, each beside the control that lacks it.

    python scripts/geo_options.py --seeds 0,1,2 --out geo-options.json

Traces are those of BM25's first four paths of 800 training questions that the knowledge base proves and gold confirms.
The teacher, a Llama of 96 x 3 over byte pairs, learns all of them; the student, 48 x 2 with the seed's random weights,
learns 150. Both write paths. A student is asked for the likeliest of BM25's twelve candidates of 300 test questions,
without the retriever's scores. Arms with paraphrases have twice the examples and half the passes. A killed run goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

import numpy as np

from agentkd.agents.path_writer import prompt_text
from agentkd.config import DistillConfig, GenerateConfig
from agentkd.distill.stages import distill
from agentkd.generate import generate
from agentkd.inference.in_process import open_in_process
from agentkd.reproduce.beds.geo_paths import make_items
from agentkd.runs.disk import write_atomically
from agentkd.stats import paired_difference

EPOCHS, TRACES, QUESTIONS = 20.0, 150, 300
SFT, LOGITS, HALF = {"method": "sft"}, {"method": "logits"}, {"epochs": (EPOCHS / 2,)}
ARMS = {
    "sft": SFT,
    "sft, mixup": {**SFT, "mixup": 0.5},
    "sft, random paraphrases": {**SFT, **HALF, "paraphrase": "random"},
    "sft, hard paraphrases": {**SFT, **HALF, "paraphrase": "hard"},
    "logits": LOGITS,
    "logits, mixup": {**LOGITS, "mixup": 0.5},
    "logits, random paraphrases": {**LOGITS, **HALF, "paraphrase": "random"},
    "logits, hard paraphrases": {**LOGITS, **HALF, "paraphrase": "hard"},
    "logits, longer teacher": {**LOGITS, "teacher": "teacher-longer"},
    "logits, mcmi teacher": {**LOGITS, "teacher": "teacher-mcmi"},
}
PAIRS = (
    ("sft, mixup", "sft"),
    ("sft, hard paraphrases", "sft"),
    ("sft, hard paraphrases", "sft, random paraphrases"),
    ("logits", "sft"),
    ("logits, mixup", "logits"),
    ("logits, hard paraphrases", "logits"),
    ("logits, hard paraphrases", "logits, random paraphrases"),
    ("logits, mcmi teacher", "logits"),
    ("logits, mcmi teacher", "logits, longer teacher"),
)


def make_model(folder: Path, width: int, layers: int, seed: int) -> Path:
    """A Llama of random weights over byte pairs of geo's questions and paths."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    if (folder / "config.json").exists():
        return folder
    texts = [text for item in make_items("train", 800) for text in (item.text, *(one.label for one in item.options))]
    pairs = Tokenizer(BPE())
    pairs.pre_tokenizer = ByteLevel(add_prefix_space=False)
    letters = ByteLevel.alphabet()
    pairs.train_from_iterator(sorted(texts), BpeTrainer(vocab_size=1000, initial_alphabet=letters, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token="<|end|>", pad_token="<|end|>")
    torch.manual_seed(seed)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    settings = LlamaConfig(
        vocab_size=len(tokenizer), num_attention_heads=4, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **shape,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    LlamaForCausalLM(settings).save_pretrained(folder)
    return folder


def make_traces(folder: Path) -> Path:
    """Proven traces of the packaged task's training questions, without a model."""
    values = {"task": "geo", "agent": "top-path", "paths": 4, "samples": 4, "retriever": "bm25", "limit": 800}
    generate(GenerateConfig.model_validate({**values, "teacher": "none", "out": str(folder)}))
    return folder


def train(student: Path, traces: Path, out: Path, seed: int, **options: object) -> Path:
    """A student of the road's own code."""
    values = {"student": str(student), "traces": str(traces), "out": str(out), "seed": seed, "lr": 2e-3, "batch": 16}
    distill(DistillConfig.model_validate({**values, "precision": "fp32", "form": "path", **options}))
    return out


async def ask(folder: Path, out: Path) -> list[float]:
    """Strict F1 of the student's likeliest candidate for each test question, in percent."""
    items = make_items("test", QUESTIONS)
    async with open_in_process(str(folder), name=folder.name, run=out) as model:

        async def one(item) -> float:
            labels = [option.label for option in item.options]
            choices = list(dict.fromkeys(labels))
            reply = await model.complete(prompt_text(item.text, ()), choices=choices)
            return item.f1(labels.index(choices[int(np.argmax(reply.log_p))]))

        return list(await asyncio.gather(*map(one, items)))


def run_arm(arm: str, seed: int, work: Path, traces: Path) -> list[float]:
    """The scores of one arm, which are kept."""
    folder = work / f"seed-{seed}"
    note = folder / f"{arm.replace(', ', '-').replace(' ', '-')}.json"
    if not note.exists():
        options = dict(ARMS[arm])
        if options.get("method") == "logits" or options.get("paraphrase") == "hard":
            teacher = train(make_model(work / "large", 96, 3, 1), traces, work / "teacher", 1, epochs=(10.0,))
            named = str(options.get("teacher", "teacher"))
            if named != "teacher":
                method = named.removeprefix("teacher-").replace("longer", "sft")
                train(teacher, traces, work / named, 1, method=method, epochs=(3.0,), lr=(5e-4,))
            options["teacher"] = str(work / named)
        student = make_model(folder / "model", 48, 2, 100 + seed)
        shared = {"epochs": (EPOCHS,), "limit": TRACES, **options}
        out = train(student, traces, folder / note.stem, seed, **shared)
        write_atomically(note, json.dumps(asyncio.run(ask(out, out))) + "\n")
    return json.loads(note.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", help="some of the arms, separated by semicolons [default: all]")
    parser.add_argument("--work", type=Path, default=Path("runs/geo-options"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    os.environ["AGENTKD_DATA_HOME"] = str(options.work / "home")
    options.work.mkdir(parents=True, exist_ok=True)
    traces = make_traces(options.work / "traces")
    scores: dict[str, dict[int, list[float]]] = {}
    for seed in map(int, options.seeds.split(",")):
        (options.work / f"seed-{seed}").mkdir(exist_ok=True)
        for arm in options.arms.split(";") if options.arms else ARMS:
            scores.setdefault(arm, {})[seed] = run_arm(arm, seed, options.work, traces)
            print(json.dumps({"seed": seed, "arm": arm, "f1": round(float(np.mean(scores[arm][seed])), 2)}), flush=True)
            write(options.out, scores)


def write(out: Path, scores: dict[str, dict[int, list[float]]]) -> None:
    """Means by seed, and the paired differences over the questions of all seeds that both arms have."""
    rows = [
        {"arm": arm, "f1": {seed: round(float(np.mean(some)), 2) for seed, some in found.items()}}
        for arm, found in scores.items()
    ]
    differences = []
    for arm, control in PAIRS:
        both = [seed for seed in scores.get(arm, {}) if seed in scores.get(control, {})]
        if both:
            pairs = [pair for seed in both for pair in zip(scores[arm][seed], scores[control][seed], strict=True)]
            mean, low, high = paired_difference(*zip(*pairs, strict=True))
            by_seed = [float(np.mean(scores[arm][seed]) - np.mean(scores[control][seed])) for seed in both]
            differences.append(
                {"arm": arm, "minus": control, "mean": mean, "low": low, "high": high, "by_seed": by_seed}
            )
    report = {"questions": QUESTIONS, "traces": TRACES, "epochs": EPOCHS, "rows": rows, "differences": differences}
    write_atomically(out, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
