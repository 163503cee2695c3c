"""Readers of questions: JSONL in several spellings, MetaQA and PathQuestion.

A wrong line is a UserError that names file and line.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, WorldError
from agentkd.matching import clean_name
from agentkd.models import agentkd_home
from agentkd.tasks.question import Gold, Parse, Question, Row

Record = dict[str, Any]


# ---- reading rows --------------------------------------------------------------------------------------------------


def read_jsonl(file: Path) -> Iterator[tuple[str, Record]]:
    """Yield ("file:line", object) for each line of a JSONL file, without blank lines."""
    for number, line in enumerate(_stream(file), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error}): {line[:60]!r}; write one object a line") from error
        if not isinstance(row, dict):
            raise UserError(f'{where}: not an object: {line[:60]!r}; write {{"question": …, "answers": […], …}}')
        yield where, row


def _stream(file: Path) -> Iterator[str]:
    """The lines of a file, one at a time: files with a graph per question have gigabytes."""
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:
            yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as UTF-8 text ({error}); check the path") from error


def _names(row: Record, where: str, *keys: str) -> tuple[str, ...] | None:
    """Return the first field that is there, as names: a string or number is one name, a list several."""
    for key in keys:
        if (value := row.get(key)) is None:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(item, str | int | float) for item in values):
            raise UserError(f"{where}: {key!r} is {str(value)[:60]!r}; give a name or a list of names")
        return tuple(dict.fromkeys(name for item in values if (name := clean_name(str(item)))))
    return None


def parse_row(row: Record, where: str, default_id: str, default_split: str = "all") -> Row:
    """Read one question in any of the accepted spellings (ours, RoG's, fbmini's); unknown fields are ignored."""
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{where}: 'question' is {question!r}; give the text of a question")
    topics = _names(row, where, "topic_entities", "topic_entity", "q_entity")
    if topics is None:
        raise UserError(f"{where}: no 'topic_entities'; name the entities of the KB that {question[:40]!r} is about")
    answers = _names(row, where, "answers", "answer", "a_entity")
    hops = row.get("hops")
    if hops is not None and not isinstance(hops, int):
        raise UserError(f"{where}: 'hops' is {hops!r}; give a whole number or leave it out")
    kind = row.get("type", row.get("compositionality_type"))
    proof = _facts(row, where)
    item = Question(
        id=str(row.get("id") or default_id),
        question=question.strip(),
        topic_entities=topics,
    )
    gold = None
    if answers is not None:
        kind = None if kind is None else str(kind)
        gold = Gold(answers=answers, parses=_parses(row.get("parses")), hops=hops, type=kind, proof=proof)
    return Row(str(row.get("split") or default_split), item, gold)


def _facts(row: Record, where: str) -> tuple[tuple[str, str, str], ...]:
    """Read the facts that lead to the answer, where the row states them."""
    facts = row.get("proof") or ()
    if not isinstance(facts, list | tuple):
        raise UserError(f"{where}: 'proof' is {str(facts)[:60]!r}; give a list of [head, relation, tail]")
    for fact in facts:
        if not isinstance(fact, list | tuple) or len(fact) != 3 or not all(isinstance(name, str) for name in fact):
            raise UserError(f"{where}: 'proof' holds {str(fact)[:60]!r}; give [head, relation, tail]")
    return tuple((clean_name(head), clean_name(relation), clean_name(tail)) for head, relation, tail in facts)


def _parses(parses: Any) -> tuple[Parse, ...]:
    """Read WebQSP's annotations as its official evaluation does."""
    result = []
    for parse in parses or ():
        comment, answers = parse.get("AnnotatorComment") or {}, parse.get("Answers") or ()
        result.append(
            Parse(
                good=comment.get("QuestionQuality") == "Good" and comment.get("ParseQuality") == "Complete",
                answers=tuple(str(a.get("EntityName") or a["AnswerArgument"]) for a in answers),
                arguments=tuple(str(a["AnswerArgument"]) for a in answers),
            )
        )
    return tuple(result)


def read_file(file: Path, split: str, prefix: str) -> list[Row]:
    """Read a JSONL file as one split, whatever the `split` fields of its rows."""
    rows = (parse_row(row, where, f"{prefix}-{where.rsplit(':', 1)[1]}") for where, row in read_jsonl(file))
    return [row._replace(split=split) for row in rows]


def read_own(file: Path) -> dict[str, list[Row]]:
    """Read a user's file by the rows' `split` field (`all` where they have none)."""
    splits: dict[str, list[Row]] = {}
    for where, fields in read_jsonl(file):
        row = parse_row(fields, where, f"{file.stem}-{where.rsplit(':', 1)[1]}")
        splits.setdefault(row.split, []).append(row)
    return splits


def read_fbmini(file: Path, split: str) -> list[Row]:
    """Read WebQSP or CWQ over fbmini; training questions name their topic by Freebase id and key alone."""
    table = file.parent / "mid2name.json"
    names: dict[str, str] = json.loads(table.read_text("utf-8")) if table.is_file() else {}
    rows = []
    for where, row in read_jsonl(file):
        if "topic_entities" not in row:
            row["topic_entities"] = names.get(row.get("topic_mid", "")) or row.get("topic_key", "").replace("_", " ")
        row.setdefault("proof", row.get("crucial_triples"))
        rows.append(parse_row(row, where, where)._replace(split=split))
    return rows


