"""`agentkd bench gguf`: an exported student in llama.cpp against the same student in transformers.

The student is exported anew and served as `--teacher local:FILE.gguf` serves it. Positions are teacher-forced: a
grammar of token ids lets llama.cpp write nothing but the text, and it reports, before any sampling, its likeliest token
and the log-probability of the text's own token. Three kinds of text: geo's questions, `traces` (the one-call prompt in
the student's chat template, followed by path and answers) and `prose` (this package's docstrings).

Tokenizers are compared on strings of seven kinds, special tokens among them. Left out are characters with a byte that
has no token (six control characters of SmolLM2; both sides drop them, but tokenizers merges what was around them and
llama.cpp does not), and digits beyond the basic plane, of which llama.cpp does not know those of Unicode 16.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

import agentkd
from agentkd.distill.data.forms import Example
from agentkd.distill.data.tokens import IGNORED, tokenise
from agentkd.distill.publish.gguf import export
from agentkd.errors import UserError, WorldError
from agentkd.models import find_weights
from agentkd.pretrained import load_pretrained
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import Progress, say
from agentkd.serving.llama import make_llama_server
from agentkd.serving.managed import ServerOptions
from agentkd.trace import Usage

AGREEMENT = 99.5  # percent of positions, at least
DELTA = 0.01  # nats, at most, on average
CONTEXT = 16  # first tokens of a question or of prose, which are read, not scored
LONGEST = 160  # tokens of a passage of these
SLOTS = 4
SHOWN = 20  # strings at most that are kept with both sides' ids


class Passage(NamedTuple):
    """Token ids, of which those from `start` on are forced."""

    kind: str
    ids: list[int]
    start: int


class Prediction(NamedTuple):
    """At one position: the likeliest token, and the log-probability of the text's own token."""

    top: int
    log_p: float


def bench_gguf(
    student: str, *, dtype: str, positions: int, strings: int, seed: int, out: Path | None
) -> dict[str, Any]:
    """Return rows by kind of text and over all, strings by kind, and whether each bar is met."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        exported = export(student, dtype=dtype, out=Path(folder) / f"model-{dtype}.gguf")
        exported["seconds"] = round(time.monotonic() - start, 1)
        exported.pop("out")
        report = asyncio.run(compare_engines(student, Path(folder), f"model-{dtype}.gguf", positions, strings, seed))
    everything, cut = report["rows"][-1], sum(row["differ"] for row in report["strings"])
    checks = [
        ("next-token agreement, %", everything["agreement"], AGREEMENT, everything["agreement"] >= AGREEMENT),
        ("mean |Δ log p|, nats", everything["delta"], DELTA, everything["delta"] <= DELTA),
        ("strings cut otherwise", cut, 0, not cut),
    ]
    report = {
        "command": f"agentkd bench gguf {student} --dtype {dtype} --positions {positions} --strings {strings} "
        f"--seed {seed}",
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("gguf", "transformers", "tokenizers", "xllamacpp")},
        "export": exported,
        **report,
        "checks": [{"name": name, "found": found, "bar": bar, "ok": ok} for name, found, bar, ok in checks],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "gguf.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        say(f"wrote {out / 'gguf.json'}")
    return report


async def compare_engines(
    student: str, folder: Path, name: str, positions: int, strings: int, seed: int
) -> dict[str, Any]:
    """Compare both engines on the same token ids and the same strings."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise UserError(f"bench gguf needs {error.name}: pip install 'agentkd[train]'") from None
    disable_progress_bar()
    weights = find_weights(student)
    tokenizer = load_pretrained(AutoTokenizer, weights)
    model = load_pretrained(AutoModelForCausalLM, weights, dtype=torch.float32).eval()
    passages = await choose_passages(tokenizer, positions, seed)
    with Progress("transformers", total=len(passages), unit="") as progress:
        ours = []
        for passage in passages:
            ours.append(await asyncio.to_thread(predict_with_transformers, model, passage))
            progress.advance(Usage(), good=True)
    del model
    longest = max(len(passage.ids) for passage in passages) + 1
    server = make_llama_server(
        folder / name, slots=SLOTS, context=longest, options=ServerOptions(log=folder / "llama.log")
    )
    connector = aiohttp.TCPConnector(keepalive_timeout=1.0)  # the server closes what is idle for 5 s
    options: dict[str, Any] = {"connector": connector, "timeout": aiohttp.ClientTimeout(total=None)}
    async with server, aiohttp.ClientSession(**options) as session:
        root = server.url.removesuffix("/v1")
        with Progress("llama.cpp", total=len(passages), unit="") as progress:
            room = asyncio.Semaphore(SLOTS)

            async def one(passage: Passage) -> list[Prediction]:
                async with room:
                    said = await predict_with_llama(session, root, passage)
                progress.advance(Usage(), good=True)
                return said

            theirs = await asyncio.gather(*map(one, passages))
        kinds: dict[str, int] = {}
        differ = []
        with Progress("tokenizers", total=strings, unit="equal") as progress:
            for kind, text in make_strings(tokenizer, strings, seed):
                kinds[kind] = kinds.get(kind, 0) + 1
                expected = tokenizer(text, add_special_tokens=False)["input_ids"]
                found = await tokenise_with_llama(session, root, text)
                if found != expected:
                    differ.append({"kind": kind, "text": text, "transformers": expected, "llama.cpp": found})
                progress.advance(Usage(), good=found == expected)
    return {
        "rows": summarise_kinds(passages, ours, theirs),
        "strings": [
            {"name": kind, "n": n, "differ": sum(d["kind"] == kind for d in differ)} for kind, n in kinds.items()
        ],
        "differences": differ[:SHOWN],
    }


