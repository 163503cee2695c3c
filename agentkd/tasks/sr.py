"""SR's files: questions with retrieved subgraphs of Freebase, in the form that NSM, SR, ReaRev and GNN-RAG share.

A folder with `entities.txt` and `relations.txt` (one id a line), JSON lines in `train.json`, `dev.json` and `test.json`
(or `train_simple.json` and so on), and often `entities_names.json` (id -> name). A row has `id`, `question`,
`entities`, `answers` ({kb_id, text}) and `subgraph.tuples`. Entities are written as ids, as numbers of a line, or as
objects.

Source: Zhang et al., ACL 2022, and the loaders of RUCKBReasoning/SubgraphRetrievalKBQA and cmavro/GNN-RAG.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentkd.errors import UserError
from agentkd.matching import clean_name
from agentkd.tasks.files import Record, read_jsonl
from agentkd.tasks.prepare import prepared_folder, read_prepared, tell_apart, write_prepared

VOCABULARIES = ("entities.txt", "relations.txt")
NAMES = "entities_names.json"
SPLITS = ("train", "dev", "test")


class Vocabulary(NamedTuple):
    """The ids of entities and relations by line, and names by id."""

    entities: Sequence[str]
    relations: Sequence[str]
    names: Mapping[str, str]


def find_sr(data: Path) -> dict[str, Path] | None:
    """SR's question files by split, of a folder or of one below it; None where there are none."""
    for folder in (data, *sorted(f for f in data.iterdir() if f.is_dir())) if data.is_dir() else ():
        if all((folder / name).is_file() for name in VOCABULARIES):
            pairs = ((split, folder / f"{split}{end}.json") for split in SPLITS for end in ("", "_simple"))
            files: dict[str, Path] = {}
            for split, file in pairs:
                if file.is_file():
                    files.setdefault(split, file)
            return files or None
    return None


def prepare_sr(name: str, files: Mapping[str, Path]) -> tuple[Path, dict[str, Path]]:
    """Return the knowledge base and the question files by split of SR's WebQSP or CWQ, written once.

    Entities without a name keep their id, and are no answers."""
    folder = next(iter(files.values())).parent
    parts = [file for file in (*(folder / name for name in VOCABULARIES), folder / NAMES) if file.is_file()]
    target = prepared_folder(f"sr-{name}", [*files.values(), *parts])
    if not target.is_dir():
        entities, relations = (_read_lines(folder / name) for name in VOCABULARIES)
        vocabulary = Vocabulary(entities, relations, _read_names(folder, entities, files))
        write_prepared(target, _rows(files, vocabulary))
    return read_prepared(target)


def _read_lines(file: Path) -> list[str]:
    try:
        return [clean_name(line) for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as UTF-8 text ({error}); check --data") from error


def _read_names(folder: Path, entities: Sequence[str], files: Mapping[str, Path]) -> dict[str, str]:
    """The names of entities by id, from the table of names, and of answers from their texts."""
    named: dict[str, str] = {}
    if (table := folder / NAMES).is_file():
        try:
            content = json.loads(table.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise UserError(f"{table}: not JSON ({error}); it maps ids to names") from error
        if not isinstance(content, dict):
            raise UserError(f"{table}: is no object; it maps ids to names")
        named.update((str(id_), name) for id_, text in content.items() if (name := clean_name(str(text or ""))))
    for file in files.values():
        for _, row in read_jsonl(file):
            for answer in row.get("answers") or ():
                id_, text = _answer(answer)
                if id_ and text and id_ != text:
                    named.setdefault(id_, text)
    known = dict.fromkeys(entities)
    return tell_apart([*((id_, named[id_]) for id_ in known if id_ in named), *named.items()])


def _answer(answer: Any) -> tuple[str, str]:
    """The id and the name of an answer; where `kb_id` is a number, `text` is the id."""
    if not isinstance(answer, dict):
        return clean_name(str(answer)), ""
    id_, text = answer.get("kb_id"), clean_name(str(answer.get("text") or ""))
    return (clean_name(id_), text) if isinstance(id_, str) else (text, "")


def _rows(files: Mapping[str, Path], vocabulary: Vocabulary) -> Iterator[tuple[str, str, Record]]:
    for split, file in files.items():
        for where, row in read_jsonl(file):
            graph, answers, topics = row.get("subgraph"), row.get("answers"), row.get("entities")
            tuples = graph.get("tuples") if isinstance(graph, dict) else None
            if not isinstance(tuples, list) or not isinstance(topics, list):
                raise UserError(
                    f"{where}: has no 'entities' and 'subgraph' with 'tuples', as SR's files do; check --data"
                )
            record: Record = {
                "id": row.get("id"),
                "question": row.get("question"),
                "topic_entities": [_name(topic, vocabulary, where) for topic in topics],
                "graph": [_fact(fact, vocabulary, where) for fact in tuples],
            }
            if isinstance(answers, list):
                found = [_answer(answer) for answer in answers]
                record["answers"] = [vocabulary.names.get(id_, text or id_) for id_, text in found]
            yield split, where, record


def _fact(fact: Any, vocabulary: Vocabulary, where: str) -> list[str]:
    if not isinstance(fact, list) or len(fact) != 3:
        raise UserError(f"{where}: 'tuples' holds {str(fact)[:60]!r}; give [head, relation, tail]")
    head, relation, tail = fact
    return [_name(head, vocabulary, where), _id(relation, vocabulary.relations, where), _name(tail, vocabulary, where)]


def _name(entity: Any, vocabulary: Vocabulary, where: str) -> str:
    id_ = _id(entity, vocabulary.entities, where)
    return vocabulary.names.get(id_, id_)


def _id(value: Any, known: Sequence[str], where: str) -> str:
    """An id as it is written, in an object, or by the number of its line."""
    if isinstance(value, dict):
        value = value.get("kb_id") if isinstance(value.get("kb_id"), str) else value.get("text", value.get("rel_id"))
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(known):
            raise UserError(
                f"{where}: {value} is no line of a vocabulary of {len(known)}; check entities and relations"
            )
        return known[value]
    if not isinstance(value, str) or not clean_name(value):
        raise UserError(f"{where}: {str(value)[:60]!r} is neither an id nor the number of one")
    return clean_name(value)
