"""Questions that come with a graph each, made into one knowledge base and a question file per split, once.

Three data sets come so: RoG's (`rog.py`), SR's (`sr.py`) and KGQAGen (`kgqagen.py`). The knowledge base is the union of
all graphs. It is written under `$AGENTKD_HOME/tasks`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from agentkd.errors import UserError, WorldError
from agentkd.models import agentkd_home
from agentkd.tasks.files import Record, parse_row


def split_of(file: Path) -> str | None:
    """The split that a file's name tells: train, dev, validation or test; None for none."""
    found = re.match(r"(?:.*[._-])?(train|dev|validation|test)(?=[._-])", file.name)
    return found[1] if found else None


def prepared_folder(name: str, files: Iterable[Path]) -> Path:
    """The folder for what is made of some files; other files, or changed ones, have another."""
    stamp = "\n".join(f"{f.resolve()} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)
    return agentkd_home() / "tasks" / f"{name}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"


def read_prepared(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The knowledge base and the question files by split."""
    return folder / "kb.tsv", {f.stem: f for f in sorted(folder.glob("*.jsonl"))}


def write_prepared(folder: Path, rows: Iterable[tuple[str, str, Record]]) -> None:
    """Write kb.tsv and one question file per split; the folder appears only when all is written.

    A row is (split, where, record); a record has a question's fields, and `graph`: lists of head, relation, tail."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.part-"))
    except OSError as error:
        raise WorldError(f"cannot write {folder} ({error.strerror}); free space or set AGENTKD_HOME") from error
    try:
        seen: set[bytes] = set()  # digests, not lines: the graphs of all questions overlap heavily
        questions: dict[str, list[str]] = {}
        with (part / "kb.tsv").open("w", encoding="utf-8") as kb:
            for split, where, row in rows:
                item = parse_row(row, where, where.rsplit("/", 1)[-1], split)
                record = {
                    "id": item.question.id,
                    "question": item.question.question,
                    "topic_entities": item.question.topic_entities,
                    "answers": item.gold.answers if item.gold else None,
                    "proof": item.gold.proof if item.gold else None,
                }
                questions.setdefault(split, []).append(json.dumps(record, ensure_ascii=False) + "\n")
                for triple in row.get("graph") or ():
                    if len(triple) != 3:
                        raise UserError(f"{where}: 'graph' holds {str(triple)[:60]!r}; give [head, relation, tail]")
                    line = "\t".join(" ".join(str(name).split()) for name in triple)
                    digest = hashlib.blake2b(line.encode(), digest_size=12).digest()
                    if digest not in seen:
                        seen.add(digest)
                        kb.write(line + "\n")
        for split, lines in questions.items():
            (part / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        os.replace(part, folder)
    except OSError as error:
        raise WorldError(f"cannot write {folder} ({error.strerror}); free space or set AGENTKD_HOME") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def tell_apart(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names by id, from (id, name) pairs: the first entity of a name has it, the others have `name (id)`."""
    taken: Counter[str] = Counter()
    found: dict[str, str] = {}
    for id_, name in names:
        if id_ not in found:
            found[id_] = f"{name} ({id_})" if taken[name] else name
            taken[name] += 1
    return found
