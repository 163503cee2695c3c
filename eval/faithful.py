"""Checker of whether an answer is in the knowledge base; it shares only the spelling rule (`matching`) with agents.

It reads the raw KB file itself (`raw_kb.py`) and imports neither the retrievers nor the verifier, so that a bug there
cannot vouch for itself. The figure is the *faithful ratio* of GCR (arXiv 2410.13080, figure 5): the share of correct
answers that have a path in the KB.

A found chain proves that each of its triples is in the raw file, in the direction it was cited (either one where the
file says the direction is unknown), and that they join one of the question's topics to the answer.

It does not prove that the chain means what the question asks (a path through a hub such as a gender or a
country joins nearly anything), that the walk follows the relations' directions, that the set of answers is complete,
that the model used the chain, or that two things of one name are one thing (a KB without ids merges them).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from agentkd.errors import UserError
from agentkd.eval.raw_kb import Triple, read_raw
from agentkd.matching import clean_name, strict_key

Record = tuple[Sequence[str], Sequence[str], Sequence[Triple]]  # topics, correct answers, evidence


class RawKB:
    """The triples of one KB file, compared by clean names; built by `load`."""

    def __init__(self, triples: Iterable[Triple], undirected: Iterable[Triple] = ()) -> None:
        self._undirected = frozenset(undirected)
        self._triples = frozenset(triples) | self._undirected

    @classmethod
    def load(cls, path: str | Path, *, columns: str | None = None) -> Self:
        """Read a knowledge base's file or folder with the checker's own readers (`raw_kb.py`).

        A provenance that ends in `;undirected` says that the triple's direction is unknown. `columns` are those of
        `--kb-columns`. Errors: `UserError` with file and line.
        """
        triples, undirected = read_raw(Path(path), columns)
        if not triples:
            raise UserError(f"no triples in KB {str(path)!r} (0 lines): write one triple a line, separated by tabs")
        return cls(triples, undirected)

    def __len__(self) -> int:
        return len(self._triples)

    @property
    def triples(self) -> frozenset[Triple]:
        """All triples, with clean names."""
        return self._triples

    def has(self, head: str, relation: str, tail: str) -> bool:
        """Whether the file has this triple, by clean names (either way round if its direction is unknown)."""
        return self._stored((head, relation, tail)) is not None

    def _stored(self, cited: Triple) -> Triple | None:
        """The triple as the file has it; one form for both ways of citing an undirected one."""
        cited = clean_name(cited[0]), clean_name(cited[1]), clean_name(cited[2])
        if cited in self._triples:
            return cited
        turned = (cited[2], cited[1], cited[0])
        return turned if turned in self._undirected else None

    def chain_exists(self, evidence: Sequence[Triple], topics: Sequence[str], answer: str) -> bool:
        """Whether triples that the file has join one of the topics to the answer.

        A triple that the file does not have is passed over, so it breaks each chain that needs it. Topics and answer
        are found by `strict_key`, as models spell them their own way. Two triples meet only in a node of exactly the
        same name: normalised, "25.0" and "250", or the film "War" and the tag "war", would be one bridge. A triple can
        be walked either way but only once, so an answer that is itself the topic needs a cycle, or a triple from it
        to itself: the way there and back over one triple proves nothing.
        """
        edges = {stored for cited in evidence if (stored := self._stored(cited))}
        nodes = {name for head, _, tail in edges for name in (head, tail)}
        starts, ends = _named(nodes, topics), _named(nodes, [answer])
        if any(_reachable(edges, start) & (ends - {start}) for start in starts):
            return True
        cycled = [edge for edge in edges if {edge[0], edge[2]} & starts & ends]
        return any(edge[2] in _reachable(edges - {edge}, edge[0]) for edge in cycled)

    def faithful_ratio(self, records: Iterable[Record]) -> float | None:
        """The share (0..1) of all correct answers whose chain is found; `None` if there is no correct answer.

        A record is one question: its topics, its correct answers (`agentkd.matching.strict_hits` of the predicted
        ones and gold; a name given twice counts once), and the triples that the trace cites. Answers are pooled over
        all questions, so a question with many weighs more.
        """
        found = total = 0
        for topics, correct_answers, evidence in records:
            answers = {key: name for name in correct_answers if (key := strict_key(name))}
            total += len(answers)
            found += sum(self.chain_exists(evidence, topics, name) for name in answers.values())
        return found / total if total else None


def _named(nodes: Iterable[str], names: Sequence[str]) -> set[str]:
    keys = {key for name in names if (key := strict_key(name))}
    return {node for node in nodes if strict_key(node) in keys}


def _reachable(edges: Iterable[Triple], start: str) -> set[str]:
    """The nodes that a walk over the edges, in either direction, reaches from `start`, itself included."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for head, _, tail in edges:
        neighbours[head].add(tail)
        neighbours[tail].add(head)
    seen, frontier = {start}, [start]
    while frontier:
        new = neighbours[frontier.pop()] - seen
        seen |= new
        frontier.extend(new)
    return seen