def summarise_kinds(
    passages: Sequence[Passage], ours: Sequence[list[Prediction]], theirs: Sequence[list[Prediction]]
) -> list[dict[str, Any]]:
    """Return agreement in percent and |Δ log p| in nats, by kind of text and over all."""
    pairs: dict[str, list[tuple[Prediction, Prediction]]] = {}
    for passage, one, other in zip(passages, ours, theirs, strict=True):
        pairs.setdefault(passage.kind, []).extend(zip(one, other, strict=True))
    found = []
    for name, some in [*pairs.items(), ("all", [pair for group in pairs.values() for pair in group])]:
        deltas = [abs(one.log_p - other.log_p) for one, other in some]
        agreed = 100 * statistics.fmean(one.top == other.top for one, other in some)
        row = {"name": name, "positions": len(some), "agreement": agreed, "delta": statistics.fmean(deltas)}
        found.append({**row, "delta_max": max(deltas)})
    return found


def predict_with_transformers(model: Any, passage: Passage) -> list[Prediction]:
    """Predict the forced positions of a passage with transformers."""
    import torch

    with torch.inference_mode():
        log_p_LV = model(torch.tensor([passage.ids])).logits[0, passage.start - 1 : -1].float().log_softmax(-1)
    tops = log_p_LV.argmax(-1).tolist()
    own = log_p_LV.gather(-1, torch.tensor(passage.ids[passage.start :])[:, None])[:, 0].tolist()
    return [Prediction(*pair) for pair in zip(tops, own, strict=True)]


async def predict_with_llama(session: aiohttp.ClientSession, root: str, passage: Passage) -> list[Prediction]:
    """Predict the forced positions of a passage with llama.cpp. Raises WorldError where it writes other tokens."""
    forced = passage.ids[passage.start :]
    body = {
        "prompt": passage.ids[: passage.start],
        "n_predict": len(forced),
        "n_probs": 1,
        "temperature": 0.0,
        "grammar": "root ::= " + " ".join(f"<[{number}]>" for number in forced),
    }
    written = (await post_json(session, f"{root}/completion", body)).get("completion_probabilities", [])
    if [token["id"] for token in written] != forced:
        raise WorldError(
            f"llama.cpp wrote {len(written)} tokens other than the {len(forced)} it was given", retry=False
        )
    return [Prediction(token["top_logprobs"][0]["id"], token["logprob"]) for token in written]


