"""One record per question and system: what was answered, what it is worth, and what it could have been worth.

`eval` writes them as JSON lines, `OUT/questions/SYSTEM.jsonl`. Each line is a line of a predictions file, so
`eval --predictions FILE` scores it again, with other matchers if need be. Nothing is run for that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkd.agents.survey import followed_label
from agentkd.answering import CLIPPED
from agentkd.errors import WorldError
from agentkd.eval.ceiling import Ceiling, Names, best_worth, mean_ceiling
from agentkd.eval.gold_proof import share_held
from agentkd.eval.metrics import MATCHERS, Scores, aggregate
from agentkd.proof import Proof
from agentkd.runs.disk import disk_error, write_atomically
from agentkd.stats import bootstrap_interval
from agentkd.tasks.question import Gold, Parse
from agentkd.trace import Trace

Record = dict[str, Any]


def make_record(
    trace: Trace, gold: Gold, matchers: Sequence[str], shown: Sequence[Names] | None, wide: Sequence[Names] | None
) -> Record:
    """Score one trace. `shown` and `wide` are the answers of the paths that retrieval offered, None without."""
    record: Record = {
        "id": trace.id,
        "question": trace.question,
        "prediction": "\n".join(trace.answers),
        "ground_truth": list(gold.answers),
        "topics": list(Proof.of(trace).topics),
        "path": followed_label(trace),
        "rung": trace.verdict.rung,
    }
    if gold.parses:
        record["parses"] = [_official(parse) for parse in gold.parses]
    if beyond := int(trace.provenance.get(CLIPPED, 0)) - len(trace.answers):
        record["unlisted"] = max(beyond, 0)
    if gold.proof:
        facts = ((fact.head, fact.relation, fact.tail) for fact in trace.triples)
        record["proof"] = {"facts": [list(fact) for fact in gold.proof], "held": share_held(gold.proof, facts)}
    record["scores"], record["ceiling"] = {}, {}
    for matcher in matchers:
        if (scores := score_record(record, matcher)) is None:
            continue
        record["scores"][matcher] = asdict(scores)
        if shown is not None:

            def worth(answers: Sequence[str], matcher: str = matcher) -> float | None:
                one = MATCHERS[matcher]("\n".join(answers), gold.answers, record.get("parses", ()))
                return None if one is None else one.f1

            best = best_worth(shown, worth)
            of_all = best_worth([*shown, *wide], worth) if wide is not None else None
            record["ceiling"][matcher] = Ceiling(best, of_all)._asdict()
    return record


def _official(parse: Parse) -> dict[str, Any]:
    """A parse as WebQSP's own file has it, as far as its script reads it."""
    pairs = zip(parse.answers, parse.arguments, strict=True)
    return {
        "AnnotatorComment": {
            "QuestionQuality": "Good" if parse.good else "Bad",
            "ParseQuality": "Complete" if parse.good else "Incomplete",
        },
        "Answers": [{"EntityName": name, "AnswerArgument": argument} for name, argument in pairs],
    }


def score_record(record: Mapping[str, Any], matcher: str) -> Scores | None:
    """Score a record's prediction with a matcher; None where the matcher skips the question.

    Wrong answers of which only the number is kept count as names that nothing has."""
    beyond = int(record.get("unlisted", 0))
    strangers = [chr(0xE000 + n // 6400) + chr(0xE000 + n % 6400) for n in range(beyond)]
    lines = [record["prediction"], *strangers] if record["prediction"] or not strangers else strangers
    return MATCHERS[matcher]("\n".join(lines), record["ground_truth"], record.get("parses") or ())


def summarise(records: Iterable[Record], matcher: str) -> dict[str, Any] | None:
    """The means of a matcher over the records that it does not skip, in percent; None if it skips all.

    With the interval of F1, the ceilings, and the share of the gold proofs that the evidence holds."""
    counted = [record for record in records if matcher in record["scores"]]
    if not counted:
        return None
    scores = [Scores(**record["scores"][matcher]) for record in counted]
    low, high = bootstrap_interval([one.f1 * 100 for one in scores])
    ceilings = {one["id"]: Ceiling(**(one.get("ceiling") or {}).get(matcher, {})) for one in counted}
    held = [record["proof"]["held"] for record in counted if record.get("proof")]
    return {
        "n": len(counted),
        **aggregate(scores),
        "f1_low": low,
        "f1_high": high,
        **mean_ceiling(ceilings),
        "proof": 100 * sum(held) / len(held) if held else None,
        "with_proof": len(held),
    }


def f1_by_id(records: Iterable[Record], matcher: str) -> dict[str, float]:
    """The F1 of each question that the matcher does not skip, in percent."""
    return {one["id"]: 100 * one["scores"][matcher]["f1"] for one in records if matcher in one["scores"]}


def write_records(folder: Path, name: str, records: Iterable[Record]) -> Path:
    """Write a system's records to `folder/name.jsonl`, whole or not at all."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from None
    if folder.is_symlink():
        raise WorldError(f"{folder} is a link: remove it and run the same command again")
    path = folder / f"{name}.jsonl"
    write_atomically(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def rescore(records: Iterable[Record], matchers: Sequence[str]) -> list[Record]:
    """The records with the scores of these matchers; ceilings stay where the file has those of the matcher."""
    fresh = []
    for record in records:
        scores = {matcher: asdict(one) for matcher in matchers if (one := score_record(record, matcher)) is not None}
        fresh.append({**record, "scores": scores})
    return fresh
