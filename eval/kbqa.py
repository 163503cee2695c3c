"""Evaluate agents and students on held-out questions: answers, scores with intervals, and paired differences.

Every system (an agent with a teacher, or a student in its form) answers into a run directory of its own under `--out`.
So answers are made once, can be resumed, and are only read afterwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.survey import read_survey
from agentkd.answering import check_names, close_run, collect_traces, derive_config, list_outstanding
from agentkd.config import EvalConfig, GenerateConfig, slug, task_label
from agentkd.distill.data.taught import read_lessons
from agentkd.distill.publish.card import add_results, find_untrained
from agentkd.distill.publish.table_row import remember_score
from agentkd.errors import UserError, WorldError, unknown_name
from agentkd.eval.ceiling import count_ceiling, shown_answers, wide_answers
from agentkd.eval.faithful import RawKB
from agentkd.eval.inspect_log import check_inspect, write_log
from agentkd.eval.metrics import MATCHERS, read_predictions
from agentkd.eval.records import Record, f1_by_id, make_record, rescore, summarise, write_records
from agentkd.eval.systems import System, check_baseline, inherit_task, list_systems, split_list
from agentkd.inference.in_process import BATCH, open_in_process
from agentkd.interchange.emit import emit_spans
from agentkd.matching import strict_hits
from agentkd.proof import Proof
from agentkd.report.write import write_report
from agentkd.runs.disk import write_atomically
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.runs.untrusted import refuse_links
from agentkd.stats import paired_difference
from agentkd.tasks.coverage import check_coverage
from agentkd.tasks.tool_task import check_task_agents
from agentkd.teacher.open import open_teacher
from agentkd.teacher.options import TeacherOptions
from agentkd.trace import Trace, Usage
from agentkd.world import TaskWorld

if TYPE_CHECKING:
    from agentkd.tasks.question import Gold, Question
    from agentkd.teacher.chat import Chat


QUESTIONS = "questions"  # the folder of the records


def evaluate(config: EvalConfig) -> dict[str, Any]:
    """Run the stage and return what `--json` prints."""
    if config.predictions:
        return evaluate_predictions(config)
    if config.batch:
        raise UserError(f"batch={config.batch} is for generate: eval asks its teachers directly")
    if config.shard:
        raise UserError(f"shard={config.shard} is for generate: an evaluation has one table of all questions")
    matchers = choose_matchers(config.matchers)
    if config.inspect_log:
        check_inspect()
    config = inherit_task(config)
    world = TaskWorld.load(config)
    for line in world.kb.describe():
        say(line)
    task = world.task
    default_out = f"runs/{slug(task_label(config.task))}-eval"
    config = derive_config(
        config, split=config.split or task.default_split("eval"), out=default_out, hops=task.max_hops
    )
    world = replace(world, config=config)
    questions = task.pick(str(config.split), config.limit, config.seed)
    if not questions:
        raise UserError(f"task {task.name} has no question in split '{config.split}': choose another --split")
    out = Path(str(config.out))
    if out.is_dir():
        refuse_links(out)
    entries = list_systems(config, world.tool)
    check_task_agents(task, [system.agent for system in entries])
    check_names(config, [s.agent for s in entries], [s.model for s in entries if s.served])
    check_baseline(config.baseline, [system.name for system in entries])
    say(f"{task.name} · {config.split} · {len(questions)} questions · {', '.join(s.name for s in entries)} → {out}")
    search = f"retriever {config.retriever}, {config.paths or '5 (path-writer: 12)'} paths of ≤ {config.hops} hops · "
    search = "" if world.tool else search
    say(f"{search}temperature {config.temperature} · {config.concurrency} in flight · seed {config.seed}")
    if task.note:
        say(task.note)
    from_memory = all(system.agent == "cot" for system in entries)
    coverage = check_coverage(task, str(config.split), questions, verify=False, topics=not from_memory)
    for line in coverage.lines:
        say(line)
    traces = {system.name: answer_questions(world, system, questions, out) for system in entries}
    untrained = list_untrained(entries)
    baseline = config.baseline or next(iter(untrained.values()), None)
    ceiling = count_ceiling(world, config.ceiling)
    records = make_records(world, questions, traces, matchers, ceiling)
    for system in entries:
        write_records(out / QUESTIONS, system.folder, records[system.name])
        if config.inspect_log:
            log = Path(config.inspect_log) / f"{system.folder}.eval"
            write_log(log, task.name, system.name, records[system.name], traces[system.name], matchers)
            say(f"wrote {log}, for: inspect view --log-dir {config.inspect_log}")
    report = build_report(world, questions, traces, records, matchers, baseline, untrained)
    read_by = {system.name: system.describe_reading(config, task.max_hops) for system in entries}
    report["rows"] = [{**row, "read_by": read_by[row["name"]]} for row in report["rows"]]
    report |= {"coverage": coverage.record(), "out": str(out), "ceiling": ceiling}
    write_atomically(out / "metrics.json", json.dumps(report, indent=1) + "\n")
    write_results_in_cards(entries, report, config.seed)
    gold = task.gold(str(config.split))
    write_report(out, gold={question.id: gold[question.id].answers for question in questions if question.id in gold})
    return report


def write_results_in_cards(entries: Sequence[System], report: Mapping[str, Any], seed: int) -> None:
    """Write the rows of each student that `distill` made into its model card.

    A card that cannot be written costs no results.
    """
    names: dict[Path, list[str]] = {}
    for system in entries:
        if (folder := system.student) is not None:
            names.setdefault(folder, []).append(system.name)
    for folder, some in names.items():
        try:
            add_results(folder, report, some, seed)
        except (OSError, WorldError) as error:
            say(f"the card of {folder} does not have these results: {error}")
        scores = [row["f1"] for row in report["rows"] if row["name"] in some and row["matcher"] == "strict"]
        if scores:
            remember_score(folder, scores[0])


def list_untrained(entries: Sequence[System]) -> dict[str, str]:
    """Pair each student's name with that of the model that it was before training, where both are evaluated."""
    named = {(system.name, system.agent) for system in entries}
    students = ((system, find_untrained(system.student)) for system in entries if system.student is not None)
    return {one.name: before for one, before in students if (before, one.agent) in named and before != one.name}