async def tokenise_with_llama(session: aiohttp.ClientSession, root: str, text: str) -> list[int]:
    """Tokenise a text with llama.cpp."""
    body = {"content": text, "add_special": False, "parse_special": True}
    return list((await post_json(session, f"{root}/tokenize", body))["tokens"])


async def post_json(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post JSON and return the answer. Raises WorldError."""
    try:
        async with session.post(url, json=body) as reply:
            if reply.status != 200:
                raise WorldError(f"llama.cpp answered {reply.status}: {(await reply.text())[:200]}", retry=False)
            answer: dict[str, Any] = await reply.json()
            return answer
    except aiohttp.ClientError as error:
        raise WorldError(f"llama.cpp's server is gone ({error}): run the command again") from None


async def choose_passages(tokenizer: Any, positions: int, seed: int) -> list[Passage]:
    """Return seeded passages with at least `positions` forced positions, a third of each kind; the last one is cut."""
    sources = [question_passages(tokenizer, seed), prose_passages(tokenizer, seed)]
    if tokenizer.chat_template is not None:
        sources.append(await trace_passages(tokenizer, positions, seed))
    found: list[Passage] = []
    for source in sources:
        wanted = -(-positions // len(sources))
        for passage in source:
            found.append(passage._replace(ids=passage.ids[: passage.start + wanted]))
            wanted -= len(found[-1].ids) - passage.start
            if wanted <= 0:
                break
    return found


def question_passages(tokenizer: Any, seed: int) -> Iterator[Passage]:
    """Yield passages of ten questions of geo each."""
    from agentkd.tasks.load import load_task

    asked = [question.question for question in load_task("geo").pick("train", None, seed)]
    for first in range(0, len(asked), 10):
        ids = tokenizer("\n".join(asked[first : first + 10]), add_special_tokens=False)["input_ids"]
        yield Passage("questions", ids[:LONGEST], CONTEXT)


def prose_passages(tokenizer: Any, seed: int) -> Iterator[Passage]:
    """Yield the docstrings of this package that are long enough, shuffled."""
    found = []
    for path in sorted(Path(agentkd.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.append(ast.get_docstring(node) or "")
    random.Random(seed).shuffle(found)
    for text in found:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:LONGEST]
        split = any("\ufffd" in tokenizer.decode([number]) for number in ids)  # llama.cpp tells whole characters only
        if len(ids) >= 3 * CONTEXT and not split:
            yield Passage("prose", ids, CONTEXT)


async def trace_passages(tokenizer: Any, positions: int, seed: int) -> Iterator[Passage]:
    """Return examples as `distill` makes them, with the first path in place of the proven one.

    The end token ends llama.cpp's answer and cannot be forced.
    """
    from agentkd.agents.one_call import prompt_messages, write_target
    from agentkd.agents.survey import survey_step
    from agentkd.config import GenerateConfig
    from agentkd.teacher.chat import NoTeacher
    from agentkd.world import TaskWorld

    world = TaskWorld.load(GenerateConfig(task="geo", retriever="bm25", agent="one-call", seed=seed))
    retrieval = world.context(NoTeacher()).retrieval
    found: list[Passage] = []
    wanted = positions
    for question in world.task.pick("test", None, seed):
        topics = retrieval.topics(question)
        if not (options := await retrieval.options(question.question, topics)):
            continue
        messages = tuple(prompt_messages(question.question, json.loads(survey_step(options, topics).output)))
        wished = write_target(options[0].label, options[0].answers)
        row = tokenise(Example(id=question.id, prompt=messages, target=wished, trace=""), tokenizer)
        found.append(Passage("traces", row["input_ids"][:-1], row["labels"].count(IGNORED)))
        if (wanted := wanted - len(row["input_ids"]) + found[-1].start) <= 0:
            break
    return iter(found)


def make_strings(tokenizer: Any, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield `count` distinct seeded strings with their kinds."""
    from agentkd.tasks.load import load_task

    draw = random.Random(seed)
    asked = [
        question.question for split in ("train", "dev", "test") for question in load_task("geo").pick(split, None, 0)
    ]
    sources = sorted(Path(agentkd.__file__).parent.rglob("*.py"))
    lines = [line for path in sources for line in path.read_text().splitlines(keepends=True)]
    special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    scripts = (
        assigned_characters(0x80, 0x3000),
        assigned_characters(0x3000, 0x10000),
        assigned_characters(0x10000, 0x33480),
    )
    blanks = " \t\n\r\u00a0\u2003\u3000"

    def some(pool: Sequence[str], most: int) -> str:
        return "".join(draw.choices(pool, k=draw.randint(1, most)))

    def question() -> str:
        return draw.choice(asked)

    def digits() -> str:
        return draw.choice(["{}", "x{}", "{} {}", "  {}", "{}.{}", "+{}-{}", "{}:{}", "{},{}", "a{}b"]).replace(
            "{}", str(draw.randrange(10 ** draw.randint(1, 12)))
        )

    def unicode() -> str:
        return " ".join(some(draw.choice(scripts), 8) for _ in range(draw.randint(1, 4)))

    def code() -> str:
        first = draw.randrange(len(lines) - 8)
        return "".join(lines[first : first + draw.randint(1, 8)])

    def whitespace() -> str:
        return "".join(
            some(blanks, 6) + draw.choice(["a", "It's", "7", ".", "", "é"]) for _ in range(draw.randint(1, 6))
        )

    def tokens() -> str:
        return "".join(
            draw.choice([question()[:9], " ", "\n", *draw.sample(special, 3)]) for _ in range(draw.randint(1, 6))
        )

    def mixture() -> str:
        return "".join(
            make()[: draw.randint(1, 20)] for make in draw.choices((question, digits, unicode, code, whitespace), k=4)
        )

    makers = (question, digits, unicode, code, whitespace, tokens, mixture)
    seen: set[str] = set()
    tries = 0
    while len(seen) < count:
        make = makers[tries % len(makers)]
        tries += 1
        if (text := make()) not in seen:
            seen.add(text)
            yield make.__name__, text


@cache
def assigned_characters(low: int, high: int) -> list[str]:
    """Return the assigned characters of a range, without those that the module's docstring leaves out.

    Beyond 0x33480 there are only variation selectors and tags.
    """
    known = ((chr(point), unicodedata.category(chr(point))) for point in range(low, high))
    return [char for char, kind in known if kind[0] != "C" and not (kind[0] == "N" and char > "\uffff")]


def print_gguf(report: dict[str, Any]) -> None:
    """Print two tables."""
    from rich.table import Table

    from agentkd.runs.terminal import Terminal

    console = Terminal()
    table = Table(title=report["command"], title_justify="left", box=None, pad_edge=False)
    table.add_column("text")
    for column in ("positions", "same next token, %", "mean |Δ log p|", "largest"):
        table.add_column(column, justify="right")
    for row in report["rows"]:
        numbers = f"{row['agreement']:.2f}", f"{row['delta']:.5f}", f"{row['delta_max']:.4f}"
        table.add_row(row["name"], str(row["positions"]), *numbers)
    console.print(table)
    table = Table(title="tokenizers", title_justify="left", box=None, pad_edge=False)
    table.add_column("strings")
    for column in ("n", "cut otherwise"):
        table.add_column(column, justify="right")
    for row in report["strings"]:
        table.add_row(row["name"], str(row["n"]), str(row["differ"]))
    console.print(table)
    for item in report["differences"][:3]:
        console.print(
            f"{item['text']!r}: transformers {item['transformers']}, llama.cpp {item['llama.cpp']}", markup=False
        )


def require_passed(report: dict[str, Any]) -> None:
    """Raise WorldError where a bar is missed."""
    if failed := [f"{item['name']} is {item['found']:.4g}" for item in report["checks"] if not item["ok"]]:
        raise WorldError(f"{len(failed)} of {len(report['checks'])} bars missed: {', '.join(failed)}", retry=False)
