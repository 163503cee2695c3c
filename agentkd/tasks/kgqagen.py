"""KGQAGen-10k: questions over Wikidata with the facts that prove each answer (Zhang et al., arXiv 2505.23495).

JSON lines (or one JSON list) of `id`, `question`, `answer`, `sparql` and `proof`: facts whose names end with their ids,
`Bissau (Q3739)`. The knowledge base is the union of all proofs, which is far smaller than Wikidata. The topics of a
question are the entities that its query names, as the authors of WebQSP and CWQ have it, those first that the question
names too. Neither answers nor proof are used for that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkd.errors import UserError
from agentkd.matching import clean_name, strict_key
from agentkd.tasks.files import Record, read_jsonl
from agentkd.tasks.prepare import prepared_folder, read_prepared, split_of, tell_apart, write_prepared

NOTE = (
    "the knowledge base of kgqagen is the union of its gold proofs: far smaller than Wikidata, so scores on it are not "
    "comparable with published KGQAGen-10k scores"
)
_NAMED = re.compile(r"(?P<name>.+) \((?P<id>[QPL]\d+(?:-[SF]\d+)?)\)")
_CONSTANT = re.compile(r"\bwd:(Q\d+)\b")
Proof = list[tuple[str, str, str]]


def prepare_kgqagen(data: Path) -> tuple[Path, dict[str, Path]]:
    """Return the knowledge base and the question files by split, written once. `data` is a file, or their folder."""
    files = [data] if data.is_file() else sorted(f for f in data.rglob("*.json*") if f.suffix in (".json", ".jsonl"))
    rows = [(split_of(file) or "all", where, row) for file in files for where, row in _read(file) if "proof" in row]
    if not rows:
        raise UserError(
            f"{data}: holds no JSON lines with 'question', 'answer' and 'proof', as KGQAGen-10k has; check --data"
        )
    folder = prepared_folder("kgqagen", files)
    if not folder.is_dir():
        write_prepared(folder, _records(rows))
    return read_prepared(folder)


def _read(file: Path) -> Iterator[tuple[str, Record]]:
    """The rows of JSON lines, or of one list."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            first = lines.read(1)
            if first != "[":
                yield from read_jsonl(file)
                return
            content = json.loads(first + lines.read())
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not JSON ({error}); download it again") from error
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{file}:{number}: not an object: {str(row)[:60]!r}")
        yield f"{file}:{number}", row


def _records(rows: Iterable[tuple[str, str, Record]]) -> Iterator[tuple[str, str, Record]]:
    proofs = [(split, where, row, _proof(row, where)) for split, where, row in rows]
    pairs = (_split(name) for *_, proof in proofs for head, _, tail in proof for name in (head, tail))
    names = tell_apart((id_, name) for name, id_ in pairs if id_)
    for split, where, row, proof in proofs:
        facts = [[_display(head, names), _split(relation)[0], _display(tail, names)] for head, relation, tail in proof]
        mentioned = [name for head, _, tail in proof for name in (head, tail)]
        by_name = {_split(name)[0]: _display(name, names) for name in reversed(mentioned)}  # the first of a name counts
        record: Record = {"id": row.get("id"), "question": row.get("question"), "graph": facts, "proof": facts}
        record["topic_entities"] = _topics(row, names)
        if (answers := row.get("answer")) is not None:
            given = [str(answer) for answer in (answers if isinstance(answers, list) else [answers])]
            pairs_given = [_split(text) for text in given]
            record["answers"] = [names[id_] if id_ in names else by_name.get(name, name) for name, id_ in pairs_given]
        yield split, where, record


def _proof(row: Record, where: str) -> Proof:
    facts = row["proof"]
    if not isinstance(facts, list) or not all(isinstance(fact, list) and len(fact) == 3 for fact in facts):
        raise UserError(f"{where}: 'proof' is {str(facts)[:60]!r}; give a list of [head, relation, tail]")
    return [(clean_name(str(head)), clean_name(str(relation)), clean_name(str(tail))) for head, relation, tail in facts]


def _split(text: str) -> tuple[str, str]:
    """A name and the id behind it, which is empty for a literal."""
    found = _NAMED.fullmatch(clean_name(text))
    return (found["name"], found["id"]) if found else (clean_name(text), "")


def _display(text: str, names: Mapping[str, str]) -> str:
    name, id_ = _split(text)
    return names.get(id_, name)


def _topics(row: Record, names: Mapping[str, str]) -> list[str]:
    """The entities that the query names: those that the question names too, else all."""
    constants = [names[id_] for id_ in dict.fromkeys(_CONSTANT.findall(str(row.get("sparql") or ""))) if id_ in names]
    question = f" {strict_key(str(row.get('question') or ''))} "
    return [name for name in constants if f" {strict_key(_plain(name))} " in question] or constants


def _plain(name: Any) -> str:
    return re.sub(r" \(Q\d+\)$", "", name)
