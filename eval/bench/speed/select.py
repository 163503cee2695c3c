"""`agentkd bench select`: `agentkd select` beside a plain scoring loop over the same texts, and its memory.

- `plain`: each model in turn reads all texts, sorted by length over the whole corpus, in padded batches of as many
  positions, with the logits of every position; nothing is written and nothing can be resumed
- `select`: the command, from a file on the disk to the file of chosen texts

Every run is a new process, which times what follows its imports, the loading of both models included, by the clock and
by the processor. The two take turns; ratios are those within a round. Other work on the machine changes the clock's,
and hardly the processor's. With `--megabytes` a corpus of that size goes through two tiny models, and the
largest resident memory of the process is read from the kernel.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentkd.config import SelectConfig
from agentkd.corpus.scores import POSITIONS
from agentkd.errors import UserError
from agentkd.eval.bench.speed.losses import read_memory_kib
from agentkd.eval.bench.speed.train import make_tiny_student
from agentkd.models import find_weights
from agentkd.pretrained import load_pretrained
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.tasks.load import load_task

NAMES = ("plain", "select")
WORDS = 256  # of the large corpus


def bench_select(
    *, teacher: str, reference: str, documents: int, rounds: int, megabytes: int, seed: int, out: Path | None
) -> dict[str, Any]:
    """Measure both, and the memory where `megabytes` is not 0. `tiny` is a model of two random layers."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    report: dict[str, Any] = {
        "command": f"agentkd bench select --teacher {teacher} --reference {reference} --documents {documents} "
        f"--rounds {rounds} --megabytes {megabytes} --seed {seed}",
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny = str(make_tiny_student(folder / "tiny")) if "tiny" in (teacher, reference) else ""
        models = [tiny if name == "tiny" else name for name in (teacher, reference)]
        corpus = write_corpus(folder / "corpus.jsonl", documents, seed)
        for number in range(rounds):
            for name in NAMES if number % 2 else NAMES[::-1]:
                found[name].append(run_child(name, *models, str(corpus), str(folder / f"{name}-{number}")))
                say(f"round {number + 1} of {rounds}: {name} {found[name][-1]['seconds']:.1f} s")
        pairs = list(zip(found["plain"], found["select"], strict=True))
        ratios = [one["seconds"] / two["seconds"] for one, two in pairs]
        cpu_ratios = [one["cpu_seconds"] / two["cpu_seconds"] for one, two in pairs]
        report |= (
            {
                "load": os.getloadavg()[0],
                "tokens": found["plain"][0]["tokens"],
                "speed_to_plain": statistics.median(ratios),
                "speed_to_plain_low": min(ratios),
                "speed_to_plain_high": max(ratios),
                "cpu_to_plain": statistics.median(cpu_ratios),
                "cpu_to_plain_low": min(cpu_ratios),
                "cpu_to_plain_high": max(cpu_ratios),
                "loss_error": max(abs(one["loss"] - two["loss"]) for one, two in pairs),
                "runs": found,
            }
            if rounds
            else {}
        )
        if megabytes:
            report["memory"] = measure_memory(folder, megabytes, seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "select.json", json.dumps(report, indent=1) + "\n")
        say(f"wrote {out / 'select.json'}")
    return report


def write_corpus(file: Path, documents: int, seed: int) -> Path:
    """Texts of one to a few dozen questions of geo."""
    draw = np.random.default_rng(seed)
    questions = [question.question for question in load_task("geo").pick("train", None, seed)]
    with file.open("w") as opened:
        for size in draw.lognormal(1.8, 0.8, documents).clip(1, 60).astype(int):
            opened.write(json.dumps({"text": " ".join(draw.choice(questions, size))}) + "\n")
    return file


