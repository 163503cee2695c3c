"""A task: its questions by split, their gold apart, and its knowledge base.

Gold is kept apart: a `Question` has no field for an answer or for the way to it. Raises UserError for wrong input.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from agentkd.errors import UserError, did_you_mean
from agentkd.retrievers.graph import Graph
from agentkd.retrievers.kb import KnowledgeBase
from agentkd.retrievers.kb_index import hash_file
from agentkd.retrievers.sparql import SparqlKB
from agentkd.tasks.question import Gold, Question, Row

SPLITS = ("train", "dev", "validation", "test", "all")
OWN_DATA = "the user's own data"


@dataclass(frozen=True)
class TaskSource:
    """The sources of a task's questions and of its knowledge base.

    `read` gives the rows of each split, `files` are what is hashed. The knowledge base is a file, with aliases or
    without, or `endpoint`: a SPARQL address with its dialect.
    """

    read: Mapping[str, Callable[[], list[Row]]]
    files: Mapping[str, tuple[Path, ...]]
    kb_path: Path | None
    aliases_path: Path | None = None
    columns: str | None = None
    endpoint: tuple[str, str] | None = None


class Task:
    """Questions, gold and knowledge base of one task; everything is read at first use.

    `max_hops` is the depth (in edges) to search at; `licence` and `note` belong next to any score.
    """

    def __init__(
        self, name: str, source: TaskSource, *, max_hops: int, licence: str = OWN_DATA, note: str = ""
    ) -> None:
        self.name, self.source, self.max_hops, self.licence, self.note = name, source, max_hops, licence, note
        self.kb_path, self.aliases_path = source.kb_path, source.aliases_path
        self._rows: dict[str, list[Row]] = {}
        self._loose: dict[str, dict[str, dict[str, str]]] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """The existing splits, in the order train, dev, validation, test, then others."""
        rank = {split: place for place, split in enumerate(SPLITS)}
        return tuple(sorted(self.source.read, key=lambda split: (rank.get(split, len(rank)), split)))

    def default_split(self, purpose: Literal["generate", "eval"]) -> str:
        """Return `train` to generate traces, `test` or else `dev` to evaluate; `all` for a file without splits."""
        wanted = ("train", "all") if purpose == "generate" else ("test", "dev", "validation", "all")
        for split in wanted:
            if split in self.source.read:
                return split
        have = ", ".join(self.splits)
        raise UserError(f"task {self.name} has no split {wanted[0]!r} here (it has: {have}); name one with --split")

    def _items(self, split: str) -> list[Row]:
        if split not in self.source.read:
            near, have = did_you_mean(split, self.splits) or ";", ", ".join(self.splits)
            raise UserError(f"task {self.name} has no split '{split}'{near} choose one of: {have}")
        if split not in self._rows:
            rows, seen = [], set[str]()
            loose: dict[str, dict[str, str]] = {}
            for row in self.source.read[split]():
                if row.question.id in seen:
                    what = f"id {row.question.id!r} occurs twice"
                    raise UserError(f"task {self.name}, split {split}: {what}; make ids unique, or leave them out")
                seen.add(row.question.id)
                topics, other = self._find_topics(row.question.topic_entities)
                if other:
                    loose[row.question.id] = other
                question = row.question.model_copy(update={"topic_entities": topics})
                rows.append(row._replace(question=question, gold=self._find_gold(row.gold)))
            self._rows[split], self._loose[split] = rows, loose
        return self._rows[split]

    def _find_topics(self, texts: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
        """The topics as the knowledge base names them, and which texts are read as another spelling of a name."""
        found = {text: self.knowledge_base().match(text) for text in texts}
        topics = dict.fromkeys(match.name if match else text for text, match in found.items())
        return tuple(topics), {text: match.name for text, match in found.items() if match and match.loose}

    def _find_gold(self, gold: Gold | None) -> Gold | None:
        """Gold with the names of entities where it states their aliases; other spellings are left to the matchers."""
        kb = self.knowledge_base()
        if gold is None or not isinstance(kb, KnowledgeBase) or all(map(kb.lookup.answers, gold.answers)):
            return gold
        answers = [text if kb.lookup.answers(text) else kb.find(text) or text for text in gold.answers]
        return gold.model_copy(update={"answers": tuple(dict.fromkeys(answers))})

    def questions(self, split: str) -> list[Question]:
        """Return the questions of a split in file order; topics have the names of the knowledge base."""
        return [row.question for row in self._items(split)]

    def gold(self, split: str) -> dict[str, Gold]:
        """Return gold by question id, for `eval`, and for `generate` after a draft is judged.

        The one exception is `rationalise=true`, whose agent sees gold and whose traces say so."""
        return {row.question.id: row.gold for row in self._items(split) if row.gold is not None}

    def pick(self, split: str, limit: int | None = None, seed: int = 0) -> list[Question]:
        """Return the first `limit` questions of a seeded shuffle, so that a larger limit contains a smaller one."""
        if limit is not None and limit < 1:
            raise UserError(f"limit {limit} asks for no question; give a positive number or leave it out")
        questions = self.questions(split)
        random.Random(seed).shuffle(questions)
        return questions[:limit]

    def read_loosely(self, split: str) -> dict[str, dict[str, str]]:
        """Return, by question id, the topics that stand for a name that is spelt otherwise, and the name."""
        self._items(split)
        return self._loose[split]

    def unresolved(self, split: str) -> dict[str, tuple[str, ...]]:
        """Return, by question id, the topic entities that the knowledge base lacks; the questions are kept."""
        kb = self.knowledge_base()
        missing = ((q.id, tuple(topic for topic in q.topic_entities if topic not in kb)) for q in self.questions(split))
        return {name: topics for name, topics in missing if topics}

    def knowledge_base(self) -> Graph:
        """Return the task's knowledge base, loaded once."""
        return self._knowledge_base

    @cached_property
    def _knowledge_base(self) -> Graph:
        if self.source.endpoint is not None:
            url, dialect = self.source.endpoint
            return SparqlKB(url, dialect=dialect)
        assert self.kb_path is not None
        return KnowledgeBase.load(self.kb_path, aliases=self.aliases_path, columns=self.source.columns)

    def hashes(self, split: str | None = None) -> dict[str, str]:
        """Return the SHA-256 by file name of the KB, the aliases and the question files (of one split, or of all)."""
        chosen = [split] if split is not None else list(self.source.files)
        files = [file for file in (self.kb_path, self.aliases_path) if file is not None]
        files += [file for name in chosen for file in self.source.files.get(name, ())]
        return {f"{file.parent.name}/{file.name}": hash_file(file) for file in dict.fromkeys(files)}
