"""The proof of answers from a knowledge base, which a verifier can execute again.

A trace carries it as its provenance, a JSON object of the fields that are set; `Proof.of` reads it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator

from agentkd.errors import UserError
from agentkd.retrievers.constraints import Constraint
from agentkd.retrievers.joins import Join
from agentkd.retrievers.relation_path import RelationPath
from agentkd.trace import Draft


class Derivation(NamedTuple):
    """A way to answers: from where the `joins` meet, or from the topics, along `path`.

    Of the ends only those that meet `constraint` are answers."""

    path: RelationPath = ()
    joins: tuple[Join, ...] = ()
    constraint: Constraint | None = None

    @classmethod
    def read(cls, row: Sequence[Any]) -> Derivation:
        """Read a derivation back from JSON, which has lists for tuples and may have null for empty."""
        path, joins, constraint = row
        return cls(_read_path(path) or (), _read_joins(joins), _read_constraint(constraint))


def _read_path(steps: Iterable[Sequence[object]] | None) -> RelationPath | None:
    if steps is None:
        return None
    return tuple((str(relation), 1 if direction == 1 else -1) for relation, direction in steps)


def _read_joins(ways: Iterable[Sequence[Any]] | None) -> tuple[Join, ...]:
    return tuple((str(topic), _read_path(way) or ()) for topic, way in ways or ())


def _read_constraint(value: Sequence[Any] | None) -> Constraint | None:
    return None if value is None else Constraint(str(value[0]), _read_path(value[1]) or (), str(value[2]))


def _read_all(rows: Iterable[Sequence[Any]] | None) -> tuple[Derivation, ...]:
    return tuple(map(Derivation.read, rows or ()))


class Proof(BaseModel):
    """A derivation out of `topics`, and the `others` whose answers are given together with its own.

    The remaining fields say how it was found. `in_kb`: whether the knowledge base holds the path that a student wrote.
    `rationalised`: gold has chosen the path. `second_choice`: the checks of kinds have (`agentkd/doubts`). `rounds` and
    `repairs` are KD-CoT's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: Annotated[RelationPath | None, PlainValidator(_read_path)] = None
    joins: Annotated[tuple[Join, ...], PlainValidator(_read_joins)] = ()
    constraint: Annotated[Constraint | None, PlainValidator(_read_constraint)] = None
    topics: Annotated[tuple[str, ...], BeforeValidator(lambda names: names or ())] = ()
    others: Annotated[tuple[Derivation, ...], PlainValidator(_read_all)] = ()
    rounds: int | None = None
    repairs: int | None = None
    in_kb: bool | None = None
    rationalised: bool = False
    second_choice: bool = False

    @classmethod
    def of(cls, draft: Draft) -> Proof:
        """Read the proof of a draft or trace. Fields that it lacks are empty. UserError for a record of another
        shape."""
        try:
            return cls.model_validate(draft.provenance)
        except (TypeError, ValueError, LookupError, RecursionError) as error:
            raise UserError(
                f"the trace of {str(getattr(draft, 'id', ''))[:80]!r} has no proof that can be read "
                f"({type(error).__name__}): remove its line, or generate again"
            ) from error

    def record(self) -> dict[str, Any]:
        """The fields that were set, for a trace's provenance."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    @property
    def first(self) -> Derivation:
        """Its own derivation; empty where the proof names neither a path nor joins."""
        return Derivation(self.path or (), self.joins, self.constraint)