def choose_matchers(text: str) -> list[str]:
    """Split a list of matchers. Raises UserError for an unknown one."""
    names = split_list(text)
    unknown = [name for name in names if name not in MATCHERS]
    if unknown or not names:
        raise unknown_name("matcher", (unknown or [text])[0], MATCHERS)
    return names


def answer_questions(world: TaskWorld, system: System, questions: Sequence[Question], out: Path) -> dict[str, Trace]:
    """Return a system's traces by question id, from its run directory; missing ones are made first."""
    shared = {name: getattr(world.config, name) for name in GenerateConfig.model_fields}
    shared |= {"agent": system.agent, "teacher": system.model, "samples": 1, "out": str(out / system.folder)}
    config = GenerateConfig.model_validate(shared)
    identity = {**world.identity, "hash_weights": system.identity}
    path = out / system.folder
    with RunDirectory(path, "answers", config, identity) as run, emit_spans(config, path):
        missing = list_outstanding(questions, 1, run)
        if missing:
            asyncio.run(_answer(world, run, system, missing))
        if not is_complete(path) or missing:
            close_run(run, {"questions": len(questions)}, missing=len(list_outstanding(questions, 1, run)))
    return {trace.id: trace for trace in read_traces(path) if trace.sample == 0}


async def _answer(world: TaskWorld, run: RunDirectory, system: System, missing: Sequence[tuple[Question, int]]) -> None:
    config = world.config
    model: AbstractAsyncContextManager[Chat]
    concurrency = config.concurrency or 1
    if system.served:
        model = open_teacher(
            system.model, run=run.path, options=TeacherOptions.from_config(config, slots=concurrency), say=say
        )
    else:
        say(f"loading {system.model}")
        model = open_in_process(system.model, name=system.name, run=run.path, trust=system.trust)
        concurrency = 2 * BATCH  # one batch answers while the next gathers
    async with model as chat:
        lessons = read_lessons(system.student) if system.student else []
        agent = world.agent(system.agent, chat, lessons)
        await collect_traces(world, run, agent, chat, missing, label=system.name, concurrency=concurrency)