# ---- MetaQA and PathQuestion ---------------------------------------------------------------------------------------


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as UTF-8 text ({error}); check the path") from error


def find_metaqa(folder: Path, hops: Iterable[int]) -> dict[str, dict[int, tuple[Path, Path | None]]]:
    """Return (questions, types or None) by split and hops.

    The questions may be in a `vanilla` folder, as the authors' are.
    """
    found: dict[str, dict[int, tuple[Path, Path | None]]] = {}
    for split in ("train", "dev", "test"):
        for hop in hops:
            base = folder / f"{hop}-hop"
            files = [f for f in (base / f"qa_{split}.txt", base / "vanilla" / f"qa_{split}.txt") if f.is_file()]
            types = base / f"qa_{split}_qtype.txt"
            if files:
                found.setdefault(split, {})[hop] = (files[0], types if types.is_file() else None)
    return found


def read_metaqa(files: dict[int, tuple[Path, Path | None]], split: str) -> list[Row]:
    """Read `question with [topic]<TAB>answer|answer` lines by hops; line n of the second file types question n."""
    return [row for hops, (file, types) in files.items() for row in _read_metaqa(file, types, hops, split)]


def _read_metaqa(file: Path, qtypes: Path | None, hops: int, split: str) -> list[Row]:
    lines = _lines(file)
    types: list[str] = _lines(qtypes) if qtypes else []
    if types and len(types) != len(lines):
        raise UserError(
            f"{qtypes}: {len(types)} types for the {len(lines)} questions of {file.name}; use matching files"
        )
    rows = []
    for number, line in enumerate(lines, start=1):
        text, tab, answers = line.partition("\t")
        topic = re.search(r"\[(.+)\]", text)
        if not (tab and topic):
            raise UserError(f"{file}:{number}: not a MetaQA line: {line[:60]!r}; write question with [topic]<TAB>a1|a2")
        item = Question(
            id=f"metaqa-{hops}hop-{split}-{number}",
            question=text[: topic.start()] + topic[1] + text[topic.end() :],
            topic_entities=(topic[1],),
        )
        kind = types[number - 1].strip() if types else None
        gold = Gold(answers=tuple(dict.fromkeys(answers.split("|"))), hops=hops, type=kind)
        rows.append(Row(split, item, gold))
    return rows


def read_pathquestion(files: dict[int, Path], split: str) -> list[Row]:
    """One split of PathQuestion; `files` are `question<TAB>answer(all/answers/)<TAB>topic#relation#entity#…` by hops.

    The authors state no split. Ours is a fixed shuffle of the topic entities, 60 / 15 / 25 percent of them, so that
    no topic is in two splits (one path is asked in several wordings: a split of lines would leak).
    """
    rows: list[Row] = []
    for hops, file in files.items():
        for number, line in enumerate(_lines(file), start=1):
            fields = line.split("\t")
            answers = re.search(r"\((.+)\)$", fields[1].strip()) if len(fields) == 3 else None
            if answers is None:
                raise UserError(
                    f"{file}:{number}: not a PathQuestion line: {line[:60]!r}; write question, answers, path"
                )
            chain = fields[2].split("#")
            item = Question(
                id=f"pathquestion-{hops}hop-{number}",
                question=fields[0].strip(),
                topic_entities=(chain[0],),
            )
            names = tuple(dict.fromkeys(name for name in answers[1].split("/") if name))
            steps = chain[: 2 * hops + 1]
            proof = tuple((steps[n], steps[n + 1], steps[n + 2]) for n in range(0, len(steps) - 2, 2))
            rows.append(Row("", item, Gold(answers=names, hops=hops, proof=proof)))
    topics = sorted({row.question.topic_entities[0] for row in rows})
    random.Random(0).shuffle(topics)
    share = {topic: place / len(topics) for place, topic in enumerate(topics)}
    low, high = {"train": (0.0, 0.6), "dev": (0.6, 0.75), "test": (0.75, 1.0)}[split]
    return [row._replace(split=split) for row in rows if low <= share[row.question.topic_entities[0]] < high]


def merge_kb_files(files: Iterable[Path]) -> Path:
    """Return one knowledge-base file with the distinct lines of several, made once in the agentkd home."""
    texts = [file.read_text(encoding="utf-8") for file in files]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    target = agentkd_home() / "tasks" / f"kb-{digest[:16]}.tsv"
    if not target.is_file():
        lines = dict.fromkeys(line for text in texts for line in text.splitlines() if line.strip())
        _write_atomically(target, "".join(f"{line}\n" for line in lines))
    return target


def _write_atomically(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as part:
            part.write(text)
        os.replace(part.name, target)
    except OSError as error:
        raise WorldError(f"cannot write {target} ({error.strerror}); free space or set AGENTKD_HOME") from error
