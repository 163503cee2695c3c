"""Questions over a knowledge base: where a task's files are, and how to read them.

`load_task("webqsp", data=…)` gives a `Task`: its questions by split, without answers, its gold apart, and its
knowledge base. Tasks: `geo` (packaged), `webqsp` and `cwq` (files, or RoG's data sets from the hub), `metaqa` and
`pathquestion` (files; `metaqa-2hop` is its 2-hop part), or the user's own JSONL file.

Gold is not in the room: a `Question` has no field for an answer or for the way to it. Raises UserError for wrong
input (a wrong line is named by file and line), WorldError where the hub cannot be reached.
"""

from __future__ import annotations

import difflib
import hashlib
import random
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agentkd.errors import UserError
from agentkd.matching import normalize
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.sparql import WIKIDATA, SparqlKB
from agentkd.tasks.files import (
    Gold,
    Parse,
    Question,
    Row,
    find_metaqa,
    merge_kb_files,
    prepare_rog,
    read_fbmini,
    read_file,
    read_metaqa,
    read_own,
    read_pathquestion,
)

__all__ = [
    "Gold",
    "Overlap",
    "Parse",
    "Question",
    "Row",
    "Task",
    "find_licence",
    "find_overlaps",
    "id_root",
    "load_task",
]

NAMES = ("geo", "webqsp", "cwq", "metaqa", "pathquestion")
SPLITS = ("train", "dev", "validation", "test", "all")
PACKAGE = Path(__file__).parents[1] / "data"
MAX_HOPS = {"geo": 3, "webqsp": 2, "cwq": 2, "metaqa": 3, "pathquestion": 3}
_FBMINI_NOTE = (
    "fbmini is pooled from what published systems retrieved: it is far smaller and cleaner than Freebase, so scores "
    "on it are not comparable with published {} scores"
)
_LICENCES = {
    "geo": "CC BY 4.0 and others: see agentkd/data/geo/ATTRIBUTION.md",
    "webqsp": "Freebase facts: CC BY 2.5; questions: Microsoft's WebQSP terms",
    "cwq": "Freebase facts: CC BY 2.5; questions: the ComplexWebQuestions authors' terms",
    "metaqa": "CC BY 3.0",
    "pathquestion": "no licence stated by its authors",
}
OWN_DATA = "the user's own data"


def find_licence(name: str) -> str:
    """The licence of a task's data, by the task's name."""
    return _LICENCES.get(re.sub(r"-[123]hop$", "", name), OWN_DATA)