def build_report(
    world: TaskWorld,
    questions: Sequence[Question],
    traces: Mapping[str, Mapping[str, Trace]],
    records: Mapping[str, Sequence[Record]],
    matchers: Sequence[str],
    baseline: str | None,
    untrained: Mapping[str, str],
) -> dict[str, Any]:
    """Return rows of scores and paired differences.

    A question whose sample failed for good has no answer, right or wrong: it is counted as missing, and not scored."""
    gold = world.task.gold(str(world.config.split))
    asked = sum(question.id in gold for question in questions)
    raw_kb = None  # an endpoint has no raw file
    if world.task.kb_path is not None:
        raw_kb = RawKB.load(world.task.kb_path, columns=world.task.source.columns)
    rows: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for name, own in records.items():
        found = [traces[name][record["id"]] for record in own]
        if missing := asked - len(found):
            say(f"{name} has no answer to {missing} of {asked} questions, which are not scored")
        cost = average_costs(found, len(found))
        faithful = (
            None
            if raw_kb is None
            else raw_kb.faithful_ratio(
                (
                    list(Proof.of(trace).topics),
                    strict_hits(trace.answers, gold[trace.id].answers),
                    [(fact.head, fact.relation, fact.tail) for fact in trace.triples],
                )
                for trace in found
            )
        )
        groups += score_groups(name, matchers[0], own, gold)
        for matcher in matchers:
            if (means := summarise(own, matcher)) is None:  # the official script skips some
                continue
            row = {"name": name, "matcher": matcher, **means, "missing": missing}
            row |= {"in_kb": percent_in_kb(found), "faithful": None if faithful is None else faithful * 100, **cost}
            rows.append(row)
    f1 = {(name, matcher): f1_by_id(own, matcher) for name, own in records.items() for matcher in matchers}
    return {
        "task": world.task.name,
        "split": world.config.split,
        "n": asked,
        "note": world.task.note,
        "rows": rows,
        "groups": groups,
        "differences": compare_with_baseline(f1, list(records), matchers, baseline),
        "below_untrained": list_below(f1, matchers[0], untrained),
    }


def make_records(
    world: TaskWorld,
    questions: Sequence[Question],
    traces: Mapping[str, Mapping[str, Trace]],
    matchers: Sequence[str],
    ceiling: int,
) -> dict[str, list[Record]]:
    """Return each system's records of the questions that it has answered and that have gold, in their order.

    `ceiling` is the number of paths for the wide ceiling, 0 for no ceilings."""
    gold = world.task.gold(str(world.config.split))
    asked = [question for question in questions if question.id in gold]
    if not asked:
        raise UserError(f"no question of {world.task.name} has gold answers: nothing can be scored")
    for name, by_id in traces.items():
        if not any(question.id in by_id for question in asked):
            raise WorldError(f"{name} has no answer to any of {len(asked)} questions: nothing can be scored")
    surveyed = any(read_survey(trace) for by_id in traces.values() for trace in by_id.values())
    wide = dict(wide_answers(world, asked, ceiling)) if ceiling and surveyed else {}
    return {
        name: [
            make_record(
                by_id[question.id],
                gold[question.id],
                matchers,
                shown_answers(world.kb, by_id[question.id]) if ceiling else None,
                wide.get(question.id),
            )
            for question in asked
            if question.id in by_id
        ]
        for name, by_id in traces.items()
    }


GROUPS = 12  # kinds at most: some tasks have a type for each relation path


