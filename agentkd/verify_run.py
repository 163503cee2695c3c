"""`agentkd verify`: the traces of a run through a ladder of verifiers, into a run of their own.

The originals stay as they are. A copy has one more step, with what the verifiers found and their verdict, which is also
the trace's own. The output of that step is the verdict that the trace had before, as JSON.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agentkd.answering import Job, work_off
from agentkd.config import VerifyConfig
from agentkd.doubts.review import FILE as REVIEW
from agentkd.errors import AgentkdError, UserError, WorldError
from agentkd.report.write import write_report
from agentkd.runs.disk import hash_file
from agentkd.runs.progress import say
from agentkd.runs.read import TAUGHT_FROM, is_complete, read_config, read_failures, read_traces
from agentkd.runs.shapes import OF_QUESTIONS
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import summarise_run
from agentkd.tasks.files import read_jsonl
from agentkd.tasks.items import is_own_agent
from agentkd.tasks.items import read_items as read_items_file
from agentkd.tasks.load import OPTIONS, reload_task
from agentkd.tasks.question import Question
from agentkd.teacher.chat import NoTeacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Step, Trace, Usage, content_hash
from agentkd.verifiers.functions import source_of
from agentkd.verifiers.ladder import Climb, Ladder
from agentkd.verifiers.llm_judge import LlmJudge, measure_judge
from agentkd.verifiers.names import parse_specs
from agentkd.verifiers.open import check_specs, open_ladder

STEP = "verify"  # the kind of the step that is added
Items = Mapping[str, dict[str, Any]]


def verify_run(config: VerifyConfig) -> dict[str, Any]:
    """Run the stage and return its metrics. Opening the same directory again goes on where it stopped."""
    source_path = Path(config.run)
    source = read_config(source_path, ("task",))
    if source.get("stage") not in TAUGHT_FROM:
        raise UserError(
            f"{source_path} is of stage {source.get('stage')!r}: give a run of traces, as generate writes it"
        )
    check_specs(config.verify)
    specs = parse_specs(config.verify)
    if config.labelled and not any(spec.kind.runs == "judge" for spec in specs):
        raise UserError(f"--labelled {config.labelled} measures a judge, and there is none: add --verify judge:MODEL")
    out = Path(config.out or f"{source_path}-verified")
    if out.resolve() == source_path.resolve():
        raise UserError(f"--out {out} is the run itself, whose traces stay as they are: choose another")
    config = config.model_copy(update={"verify": tuple(spec.text for spec in specs), "out": str(out)})
    traces = list(read_traces(source_path))
    if not traces:
        raise UserError(f"{source_path} has no trace to verify")
    if not is_complete(source_path):
        say(f"{source_path} is not complete: the traces that it has are verified; the same command verifies more later")
    if (source_path / REVIEW).exists():
        say(f"the review of {source_path} stays with it: the verifiers decide in {out}")
    say(f"{len(traces)} traces of {source_path} · {' → '.join(config.verify)} → {out}")
    items = find_items(config, source, traces)
    samples = max(trace.sample for trace in traces) + 1
    identity = {
        **{
            name: source.get(name)
            for name in (*OPTIONS.values(), *OF_QUESTIONS, "retriever", "hash_data")
            if name != "seed"
        },
        "samples": samples,
        **({"hash_items": hash_file(Path(config.items))} if config.items else {}),
        **{f"hash_{spec.argument}": source_of(spec.argument) for spec in specs if spec.kind.takes == "FUNCTION"},
    }
    with RunDirectory(out, "verify", config, identity) as run:
        missing = [trace for trace in traces if (trace.id, trace.sample) not in run.done]
        judged = asyncio.run(_verify(config, run, missing, items)) if missing or config.labelled else {}
        metrics = summarise_run(out, {trace.id for trace in traces}, samples)
        metrics |= {"failed": _count_failed(out), "unchecked": 0, "doubtful": 0, **judged}
        if left := sum((trace.id, trace.sample) not in run.done for trace in traces):
            errors = [row["error"] for row in read_failures(out) if row["retry"]]
            raise WorldError(
                f"{left} traces are not verified, last: {errors[-1] if errors else 'unknown'}; run the same command "
                "again to go on"
            )
        write_report(out, metrics=metrics)
        if not is_complete(out):
            run.finish(metrics)
    return {"out": str(out), **metrics}


async def _verify(config: VerifyConfig, run: RunDirectory, missing: Sequence[Trace], items: Items) -> dict[str, Any]:
    """Verify the traces that are missing, and measure the judge where there are labels."""
    options = TeacherOptions(max_tokens=config.max_tokens, max_usd=config.max_usd, slots=config.concurrency)
    async with open_ladder(
        config.verify,
        run=run.path,
        options=options,
        timeout=config.verify_timeout,
        concurrency=config.concurrency,
    ) as ladder:
        found = {"agreement": await _measure(ladder, Path(config.labelled))} if config.labelled else {}
        told = False

        async def climb(pair: tuple[Question, int]) -> tuple[Trace, Climb]:
            trace = cast(Trace, pair[0])  # `work_off` asks an item for its id alone
            return trace, await ladder.climb(items[trace.id], answer_of(trace))

        def finish(pair: tuple[Question, int], result: tuple[Trace, Climb]) -> tuple[Usage, bool]:
            nonlocal told
            trace, climbed = result
            if climbed.failed and not told:
                told = True
                say(f"{trace.id}: {climbed.failed}; such traces are not verified, and counted at the end")
            run.append(with_verdict(trace, climbed))
            return climbed.usage, climbed.verdict.ok

        pairs = [(cast(Question, trace), trace.sample) for trace in missing]
        job = Job(NoTeacher(), climb, finish)
        await work_off(run, pairs, job, label="verified", unit="verified", concurrency=config.concurrency)
    return found


async def _measure(ladder: Ladder, file: Path) -> dict[str, Any]:
    judge = next(rung for rung in ladder.rungs if isinstance(rung, LlmJudge))
    rows = [row for _, row in read_jsonl(file)]
    if not rows:
        raise UserError(f"--labelled {file} has no row: give question, prediction and label")
    agreement = await measure_judge(judge, rows)
    say(f"{judge.model.name}: {agreement.describe()}")
    return {"judge": judge.model.name, **agreement._asdict()}


def with_verdict(trace: Trace, climbed: Climb) -> Trace:
    """Copy a trace with the verdict of a ladder, and a step that says what was found, and the verdict before."""
    record = {"verdict_before": trace.verdict.model_dump(), **({"failed": climbed.failed} if climbed.failed else {})}
    output = json.dumps(record, ensure_ascii=False)
    step = Step(kind=STEP, output=output, evidence=climbed.evidence, verdict=climbed.verdict, reward=climbed.score)
    fields = {name: getattr(trace, name) for name in type(trace).model_fields if name != "hash"}
    fields |= {
        "steps": (*trace.steps, step),
        "verified": climbed.verdict.ok,
        "verdict": climbed.verdict,
        "usage": trace.usage + climbed.usage,
    }
    return Trace.close(**fields)


def answer_of(trace: Trace) -> str:
    """The answers of a trace, one per line; where it has none, what its model wrote last."""
    said = (step.output for step in reversed(trace.steps) if step.messages and step.output)
    return "\n".join(trace.answers) or next(said, "")


def find_items(config: VerifyConfig, source: Mapping[str, Any], traces: Sequence[Trace]) -> Items:
    """The item of each trace's question, by id: `id`, `question`, the answers of all its `samples`, and the fields of
    its row in `--items`, else the gold `answers` of the task. Raises UserError where no trace has a row."""
    samples: dict[str, list[str]] = defaultdict(list)
    for trace in traces:
        samples[trace.id].append(answer_of(trace))
    asked = {trace.id: trace.question for trace in traces}
    rows = read_items(Path(config.items), asked) if config.items else read_gold(source, asked)
    if config.items:
        if not rows:
            raise UserError(
                f"--items {config.items}: no row has the id or the question of a trace; see `id`, `question`"
            )
        if lost := len(asked) - len(rows):
            first = next(id_ for id_ in asked if id_ not in rows)
            say(f"--items has no row for {lost} of {len(asked)} questions (first: {first[:60]!r})")
    return {
        id_: {**rows.get(id_, {}), "id": id_, "question": question, "samples": samples[id_]}
        for id_, question in asked.items()
    }


def read_items(file: Path, asked: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The rows of a file by the ids of the questions that are asked: those of the same id, else of the same text."""
    by_text = {question: id_ for id_, question in asked.items()}
    found: dict[str, dict[str, Any]] = {}
    for _, row in read_jsonl(file):
        id_ = str(row.get("id")) if str(row.get("id")) in asked else by_text.get(str(row.get("question")))
        if id_ is not None:
            found.setdefault(id_, row)
    return found