class Task:
    """Questions, gold and knowledge base of one task; everything is read at first use.

    `max_hops` is the depth (in edges) to search at; `licence` and `note` belong next to any score. The knowledge base
    is a file, or `endpoint`, a SPARQL address with its dialect.
    """

    def __init__(
        self,
        name: str,
        *,
        kb_path: Path | None,
        read: Mapping[str, Callable[[], list[Row]]],
        files: Mapping[str, tuple[Path, ...]],
        max_hops: int,
        aliases_path: Path | None = None,
        endpoint: tuple[str, str] | None = None,
        licence: str = OWN_DATA,
        note: str = "",
    ) -> None:
        self.name, self.kb_path, self.aliases_path, self.max_hops = name, kb_path, aliases_path, max_hops
        self.licence, self.note, self.endpoint = licence, note, endpoint
        self._read, self._files = read, files
        self._rows: dict[str, list[Row]] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that exist here, in the order train, dev, validation, test, then others."""
        rank = {split: place for place, split in enumerate(SPLITS)}
        return tuple(sorted(self._read, key=lambda split: (rank.get(split, len(rank)), split)))

    def default_split(self, purpose: Literal["generate", "eval"]) -> str:
        """`train` to generate traces; `test`, else `dev`, to evaluate; a file without splits is used whole."""
        wanted = ("train", "all") if purpose == "generate" else ("test", "dev", "validation", "all")
        for split in wanted:
            if split in self._read:
                return split
        have = ", ".join(self.splits)
        raise UserError(f"task {self.name} has no split {wanted[0]!r} here (it has: {have}); name one with --split")

    def _items(self, split: str) -> list[Row]:
        if split not in self._read:
            raise UserError(f"task {self.name} has no split {split!r}; choose one of: {', '.join(self.splits)}")
        if split not in self._rows:
            find = self.knowledge_base().find
            rows, seen = [], set[str]()
            for row in self._read[split]():
                if row.question.id in seen:
                    what = f"id {row.question.id!r} occurs twice"
                    raise UserError(f"task {self.name}, split {split}: {what}; make ids unique, or leave them out")
                seen.add(row.question.id)
                topics = tuple(dict.fromkeys(find(topic) or topic for topic in row.question.topic_entities))
                rows.append(row._replace(question=row.question.model_copy(update={"topic_entities": topics})))
            self._rows[split] = rows
        return self._rows[split]

    def questions(self, split: str) -> list[Question]:
        """The questions of a split in file order. Topics that the KB knows under another name are renamed to it."""
        return [row.question for row in self._items(split)]

    def gold(self, split: str) -> dict[str, Gold]:
        """Gold by question id. For `generate` after a trace is closed, and for `eval`; for nobody else."""
        return {row.question.id: row.gold for row in self._items(split) if row.gold is not None}

    def pick(self, split: str, limit: int | None = None, seed: int = 0) -> list[Question]:
        """A fixed subset: the first `limit` of a seeded shuffle, so a larger limit contains the smaller one."""
        if limit is not None and limit < 1:
            raise UserError(f"limit {limit} asks for no question; give a positive number or leave it out")
        questions = self.questions(split)
        random.Random(seed).shuffle(questions)
        return questions[:limit]

    def unresolved(self, split: str) -> dict[str, tuple[str, ...]]:
        """Question id -> its topic entities that the knowledge base does not hold (the questions are kept)."""
        kb = self.knowledge_base()
        missing = ((q.id, tuple(topic for topic in q.topic_entities if topic not in kb)) for q in self.questions(split))
        return {name: topics for name, topics in missing if topics}

    def knowledge_base(self) -> Graph:
        """The task's knowledge base, loaded once."""
        return self._knowledge_base

    @cached_property
    def _knowledge_base(self) -> Graph:
        if self.endpoint is not None:
            return SparqlKB(self.endpoint[0], dialect=self.endpoint[1])
        assert self.kb_path is not None
        return KnowledgeBase.load(self.kb_path, aliases=self.aliases_path)

    def hashes(self, split: str | None = None) -> dict[str, str]:
        """SHA-256 by file name of the KB, the aliases and the question files (of one split, or of all)."""
        chosen = [split] if split is not None else list(self._files)
        files = [file for file in (self.kb_path, self.aliases_path) if file is not None]
        files += [file for name in chosen for file in self._files.get(name, ())]
        return {f"{f.parent.name}/{f.name}": hashlib.sha256(f.read_bytes()).hexdigest() for f in dict.fromkeys(files)}


# ---- decontamination -----------------------------------------------------------------------------------------------


class Overlap(NamedTuple):
    """Ids of training questions to leave out, and of test questions to report apart."""

    train: frozenset[str]
    test: frozenset[str]


def id_root(question_id: str) -> str:
    """The question an id derives from: CWQ's `WebQTest-832_c33450…` is composed from WebQSP's `WebQTest-832`."""
    return re.sub(r"_[0-9a-f]{16,}$", "", question_id)


def find_overlaps(train: Iterable[Question], test: Iterable[Question]) -> Overlap:
    """Which questions of two sets share their normalised text or the root of their id."""
    train, test = list(train), list(test)

    def shared(questions: list[Question], others: list[Question]) -> frozenset[str]:
        texts = {normalize(other.question) for other in others}
        roots = {id_root(other.id) for other in others}
        return frozenset(q.id for q in questions if normalize(q.question) in texts or id_root(q.id) in roots)

    return Overlap(shared(train, test), shared(test, train))


