"""`agentkd select`: the documents of a corpus that a large model finds likelier than a small one does (MiniPLM).

Two passes, one a model, then a choice. With one vocabulary a document's score is the difference of the mean losses a
token, as in the paper; with two the losses are compared a byte of text, since their tokens are not the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentkd.config import SelectConfig, slug
from agentkd.corpus.documents import find_files, read_documents
from agentkd.corpus.scores import Rows, Scorer, is_scored, read_rows, score_corpus
from agentkd.errors import UserError
from agentkd.inference.in_process import identify_weights
from agentkd.inference.model_folder import open_tokenizer
from agentkd.models import find_weights
from agentkd.runs.disk import disk_error, hash_file
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_metrics
from agentkd.runs.store import RunDirectory
from agentkd.trace import content_hash

MODELS = ("teacher", "reference")
FILE = "selected.jsonl"


def select(config: SelectConfig) -> dict[str, Any]:
    """Score the corpus, or a shard of it, and write the chosen documents. Returns counts and mean losses.

    Raises UserError for a corpus without documents, and for models of which one cannot score."""
    for option, name in (("--teacher", config.teacher), ("--reference", config.reference)):
        if not name:
            raise UserError(f"select needs {option}: a model that scores texts, a folder or a hub name")
    files = find_files(config.corpus or "")
    shard = parse_shard(config.shard)
    total, hashes = measure(files, config.field)
    folder = Path(config.out or f"corpora/{slug(files[0].stem)}-{config.by}")
    say(f"{total:,} documents in {len(files)} files → {folder}; keep={config.keep:g} by {config.by}")
    names = {"teacher": str(config.teacher), "reference": str(config.reference)}
    identity = {
        "hash_corpus": content_hash(hashes),
        **{f"hash_{kind}": identify_weights(find_weights(name)) for kind, name in names.items()},
    }
    config = config.model_copy(update={"out": str(folder)})
    scores = folder / "scores"
    with RunDirectory(folder, "select", config, identity):
        scores.mkdir(exist_ok=True)
    own, of = shard
    rows = {kind: [scores / f"{kind}-{part}-of-{of}.rows" for part in range(of)] for kind in MODELS}
    for kind in MODELS:
        if not is_scored(rows[kind][own], shard, total):
            scorer = Scorer(names[kind], length=config.max_length, trust=config.trust_remote_code)
            score_corpus(scorer, read_documents(files, config.field), rows[kind][own], shard, total)
            del scorer  # one model at a time
    lacking = [part for part in range(of) if not all(is_scored(rows[kind][part], (part, of), total) for kind in MODELS)]
    if lacking:
        say(f"shard {config.shard} is scored; the last of the others chooses (missing: {', '.join(map(str, lacking))})")
        return {"out": str(folder), "documents": total, "missing_shards": lacking}
    with RunDirectory(folder, "select", config, identity) as run:
        if is_complete(folder) and (read_metrics(folder).get("choice") == choice(config)):
            say(f"{folder} is complete: nothing to do")
            return {"out": str(folder), **read_metrics(folder)}
        teacher, reference = (read_rows(rows[kind], total) for kind in MODELS)
        vocabularies = {hash_vocabulary(name, trust=config.trust_remote_code) for name in names.values()}
        unit = "token" if len(vocabularies) == 1 else "byte"
        kept = choose(config, teacher, reference, unit)
        write_kept(files, config.field, kept, folder / FILE)
        metrics = {"choice": choice(config), **describe(teacher, reference, kept, unit)}
        run.finish(metrics)
    return {"out": str(folder), **metrics}


def choice(config: SelectConfig) -> str:
    """What the choice depends on beside the scores, which are kept: another one needs no second scoring."""
    return f"{config.by} {config.keep} seed {config.seed}"


def parse_shard(text: str) -> tuple[int, int]:
    """`1/4` as (1, 4), counted from 0. Raises UserError for another form."""
    own, slash, of = text.partition("/")
    if not (slash and own.isdecimal() and of.isdecimal() and int(own) < int(of)):
        raise UserError(f"--shard is {text!r}: give I/N with I from 0 to N - 1, such as 0/4")
    return int(own), int(of)


def measure(files: Sequence[Path], field: str) -> tuple[int, list[str]]:
    """The number of documents, read once so that a bad line is found before any scoring, and the hash of each file."""
    total = sum(1 for _ in read_documents(files, field))
    if not total:
        raise UserError(f"the corpus has no documents: {files[0]} is empty")
    return total, [hash_file(file) for file in files]


def hash_vocabulary(name: str, *, trust: bool) -> str:
    """What two tokenizers must share for their tokens to be the same."""
    tokenizer = open_tokenizer(find_weights(name), name, trust=trust)
    return content_hash(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


def choose(config: SelectConfig, teacher: Rows, reference: Rows, unit: str) -> npt.NDArray[np.int64]:
    """The places of the chosen documents, ascending. Documents without a token that both score are never chosen."""
    import torch

    from agentkd.methods.miniplm import difference, keep_largest

    scored = np.flatnonzero((teacher["tokens"] > 0) & (reference["tokens"] > 0))
    own, other = (int((rows["tokens"] > 0).sum()) for rows in (teacher, reference))
    if not len(scored) and (own or other):
        raise UserError(
            f"the two models share no text: {config.teacher} reads {own} of {len(teacher)} documents and "
            f"{config.reference} {other}, none of them both: give two models that know the corpus's script"
        )
    if not len(scored):
        raise UserError("no document has two tokens or more, so there is nothing to score: give longer texts")
    loss, base = (mean_losses(rows[scored], unit) for rows in (teacher, reference))
    orders: dict[str, Callable[[], npt.NDArray[np.float64]]] = {
        "difference": lambda: difference(torch.from_numpy(loss), torch.from_numpy(base)).numpy(),
        "lowest": lambda: -loss,
        "highest": lambda: loss,
        "random": lambda: np.random.default_rng(config.seed).random(len(scored)),
    }
    kept = keep_largest(torch.from_numpy(orders[config.by]()), config.keep).numpy()
    if not len(kept):
        raise UserError(f"keep={config.keep:g} of {len(scored)} documents is none: keep more")
    places: npt.NDArray[np.int64] = scored[kept]
    return places


def mean_losses(rows: Rows, unit: str) -> npt.NDArray[np.float64]:
    """Nats a token, or a byte of text."""
    losses: npt.NDArray[np.float64] = rows["nll"] / rows["tokens" if unit == "token" else "bytes"]
    return losses


def write_kept(files: Sequence[Path], field: str, kept: npt.NDArray[np.int64], out: Path) -> None:
    """Write the chosen documents as JSON lines, whole or not at all. Lines of JSON stay as they are."""
    chosen = iter(kept.tolist())
    wanted = next(chosen, None)
    temporary = out.with_name(f".{out.name}.part")
    try:
        with temporary.open("wb") as opened:
            for place, document in enumerate(read_documents(files, field)):
                if place != wanted:
                    continue
                record = document.record or json.dumps({field: document.text}, ensure_ascii=False).encode()
                opened.write(record + b"\n")
                wanted = next(chosen, None)
                if wanted is None:
                    break
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(out, error) from None


def describe(teacher: Rows, reference: Rows, kept: npt.NDArray[np.int64], unit: str) -> dict[str, Any]:
    """Counts, and the mean losses of all and of the chosen documents."""
    total = len(teacher)
    empty = int(((teacher["tokens"] < 1) | (reference["tokens"] < 1)).sum())

    def means(rows: Rows) -> dict[str, float]:
        some = rows[rows["tokens"] > 0]
        return {"all": _mean(some, unit), "kept": _mean(rows[kept], unit)}

    return {
        "documents": total,
        "left_out": empty,
        "kept": len(kept),
        "tokens": int(teacher["tokens"].sum()),
        "kept_tokens": int(teacher["tokens"][kept].sum()),
        "unit": unit,
        "loss": {"teacher": means(teacher), "reference": means(reference)},
    }


def _mean(rows: Rows, unit: str) -> float:
    return round(float(rows["nll"].sum() / max(1, rows["tokens" if unit == "token" else "bytes"].sum())), 4)