def read_gold(source: Mapping[str, Any], asked: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The gold answers of the run's task, or the rows of the user's own items.

    None, and a line, where they have changed or cannot be read."""
    try:
        if is_own_agent(source.get("agent")):
            return read_rows(source, asked)
        task = reload_task(source)
        split = str(source.get("split"))
        if source.get("hash_data") not in (None, content_hash(task.hashes(split))):
            say(f"the files of {source['task']} have changed since: gold is not joined (--items FILE gives it)")
            return {}
        gold = task.gold(split)
    except (AgentkdError, OSError) as error:
        say(f"gold is not joined ({error}); --items FILE gives it")
        return {}
    return {id_: {"answers": list(gold[id_].answers)} for id_ in asked if id_ in gold}


def read_rows(source: Mapping[str, Any], asked: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows of the items that an agent of the user was asked. UserError where the file is not there any more."""
    items = [item for item in read_items_file(Path(str(source["task"]))) if item.split == source.get("split")]
    if source.get("hash_data") != content_hash([dict(item.row) for item in items]):
        say(f"{source['task']} has changed since: its rows are not joined (--items FILE does it)")
        return {}
    rows = {item.id: dict(item.row) for item in items}
    return {id_: rows[id_] for id_ in asked if id_ in rows}


def _count_failed(out: Path) -> int:
    """The traces of which a verifier raised or hung."""
    return sum("failed" in json.loads(trace.steps[-1].output) for trace in read_traces(out))


def describe_rungs(metrics: Mapping[str, Any]) -> list[str]:
    """The number of traces by the highest rung that they passed, a line each, the largest first."""
    return [f"{count:7,d}  {rung}" for rung, count in Counter(metrics["rungs"]).most_common()]
