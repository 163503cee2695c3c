"""A knowledge base behind a SPARQL 1.1 endpoint, with the interface of one in memory.

Nothing is downloaded: paths are counted, followed and cited by queries, and answers are kept for the process's life.
A node's name is its label in one language; nodes of one name count as one, as in a file of names. Nodes without a label
are passed through and never an answer; literals are answers. A relation is a predicate's IRI.

Dialects: `rdf` takes every predicate but the label's own, and reads a relation's name from the end of its IRI;
`wikidata` takes the truthy statements (`wdt:`) and the properties' own labels, and knows `Q42` as a name.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agentkd.errors import UserError, WorldError
from agentkd.retrievers.kb import MAX_NODES
from agentkd.retrievers.lookup import Match
from agentkd.retrievers.relation_path import RelationPath, Triple, label_steps

WIKIDATA = "https://query.wikidata.org/sparql"
MAX_ENDS = 10_000  # names at the end of a path; one that leads to more is no answer
TIMEOUT = 60.0  # seconds; Wikidata stops a query then
RETRIES = 3
_LABEL = "<http://www.w3.org/2000/01/rdf-schema#label>"
_AGENT = "agentkd (knowledge base question answering)"


@dataclass(frozen=True)
class Dialect:
    """How an endpoint names relations and entities; `relation` limits the predicate in the variable it is given."""

    relation: str
    relation_label: str = ""
    item: str = ""


DIALECTS = {
    "rdf": Dialect(relation=f"FILTER({{0}} != {_LABEL})"),
    "wikidata": Dialect(
        relation='FILTER(STRSTARTS(STR({0}), "http://www.wikidata.org/prop/direct/P"))',
        relation_label="?property <http://wikiba.se/ontology#directClaim> ?relation . ?property",
        item="http://www.wikidata.org/entity/",
    ),
}


class SparqlKB:
    """A `Graph` behind an endpoint. Raises WorldError when it does not answer, UserError when it refuses."""

    def __init__(self, url: str, *, dialect: str = "rdf", language: str = "en") -> None:
        self.url, self.language, self.dialect = url, language, DIALECTS[dialect]
        # The content behind an endpoint may change and has no hash: its address stands for it.
        self.sha256 = hashlib.sha256(f"{url} {dialect} {language}".encode()).hexdigest()
        self._answers: dict[str, Any] = {}
        self._texts: dict[str, str] = {}

    # ---- names -------------------------------------------------------------------------------------------------

    def find(self, text: str) -> str | None:
        """The name itself if a node has it as its label, or the label of an item's id (`Q42`)."""
        if self.dialect.item and re.fullmatch(r"Q\d+", text):
            rows = self._select(f"SELECT ?name WHERE {{ {self._named(f'<{self.dialect.item}{text}>', '?name')} }}")
            return rows[0]["name"]["value"] if rows else None
        return text if self._nodes([text]) else None

    def match(self, text: str) -> Match | None:
        """Find as `find`: an endpoint compares labels letter by letter, so no match is loose."""
        name = self.find(text)
        return None if name is None else Match(name)

    def describe(self) -> list[str]:
        """Return the line that says what is asked."""
        return [f"{self.url}: a SPARQL endpoint, labels in {self.language!r}"]

    def cite(self, fact: Triple) -> str:
        """Return the source of a fact for its evidence."""
        return "kb"

    def __contains__(self, entity: object) -> bool:
        return isinstance(entity, str) and bool(self._nodes([entity]))

    def is_cvt(self, entity: str) -> bool:
        """Whether this names a node without a label: by its IRI, or as a blank node."""
        return entity.startswith("_:") or (entity.startswith("<") and entity.endswith(">"))

    def label(self, path: RelationPath) -> str:
        """Readable text of a path, as `KnowledgeBase.label`."""
        self._read_labels([relation for relation, _ in path])
        return " > ".join(f"{'inverse ' if sign < 0 else ''}{self._texts[relation]}" for relation, sign in path)

    def _read_labels(self, relations: Iterable[str]) -> None:
        missing = sorted({relation for relation in relations if relation not in self._texts})
        if missing and self.dialect.relation_label:
            values = " ".join(f"<{relation}>" for relation in missing)
            named = self._named(self.dialect.relation_label, "?name")
            rows = self._select(f"SELECT ?relation ?name WHERE {{ VALUES ?relation {{ {values} }} {named} }}")
            self._texts |= {row["relation"]["value"]: row["name"]["value"] for row in rows}
        for relation in missing:
            local = re.split(r"[/#]", relation.rstrip("/#"))[-1]
            self._texts.setdefault(relation, label_steps([urllib.parse.unquote(local)])[0])

    def _named(self, subject: str, name: str) -> str:
        tags = f'LANG({name}) = "{self.language}" || LANG({name}) = ""'
        return f"{subject} {_LABEL} {name} . FILTER({tags})"

    def _nodes(self, names: Iterable[str]) -> list[str]:
        """The IRIs of all nodes of these names, sorted."""
        labels = self._labels(names)
        if not labels:
            return []
        rows = self._select(f"SELECT DISTINCT ?node WHERE {{ VALUES ?label {{ {labels} }} ?node {_LABEL} ?label }}")
        return sorted(f"<{row['node']['value']}>" for row in rows if row["node"]["type"] == "uri")

    # ---- paths -------------------------------------------------------------------------------------------------

    def follow(self, starts: Iterable[str], path: RelationPath) -> list[str]:
        """Return all names at the end of a path, sorted, or none where there are more than MAX_ENDS."""
        nodes = self._nodes(starts)
        if not nodes or not path:
            return []
        end = f"?n{len(path)}"
        walk = self._walk(nodes, path)
        named = f"{self._name_of(end)} FILTER(BOUND(?name))"
        rows = self._select(f"SELECT DISTINCT ?name WHERE {{ {walk} {named} }} LIMIT {MAX_ENDS + 1}")
        return sorted({row["name"]["value"] for row in rows}) if len(rows) <= MAX_ENDS else []

    def evidence(self, starts: Iterable[str], path: RelationPath, ends: Collection[str] | None = None) -> list[Triple]:
        """Return the triples on the walks from the starts to `ends`, in the direction of the knowledge base."""
        names = list(starts)
        nodes = self._nodes(names)
        if not nodes or not path:
            return []
        wanted = None if ends is None else set(ends)
        labels = " ".join(f"OPTIONAL {{ {self._named(f'?n{hop}', f'?l{hop}')} }}" for hop in range(len(path) + 1))
        rows = self._select(f"SELECT DISTINCT * WHERE {{ {self._walk(nodes, path)} {labels} }} LIMIT {MAX_ENDS}")
        found: dict[Triple, None] = {}
        for row in rows:
            spelt = [_spelt(row[f"n{hop}"], row.get(f"l{hop}")) for hop in range(len(path) + 1)]
            if self.is_cvt(spelt[-1]) or (wanted is not None and spelt[-1] not in wanted):
                continue
            for (relation, sign), left, right in zip(path, spelt, spelt[1:], strict=False):
                found[(left, relation, right) if sign > 0 else (right, relation, left)] = None
        return list(found)

    def has(self, head: str, relation: str, tail: str) -> bool:
        """Whether the endpoint holds this triple, both ends by name. A blank node cannot be asked for by its name: any
        blank node in its place will do."""
        start = f"VALUES ?label_h {{ {self._labels([head])} }} ?h {_LABEL} ?label_h ."
        end = f"{self._name_of('?t')} FILTER(?name = {_quoted(tail)})"
        if self.is_cvt(head):
            start = "" if head.startswith("_:") else f"VALUES ?h {{ <{_iri(head[1:-1])}> }}"
        if self.is_cvt(tail):
            end = "FILTER(isBlank(?t))" if tail.startswith("_:") else f"FILTER(?t = <{_iri(tail[1:-1])}>)"
        blank = "FILTER(isBlank(?h))" if head.startswith("_:") else ""
        return self._ask(f"ASK {{ {start} ?h <{_iri(relation)}> ?t . {blank} {end} }}")

    def relation_paths(
        self, topics: Iterable[str], max_hops: int, *, max_nodes: int = MAX_NODES
    ) -> dict[RelationPath, int]:
        """Return all relation paths of 1 to `max_hops` edges out of the topics, with their number of endpoint names.

        A path that reaches more than `max_nodes` nodes is listed but not extended, as in memory. After the second hop
        a step straight back is never taken (in memory it is, where it leads to a new node)."""
        nodes = self._nodes(topics)
        found: dict[RelationPath, int] = {}
        level: list[RelationPath] = [()] if nodes else []
        for hop in range(1, max_hops + 1):
            reached = [
                item for signs in itertools.product((1, -1), repeat=hop) for item in self._count(nodes, level, signs)
            ]
            reached = [item for item in reached if hop < 3 or not _turns(item[0])]
            found |= {path: names for path, _, names in reached if names}
            level = [path for path, count, _ in reached if count <= max_nodes]
        return dict(sorted(found.items()))

    def _count(
        self, nodes: Sequence[str], level: Sequence[RelationPath], signs: Sequence[int]
    ) -> list[tuple[RelationPath, int, int]]:
        """(path, nodes, names) of all paths that extend those of a level by one step, in the given directions."""
        hop = len(signs)
        before = [
            [relation for relation, _ in path] for path in level if [sign for _, sign in path] == list(signs[:-1])
        ]
        if not before:
            return []
        variables = [f"?p{n}" for n in range(1, hop + 1)]
        known = " ".join(f"({' '.join(f'<{relation}>' for relation in row)})" for row in before)
        values = f"VALUES ({' '.join(variables[:-1])}) {{ {known} }}" if hop > 1 else ""
        walk = self._walk(
            nodes, [(variable, sign) for variable, sign in zip(variables, signs, strict=True)], bound=False
        )
        named = self._name_of(f"?n{hop}")
        limited = self.dialect.relation.format(variables[-1])
        counts = f"(COUNT(DISTINCT ?n{hop}) AS ?nodes) (COUNT(DISTINCT ?name) AS ?names)"
        group = " ".join(variables)
        rows = self._select(f"SELECT {group} {counts} WHERE {{ {values} {walk} {limited} {named} }} GROUP BY {group}")
        return [
            (
                tuple((row[f"p{n}"]["value"], sign) for n, sign in enumerate(signs, start=1)),
                int(row["nodes"]["value"]),
                int(row["names"]["value"]),
            )
            for row in rows
            if "p1" in row
        ]

    def _walk(self, nodes: Sequence[str], path: Sequence[tuple[str, int]], *, bound: bool = True) -> str:
        """The pattern of a walk ?n0 … ?nk out of the nodes, which it may not come back to after the first hop."""
        parts = [f"VALUES ?n0 {{ {' '.join(nodes)} }}"]
        for hop, (relation, sign) in enumerate(path, start=1):
            left, right = f"?n{hop - 1}", f"?n{hop}"
            predicate = f"<{_iri(relation)}>" if bound else relation
            parts.append(f"{left} {predicate} {right} ." if sign > 0 else f"{right} {predicate} {left} .")
            if hop > 1:
                parts.append(f"FILTER({right} NOT IN ({', '.join(nodes)}))")
        return " ".join(parts)

    def _name_of(self, node: str) -> str:
        """Binds ?name to a node's label or to a literal's text, to nothing where there is neither."""
        labelled = f"OPTIONAL {{ {self._named(node, '?label')} }}"
        return f"{labelled} BIND(IF(isLiteral({node}), STR({node}), STR(?label)) AS ?name)"

    def _labels(self, names: Iterable[str]) -> str:
        return " ".join(f"{_quoted(name)}{tag}" for name in sorted(set(names)) for tag in (f"@{self.language}", ""))

    # ---- the endpoint ------------------------------------------------------------------------------------------

    def _select(self, query: str) -> list[dict[str, Any]]:
        return list(self._query(query)["results"]["bindings"])

    def _ask(self, query: str) -> bool:
        return bool(self._query(query)["boolean"])

    def _query(self, query: str) -> Any:
        if query not in self._answers:
            self._answers[query] = self._send(query)
        return self._answers[query]

    def _send(self, query: str) -> Any:
        body = urllib.parse.urlencode({"query": query}).encode()
        headers = {"Accept": "application/sparql-results+json", "User-Agent": _AGENT}
        last = ""
        for attempt in range(RETRIES + 1):
            try:
                request = urllib.request.Request(self.url, data=body, headers=headers)
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                last = f"{error.code} {error.read(200).decode(errors='replace').strip()}".split("\n")[0]
                if error.code < 500 and error.code != 429:
                    raise UserError(f"{self.url} refuses a query ({last}): is it a SPARQL 1.1 endpoint?") from None
            except (OSError, ValueError, http.client.HTTPException) as error:
                last = str(error)
            if attempt < RETRIES:
                time.sleep(0.5 * 2**attempt)
        raise WorldError(f"{self.url} failed {RETRIES + 1} times, last: {last}; is the endpoint up?")


def _turns(path: RelationPath) -> bool:
    """Whether the last step goes straight back."""
    (before, there), (last, back) = path[-2:]
    return before == last and there == -back


def _quoted(text: str) -> str:
    """A SPARQL string literal: JSON's escapes are among SPARQL's, but for those of other planes, which need none."""
    return json.dumps(text, ensure_ascii=False)


def _iri(text: str) -> str:
    """An IRI that cannot end its brackets. Raises UserError."""
    if re.search(r'[\s<>"{}|\\^`]', text):
        raise UserError(f"{text[:80]!r} is no IRI: relations of a SPARQL endpoint are IRIs")
    return text


def _spelt(node: dict[str, str], label: dict[str, str] | None) -> str:
    if label is not None:
        return label["value"]
    return {"uri": f"<{node['value']}>", "bnode": f"_:{node['value']}"}.get(node["type"], node["value"])