# ---- where the files are -------------------------------------------------------------------------------------------


def load_task(name: str, *, data: Path | str | None = None, kb: Path | str | None = None) -> Task:
    """The task of a name, or of a path to the user's own JSONL file (which needs `kb`).

    `data` is the folder of the task's files, or a parent of it; `kb` replaces the task's knowledge base. For the user's
    own questions `kb` may be a SPARQL endpoint's address, or `wikidata`.
    """
    if isinstance(kb, str) and (kb == "wikidata" or kb.startswith(("http://", "https://"))):
        if not name.endswith((".jsonl", ".json")):
            raise UserError(
                f"--kb {kb}: task {name} brings its own KB; an endpoint is for your own .jsonl of questions"
            )
        return _own(Path(name).expanduser(), (WIKIDATA, "wikidata") if kb == "wikidata" else (kb, "rdf"))
    folder, kb_path = (Path(p).expanduser() if p is not None else None for p in (data, kb))
    for file in (folder, kb_path):
        if file is not None and not file.exists():
            raise UserError(f"{file}: no such file or folder; check --data and --kb")
    if match := re.fullmatch(r"(metaqa|pathquestion)(?:-([123])hop)?", name):
        return _hops(match[1], folder, kb_path, int(match[2]) if match[2] else None)
    if name == "geo":
        return _geo(folder, kb_path)
    if name in ("webqsp", "cwq"):
        return _freebase(name, folder, kb_path)
    if name.endswith((".jsonl", ".json")) or Path(name).is_file():
        return _own(Path(name).expanduser(), kb_path)
    close = difflib.get_close_matches(name.lower(), NAMES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UserError(f"unknown task {name!r}; {hint}known: {', '.join(NAMES)}, or a path to your own .jsonl with --kb")


def _locate(data: Path, marker: str, *subfolders: str) -> Path | None:
    """The folder that holds `marker` (a glob): `data` itself or one of its usual subfolders."""
    folders = (data / subfolder for subfolder in ("", *subfolders))
    return next((folder for folder in folders if any(folder.glob(marker))), None)


def _by_file(name: str, files: dict[str, Path], kb_path: Path, **options: Any) -> Task:
    """A task of one JSONL file a split."""
    read = {split: partial(read_file, file, split, f"{name}-{split}") for split, file in files.items()}
    return Task(name, kb_path=kb_path, read=read, files={s: (f,) for s, f in files.items()}, **options)


def _geo(data: Path | None, kb: Path | None) -> Task:
    folder = data or PACKAGE / "geo"
    files = {split: file for split in SPLITS if (file := folder / f"{split}.jsonl").is_file()}
    if not files or not (kb or folder / "kb.tsv").is_file():
        raise UserError(f"{folder}: holds no geo files (kb.tsv, train.jsonl, …); the packaged ones need no --data")
    aliases = folder / "aliases.tsv"
    options = {"aliases_path": aliases if aliases.is_file() else None, "licence": _LICENCES["geo"]}
    return _by_file("geo", files, kb or folder / "kb.tsv", max_hops=MAX_HOPS["geo"], **options)


def _freebase(name: str, data: Path | None, kb: Path | None) -> Task:
    """WebQSP or CWQ: fbmini's files where `data` has them, else RoG's data set (from `data` or from the hub)."""
    options: dict[str, Any] = {"max_hops": MAX_HOPS[name], "licence": _LICENCES[name]}
    folder = _locate(data, f"{name}_*.jsonl", "fbmini", "kbqa/fbmini") if data else None
    if folder is None:
        kb_path, files = prepare_rog(name, data)
        return _by_file(name, files, kb or kb_path, **options)
    parts: dict[str, tuple[Path, ...]] = {
        split: (file,) for split in SPLITS if (file := folder / f"{name}_{split}.jsonl").is_file()
    }
    kb_path = kb or folder / "kb.tsv"
    if not kb_path.is_file():
        raise UserError(f"{folder}: holds {name} questions but no kb.tsv; put it there or name one with --kb")
    read: dict[str, Callable[[], list[Row]]] = {
        split: partial(read_fbmini, files[0], split) for split, files in parts.items()
    }
    trained = folder / "webqsp_train.jsonl"
    if name == "cwq" and "dev" in parts and trained.is_file():  # most CWQ questions are composed from WebQSP's
        read["unseen"] = partial(_unseen, read["dev"], trained)
        parts["unseen"] = (*parts["dev"], trained)
    note = _FBMINI_NOTE.format("WebQSP" if name == "webqsp" else "CWQ")
    return Task(name, kb_path=kb_path, read=read, files=parts, note=note, **options)


def _unseen(read: Callable[[], list[Row]], trained: Path) -> list[Row]:
    """The questions that share neither text nor id root with WebQSP's training questions."""
    rows = read()
    known = find_overlaps([row.question for row in read_fbmini(trained, "train")], [row.question for row in rows]).test
    return [row for row in rows if row.question.id not in known]


def _hops(name: str, data: Path | None, kb: Path | None, hops: int | None) -> Task:
    """MetaQA or PathQuestion, all hops or one."""
    marker, need = {
        "metaqa": ("kb.txt", "kb.txt and 1-hop/qa_dev.txt"),
        "pathquestion": ("PQ-*H.txt", "PQ-2H.txt and 2H-kb.txt"),
    }[name]
    folder = _locate(data, marker, name, f"kbqa/{name}") if data else None
    if folder is None:
        raise UserError(f"task {name} needs its files: give --data DIR, a folder that holds {need} (it is {data})")
    chosen = (hops,) if hops else (1, 2, 3)
    title = f"{name}-{hops}hop" if hops else name
    read: Mapping[str, Callable[[], list[Row]]]
    if name == "metaqa":
        found = find_metaqa(folder, chosen)
        read = {split: partial(read_metaqa, parts, split) for split, parts in found.items()}
        files = {split: tuple(f for pair in parts.values() for f in pair if f) for split, parts in found.items()}
        kb_path = kb or folder / "kb.txt"
    else:
        pairs = {h: folder / f"PQ-{h}H.txt" for h in chosen if (folder / f"PQ-{h}H.txt").is_file()}
        read = {split: partial(read_pathquestion, pairs, split) for split in ("train", "dev", "test")}
        files = {split: tuple(pairs.values()) for split in read}
        kb_path = kb or merge_kb_files(folder / f"{h}H-kb.txt" for h in pairs)
    if not files or not all(files.values()):
        raise UserError(f"{folder}: holds no questions of task {title}; give a folder with {need}")
    return Task(title, kb_path=kb_path, read=read, files=files, max_hops=hops or 3, licence=_LICENCES[name])


def _own(file: Path, kb: Path | tuple[str, str] | None) -> Task:
    """The user's own questions: rows of `question` and `topic_entities`, with `answers`, `id` and `split` if known.

    They are searched as deep as the largest `hops` beside an answer; a row that does not tell it counts as 3.
    """
    if kb is None:
        raise UserError(
            f"{file}: your own questions need a knowledge base; "
            "add --kb FILE (head<TAB>relation<TAB>tail), or the URL of a SPARQL endpoint"
        )
    by_split = read_own(file)
    if not by_split:
        raise UserError(f"{file}: holds no question; write one JSON object a line")
    read = {split: partial(list[Row], rows) for split, rows in by_split.items()}
    golds = (row.gold for rows in by_split.values() for row in rows)
    max_hops = max((gold and gold.hops) or 3 for gold in golds)
    files = dict.fromkeys(by_split, (file,))
    if isinstance(kb, tuple):
        return Task(file.stem, kb_path=None, endpoint=kb, read=read, files=files, max_hops=max_hops)
    return Task(file.stem, kb_path=kb, read=read, files=files, max_hops=max_hops)