def run_child(name: str, *arguments: str) -> dict[str, Any]:
    """What a new process measures. Raises UserError with its last line."""
    argv = [sys.executable, "-m", "agentkd.eval.bench.speed.select", name, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        raise UserError(f"{name} failed ({reason}); pip install 'agentkd[train]', or fewer --documents")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_memory(folder: Path, megabytes: int, seed: int) -> dict[str, Any]:
    """`select` over a large corpus of made words, each a token of two tiny models."""
    models = [make_word_model(folder / name, number) for number, name in enumerate(("large", "small"))]
    corpus, size, documents = folder / "large.jsonl", 0, 0
    draw = np.random.default_rng(seed)
    with corpus.open("w") as opened:
        while size < megabytes * 1_000_000:
            for length in draw.lognormal(5.0, 1.0, 1000).clip(2, 20_000).astype(int):
                text = " ".join(f"word{number:03}abcdefgh" for number in draw.integers(0, WORDS, length))
                size += opened.write(json.dumps({"text": text}) + "\n")
                documents += 1
    say(f"{size / 1e6:.0f} MB of {documents:,} documents")
    found = run_child("select", *map(str, models), str(corpus), str(folder / "memory"))
    return {"megabytes": round(size / 1e6), "documents": documents, **found}


def make_word_model(folder: Path, seed: int) -> Path:
    """A random layer over WORDS words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {f"word{number:03}abcdefgh": number for number in range(WORDS)} | {"<end>": WORDS}
    plain = Tokenizer(WordLevel(words, "<end>"))
    plain.pre_tokenizer = WhitespaceSplit()
    torch.manual_seed(seed)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>").save_pretrained(folder)
    return folder


def print_select(report: dict[str, Any]) -> None:
    """Print one line for the speed, one for the memory."""
    if report.get("speed_to_plain"):
        say(
            f"select is {report['speed_to_plain']:.3f} ({report['speed_to_plain_low']:.3f}–"
            f"{report['speed_to_plain_high']:.3f}) times as fast as the plain loop by the clock, "
            f"{report['cpu_to_plain']:.3f} ({report['cpu_to_plain_low']:.3f}–{report['cpu_to_plain_high']:.3f}) by the "
            f"processor, on {report['tokens']:,} tokens; losses differ by {report['loss_error']:.1e} nats"
        )
    if memory := report.get("memory"):
        say(
            f"{memory['megabytes']:,} MB of {memory['documents']:,} documents: at most {memory['peak_mib']:,.0f} MiB "
            f"resident, {memory['seconds']:.0f} s"
        )


def measure_plain(models: Sequence[str], corpus: Path) -> dict[str, Any]:
    """Score all texts with each model in this process."""
    import torch
    import transformers

    start, cpu = time.monotonic(), time.process_time()
    losses, tokens = [], 0
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    for name in models:
        folder = find_weights(name)
        tokenizer = load_pretrained(transformers.AutoTokenizer, folder)
        model = load_pretrained(transformers.AutoModelForCausalLM, folder, dtype=torch.float32).eval()
        rows = sorted(tokenizer(texts)["input_ids"], key=len, reverse=True)
        total, first, tokens = 0.0, 0, sum(len(row) - 1 for row in rows)
        while first < len(rows):
            some = rows[first : first + max(1, POSITIONS // len(rows[first]))]
            ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in some], batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in some], True)
            with torch.inference_mode():
                logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
                targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
                total += float(torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="sum"))
            first += len(some)
        losses.append(total / tokens)
    spent = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu}
    return {**spent, "tokens": tokens, "loss": losses[0]}


def measure_select(models: Sequence[str], corpus: Path, out: str) -> dict[str, Any]:
    """Run the command's function in this process."""
    import torch  # noqa: F401  the imports are not timed
    import transformers  # noqa: F401

    from agentkd.corpus.select import select

    start, cpu = time.monotonic(), time.process_time()
    teacher, reference = models
    found = select(SelectConfig(corpus=str(corpus), teacher=teacher, reference=reference, out=out))
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": time.process_time() - cpu,
        "tokens": found["tokens"],
        "loss": found["loss"]["teacher"]["all"],
        "peak_mib": read_memory_kib("VmHWM") / 1024,
    }


if __name__ == "__main__":
    name, teacher, reference, corpus, out = sys.argv[1:]
    pair = (teacher, reference)
    print(json.dumps(measure_plain(pair, Path(corpus)) if name == "plain" else measure_select(pair, Path(corpus), out)))
