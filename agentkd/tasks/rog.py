"""RoG's versions of WebQSP and CWQ: questions with a subgraph each, made into one knowledge base and question files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from agentkd.errors import UserError, WorldError
from agentkd.models import agentkd_home
from agentkd.tasks.files import Record, read_jsonl
from agentkd.tasks.prepare import prepared_folder, read_prepared, split_of, write_prepared


def prepare_rog(name: str, data: Path | None) -> tuple[Path, dict[str, Path]]:
    """Return the knowledge base and the question files by split of RoG's WebQSP or CWQ, written once.

    Rows are {id, question, answer[], q_entity[], graph[[head, relation, tail]]}; the knowledge base is the union of all
    graphs. They come from `data` (files such as train.jsonl or test-00000-of-00002.parquet), else from the hub.
    """
    if data is not None:
        files = sorted(f for f in data.rglob("*") if f.suffix in (".jsonl", ".parquet") and split_of(f))
        if not files:
            raise UserError(
                f"{data}: holds neither {name}_train.jsonl, {name}_dev.jsonl, … with kb.tsv nor RoG's files "
                f"(train*.parquet, test*.jsonl); check --data"
            )
        folder = prepared_folder(f"rog-{name}", files)
    else:
        folder = agentkd_home() / "tasks" / f"rog-{name}"
    if not folder.is_dir():
        rows = _rog_files(files) if data is not None else _rog_hub(f"rmanluo/RoG-{name}")
        write_prepared(folder, rows)
    return read_prepared(folder)


def _rog_files(files: Iterable[Path]) -> Iterator[tuple[str, str, Record]]:
    """Yield (split, where, row) of local files."""
    for file in files:
        split = split_of(file) or "all"
        if file.suffix == ".jsonl":
            yield from ((split, where, row) for where, row in read_jsonl(file))
            continue
        try:
            import pyarrow.parquet as parquet  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise UserError(f"{file}: reading Parquet needs pyarrow; pip install pyarrow") from error
        number = 0
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    number += 1
                    yield split, f"{file}:{number}", row
        except (OSError, ValueError) as error:  # pyarrow's errors derive from these
            raise UserError(f"{file}: not a readable Parquet file ({error}); download it again") from error


def _rog_hub(repository: str) -> Iterator[tuple[str, str, Record]]:
    try:
        import datasets
    except ImportError as error:
        remedy = "pip install 'agentkd[train]', or give the files with --data DIR"
        raise UserError(f"{repository}: reading the hub needs the datasets package; {remedy}") from error
    try:
        splits = datasets.load_dataset(repository)
    except Exception as error:  # the hub's clients raise whatever their HTTP library raises
        reason = str(error).split("\n")[0][:120]
        raise WorldError(
            f"cannot fetch {repository} from the hub ({type(error).__name__}: {reason}); "
            "give its files with --data DIR, or use --task geo, which needs no network"
        ) from error
    for split, rows in splits.items():
        for number, row in enumerate(rows, start=1):
            yield str(split), f"{repository}/{split}:{number}", row