def score_groups(name: str, matcher: str, records: Sequence[Record], gold: Mapping[str, Gold]) -> list[dict[str, Any]]:
    """Return one system's scores by hops and by type of question, where the task has several of them."""
    found = []
    for kind in ("hops", "type"):
        members: dict[Any, list[Record]] = {}
        for record in records:
            if (value := getattr(gold[record["id"]], kind)) is not None:
                members.setdefault(value, []).append(record)
        if 1 < len(members) <= GROUPS:
            for value, some in sorted(members.items()):
                if (means := summarise(some, matcher)) is not None:
                    label = f"{value} hops" if kind == "hops" else str(value)
                    found.append({"name": name, "matcher": matcher, "group": label, **means})
    return found


def average_costs(traces: Sequence[Trace], asked: int) -> dict[str, float]:
    """Return calls, tokens and seconds per question; seconds are the model's, waiting in its queue included."""
    usage = Usage.total(trace.usage for trace in traces)
    return {"calls": usage.calls / asked, "tokens": usage.tokens / asked, "seconds": usage.seconds / asked}


def percent_in_kb(traces: Sequence[Trace]) -> float | None:
    """Return the percentage of written paths that the knowledge base holds; None where no paths are written."""
    known = [in_kb for trace in traces if (in_kb := Proof.of(trace).in_kb) is not None]
    return 100.0 * sum(known) / len(known) if known else None


def compare_with_baseline(
    f1: Mapping[tuple[str, str], Mapping[str, float]],
    names: Sequence[str],
    matchers: Sequence[str],
    baseline: str | None,
) -> list[dict[str, Any]]:
    """Return the F1 difference of each system and the baseline, with 95 % intervals.

    It is of the questions that both have answered; `f1` has theirs by id."""
    if baseline is None:
        return []
    base = baseline.rstrip("/")
    found = []
    for name in names:
        for matcher in matchers:
            own, others = f1.get((name, matcher), {}), f1.get((base, matcher), {})
            if name != base and (both := [id_ for id_ in own if id_ in others]):
                mean, low, high = paired_difference([own[id_] for id_ in both], [others[id_] for id_ in both])
                found.append(
                    {"name": name, "minus": base, "matcher": matcher, "f1": mean, "f1_low": low, "f1_high": high}
                )
    return found


def list_below(
    f1: Mapping[tuple[str, str], Mapping[str, float]], matcher: str, untrained: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the paired differences of the students whose F1 is below that of the untrained model."""
    pairs = [(name, before) for name, before in untrained.items() if (before, matcher) in f1]
    found = [item for name, before in pairs for item in compare_with_baseline(f1, [name], [matcher], before)]
    return [item for item in found if item["f1"] < 0]


def evaluate_predictions(config: EvalConfig) -> dict[str, Any]:
    """Score files of `{id, question, prediction, ground_truth}` rows, such as `eval` writes; nothing is run."""
    if config.inspect_log:
        raise UserError(
            "--inspect-log shows what systems said: leave it out with --predictions, which has only answers"
        )
    matchers = choose_matchers(config.matchers)
    files = [Path(name) for name in split_list(str(config.predictions))]
    records = {path.stem: rescore(map(dict, read_predictions(path)), matchers) for path in files}
    if len(records) < len(files):
        raise UserError(f"two files of {config.predictions} have one name: rename one, it names the rows")
    check_baseline(config.baseline, list(records))
    rows = []
    for name, own in records.items():
        empty = dict.fromkeys(("in_kb", "faithful", "calls", "tokens", "seconds"))
        found = [(matcher, means) for matcher in matchers if (means := summarise(own, matcher)) is not None]
        if not found:
            raise UserError(f"{config.matchers} skips all {len(own)} questions of {name}: use strict")
        rows += [{"name": name, "matcher": matcher, **means, **empty} for matcher, means in found]
    f1 = {(name, matcher): f1_by_id(own, matcher) for name, own in records.items() for matcher in matchers}
    return {
        "task": None,
        "n": max(map(len, records.values())),
        "rows": rows,
        "differences": compare_with_baseline(f1, list(records), matchers, config.baseline),
    }
