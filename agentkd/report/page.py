"""Pages of runs, evaluations and students: pure functions from records to HTML.

Questions, answers and evidence come from models and knowledge bases and are not trusted: the template escapes all of
them, and the page forbids scripts and requests. Figures are inline SVG in percent of their width, so that type keeps
its size on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from agentkd.doubts.check import FITS
from agentkd.doubts.groups import Group
from agentkd.doubts.review import describe_review
from agentkd.matching import f1_of, split_prediction, strict_precision_recall, strict_set
from agentkd.runs.untrusted import parse_json as parse_bytes
from agentkd.trace import Step, Trace, Triple, Usage

LADDER = {
    "endpoint": "answers end the evidence",
    "chain": "a chain leads from the topic",
    "complete": "the chain's full answer set",
    FITS: "of the kind that was asked",
    "judge": "the teacher agrees",
    "gold": "a gold answer is hit",
}
GROUPS = 40  # paths shown of a run
ITEMS = 12  # answers or facts shown of one step
LETTERS = 2000  # of one answer or output
POINTS = 240  # of a loss curve
NOTHING = "\u2013"
SCORES = ("hit", "hits1", "precision", "recall", "f1", "em", "faithful")


class RunRecords(NamedTuple):
    """What is on record of a run of agents.

    `usage` is the total, `reasons` counts why traces are not verified, `traces` are those that are shown, `review` is
    the summary of a person's verdicts."""

    usage: Usage
    reasons: Mapping[str, int]
    traces: Sequence[Trace]
    failures: Sequence[Mapping[str, Any]]
    groups: Sequence[Group] = ()
    review: Mapping[str, Any] = {}


def render_generation(
    config: Mapping[str, Any], metrics: Mapping[str, Any], records: RunRecords, *, unfinished: bool = False
) -> str:
    """Render a run of agents."""
    count, usage = int(metrics["traces"]), records.usage
    facts = [
        *describe_trust(metrics, count, records.review),
        (
            "questions",
            format_number(metrics["questions"]),
            f"{metrics['questions_with_verified']} with a {'proven' if metrics.get('unchecked') else 'verified'} trace",
        ),
        ("traces", format_number(count), f"{config['samples']} a question"),
        ("calls a trace", format_number(metrics["calls"], 1), ""),
        ("tokens a trace", format_number(metrics["tokens"]), "prompt + completion"),
    ]
    costs = [
        (name, format_number(value, digits), format_number(value / count, digits + 1) if count else NOTHING)
        for name, value, digits in (
            ("calls", usage.calls, 0),
            ("of them from the cache", usage.cached, 0),
            ("prompt tokens", usage.prompt_tokens, 0),
            ("completion tokens", usage.completion_tokens, 0),
            ("seconds of the model", usage.seconds, 1),
            ("US dollars", usage.usd, 2),
        )
    ]
    return render(
        kind="generate",
        title=f"{config['task']} · {config['agent']}",
        lead=f"split {config['split']} · agent {config['agent']} · teacher {config['teacher']}",
        facts=facts,
        rungs=count_rungs(metrics["rungs"], count, int(metrics["verified"])),
        reasons=sorted(records.reasons.items(), key=lambda item: (-item[1], item[0])),
        groups=records.groups[:GROUPS],
        more_groups=len(records.groups) - GROUPS,
        unchecked=int(metrics.get("unchecked", 0)),
        reviewed=describe_review(records.review) if records.review else "",
        costs=costs,
        config=list_settings(config),
        traces=[{"trace": trace, "moves": describe_steps(trace.steps)} for trace in records.traces],
        count=count,
        failures=records.failures,
        unfinished=unfinished,
    )


def describe_trust(metrics: Mapping[str, Any], count: int, review: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The first figures of a run: what gold says, else what a person says; what is only proven is no percentage."""
    unchecked, verified = int(metrics.get("unchecked", 0)), int(metrics["verified"])
    if not unchecked:
        return [("verified", format_percent(verified, count), f"{verified} of {count} traces")]
    gold = verified - unchecked
    facts = [("proven, not checked against answers", format_number(unchecked), f"of {count} traces")]
    facts += [("verified with gold", format_number(gold), f"of {count} traces")] if gold else []
    facts.append(("doubtful", format_number(metrics.get("doubtful", 0)), "answers may not be what was asked"))
    if review:
        rate = f"{review['error_rate']:.0f} %"
        facts.append(("wrong in the review", rate, f"[{review['error_low']:.0f}, {review['error_high']:.0f}]"))
    return facts


def render_evaluation(
    report: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Trace]],
    gold: Mapping[str, Sequence[str]] | None,
    note: str = "",
) -> str:
    """Render an evaluation; `answers` are by system and question id.

    Without `gold` nothing is marked; `note` says why.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(row["matcher"] for row in report["rows"]))}
    rows = sorted(report["rows"], key=lambda row: (row["matcher"] != "strict", order[row["matcher"]]))
    cells = [
        [format_number(row[name], 1) for name in SCORES]
        + [format_number(row["calls"], 1), format_number(row["tokens"]), format_number(row["seconds"], 2)]
        for row in rows
    ]
    first = rows[0]["matcher"] if rows else ""
    best = max((row for row in rows if row["matcher"] == first), key=lambda row: float(row["f1"]), default=None)
    seen = {trace.id: trace.question for by_id in answers.values() for trace in by_id.values()}
    ids = [key for key in gold if key in seen] if gold else sorted(seen)
    return render(
        kind="eval",
        title=f"{report['task'] or 'predictions'} · evaluation",
        lead=" · ".join(filter(None, [f"split {report['split']}" if report.get("split") else "", "scores in percent"])),
        facts=[
            (f"highest {first} F1", format_number(best["f1"], 1), best["name"]) if best else ("rows", "0", ""),
            ("systems", str(len({row["name"] for row in rows})), ""),
            ("questions", format_number(report["n"]), ""),
        ],
        first=first,
        table=list(zip(rows, cells, strict=True)),
        plot=[row for row in rows if row["matcher"] == first],
        differences=report["differences"],
        below_untrained=report.get("below_untrained", []),
        told=all(row.get("read_by") for row in rows),
        task_note=report.get("note") or "",
        questions=[
            {"question": seen[key], "gold": gold[key] if gold else None, "answers": mark_answers(key, answers, gold)}
            for key in ids
        ],
        gold_note=note,
        total=report["n"],
    )


def render_student(config: Mapping[str, Any], metrics: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Render a student: what it learnt, its loss, and where its data came from (`source`: config and metrics)."""
    losses = [float(value) for value in metrics.get("losses") or []]
    origin, counts = source.get("config") or {}, source.get("metrics") or {}
    lineage = [
        ("traces", config.get("traces")),
        ("task", origin.get("task") and f"{origin['task']}, split {origin.get('split')}"),
        ("agent", origin.get("agent")),
        ("teacher", origin.get("teacher")),
        ("retriever", origin.get("retriever")),
        ("verified traces", counts and f"{counts.get('verified')} of {counts.get('traces')}"),
        ("examples learned from", metrics.get("examples")),
        ("hash of the data set", config.get("hash_dataset")),
        ("hash of the task's data", origin.get("hash_data")),
        ("hash of the KB", origin.get("hash_kb")),
        ("hash of the prompts", origin.get("hash_prompts")),
    ]
    return render(
        kind="student",
        title=f"{config.get('student')} · {config.get('method')}",
        lead=f"taught with the traces of {config.get('traces')}",
        facts=[
            ("loss, last step", format_number(metrics.get("loss_last"), 3), "nats a target token"),
            ("loss, first step", format_number(metrics.get("loss_first"), 3), ""),
            ("examples", format_number(metrics.get("examples")), f"{join_numbers(config.get('epochs'))} epochs"),
            ("steps", format_number(metrics.get("steps")), f"batch {config.get('batch')}"),
            (
                "seconds",
                format_number(metrics.get("seconds")),
                f"{format_number(metrics.get('tokens_per_second'), 1)} tokens/s",
            ),
        ],
        curve=draw_curve(losses),
        per="a target token",
        lineage=[(name, value) for name, value in lineage if value],
        source=bool(source),
        config=list_settings(config),
    )


def render_images(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Render a student of images, or of questions about them: accuracies on held-out ones, differences, loss and
    settings."""
    what = "images" if config.get("stage") in ("distill-images", "distill-clients") else "questions"
    facts = [
        (f"accuracy, {row['name']}", f"{row['accuracy']:.1f} %", f"{row['low']:.1f} to {row['high']:.1f}")
        for row in metrics["rows"]
    ]
    facts += [
        (f"student minus {row['minus']}", f"{row['accuracy']:+.1f}", f"{row['low']:+.1f} to {row['high']:+.1f}")
        for row in metrics["differences"]
    ]
    lineage = [
        (what, config.get("data")),
        ("teacher", config.get("teacher_model")),
        (f"{what} learned from", metrics.get("examples")),
        (f"held-out {what}", metrics.get("held_out")),
        ("parameters of the student", metrics["parameters"].get("student")),
        ("parameters of the teacher", metrics["parameters"].get("teacher")),
        ("hash of the data", config.get("hash_data")),
    ]
    return render(
        kind="student",
        title=f"{config.get('student')} · {config.get('method')}",
        lead=f"taught by {config.get('teacher_model') or 'each other'} with the {what} of {config.get('data')}; "
        "beside it the same student without a teacher",
        facts=facts,
        curve=draw_curve([float(value) for value in metrics.get("losses") or []]),
        clients=metrics.get("per_client") or {},
        per="an image" if what == "images" else "a token",
        lineage=lineage,
        source=True,
        config=list_settings(config),
    )


def render_texts(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Render a student of texts: loss on held-out documents before and after, curve and settings."""
    after, before = metrics["held_out_after"], metrics["held_out_before"]
    byte = metrics["bytes_per_token"] or 1.0
    facts = [
        ("held-out loss, nats a token", f"{after:.3f}", f"{before:.3f} before"),
        ("held-out loss, nats a byte", f"{after / byte:.3f}", f"{before / byte:.3f} before"),
        ("tokens learned", f"{metrics['tokens']:,}", ""),
    ]
    lineage = [
        ("texts", config.get("corpus")),
        ("documents learned from", metrics.get("documents")),
        ("held-out documents", metrics.get("held_out")),
        ("left out", metrics.get("left_out")),
        ("hash of the corpus", config.get("hash_corpus")),
    ]
    return render(
        kind="student",
        title=f"{config.get('student')} · texts",
        lead=f"trained on the texts of {config.get('corpus')}",
        facts=facts,
        curve=draw_curve([float(value) for value in metrics.get("losses") or []]),
        per="a token",
        lineage=lineage,
        source=True,
        config=list_settings(config),
    )


def count_rungs(rungs: Mapping[str, int], count: int, verified: int) -> list[dict[str, Any]]:
    """Count the traces that passed each rung or a higher one.

    Rungs that the run has not are left out: `gold` without gold, `fits` and `judge` where nobody looked; rungs of
    another ladder are counted as they are.
    """
    names = [name for name in LADDER if name not in (FITS, "judge") or name in rungs]
    if verified and "gold" not in rungs:
        names.remove("gold")
    passed = {name: sum(rungs.get(above, 0) for above in names[place:]) for place, name in enumerate(names)}
    passed |= {name: rungs[name] for name in rungs if name not in (*LADDER, "none")}
    return [
        {"name": name, "what": LADDER.get(name, ""), "count": value, "share": 100 * value / count if count else 0.0}
        for name, value in passed.items()
    ]


def describe_steps(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Describe an agent's steps as labelled lines in KD-CoT's form; a step of another form is shown as it is."""
    found: list[dict[str, Any]] = []
    turn = 0
    for step in steps:
        value = parse_json(step.output)
        paths: list[tuple[str, str]] = []
        if step.kind == "survey" and isinstance(value, dict):
            paths = list_paths(value.get("candidates"))
            topics = join_few(list_texts(value.get("topics"))) or "no known topic"
            lines = [("Survey", f"{len(paths)} paths around {topics}")]
        elif step.kind == "plan":
            turn += 1
            plan = value if isinstance(value, dict) else {"thought": step.output}
            action = f"{plan['action']}[{plan.get('input', '')}]" if "action" in plan else "none that could be read"
            thought = str(plan.get("thought", ""))  # a small model is not asked for one
            lines = [*([(f"Thought {turn}", thought)] if thought.strip() else []), (f"Action {turn}", action)]
        elif step.kind == "verify" and isinstance(value, dict):
            before = value.get("verdict_before")
            rung = before.get("rung") if isinstance(before, dict) else None
            lines = [("Verified", f"up to {step.verdict.rung if step.verdict else 'none'} (before: {rung or 'none'})")]
        elif step.kind == "answer":
            lines = [(f"Answer {turn}" if turn else "Answer", join_few(step.output.split("\n")))]
        elif step.kind == "call":
            lines = list(describe_call(step, first=not found))
        elif step.tool_calls:
            lines = [(step.kind.capitalize(), shorten(step.output))] if step.output.strip() else []
            lines += [("Tool", shorten(f"{call.name}({call.arguments})")) for call in step.tool_calls]
        else:
            lines = [(step.kind.capitalize(), shorten(value if isinstance(value, str) else step.output))]
        facts = [item for item in step.evidence if isinstance(item, Triple)]
        others = [item for item in step.evidence if not isinstance(item, Triple)]
        found.append({"lines": lines, "paths": paths, "facts": facts, "others": others, "verdict": step.verdict})
    return found


def describe_call(step: Step, *, first: bool) -> Iterator[tuple[str, str]]:
    """Describe a call of a model: what was said to it that is new, and its reply. Tools' answers are its evidence."""
    new = step.messages if first or step.follows else step.messages[-1:]
    for message in new:
        if message.role != "tool" and (message.content or not message.tool_calls):
            yield message.role.capitalize(), shorten(message.content)
    if step.reasoning:
        yield "Thought", shorten(step.reasoning)
    if step.output or not step.tool_calls:
        yield "Assistant", shorten(step.output)
    for call in step.tool_calls:
        yield "Tool", shorten(f"{call.name}({call.arguments})")


def list_paths(options: Any) -> list[tuple[str, str]]:
    """The labels of surveyed options with their first answers; none of a record of another shape."""
    found = options if isinstance(options, list) else []
    return [
        (str(one.get("label", "")), "; ".join(list_texts(one.get("preview")))) for one in found if isinstance(one, dict)
    ]


def list_texts(values: Any) -> list[str]:
    """A list as texts; empty for anything else."""
    return [str(value) for value in values] if isinstance(values, list) else []


def mark_answers(
    key: str, answers: Mapping[str, Mapping[str, Trace]], gold: Mapping[str, Sequence[str]] | None
) -> list[dict[str, Any]]:
    """Return each system's answers to one question, marked right, partly or wrong by strict F1."""
    found = []
    for name, by_id in answers.items():
        given = by_id[key].answers if key in by_id else ()
        f1 = strict_line_f1(given, gold[key]) if gold is not None and key in by_id else 0.0
        mark = "" if gold is None else "right" if f1 == 1 else "partly" if f1 > 0 else "wrong"
        found.append({"name": name, "answers": given, "mark": mark, "f1": f1, "missing": key not in by_id})
    return found


def strict_line_f1(given: Sequence[str], gold: Sequence[str]) -> float:
    """Return the strict F1 of one question, 0 to 1; an answer of several lines counts as several answers."""
    lines = split_prediction("\n".join(given))
    return f1_of(*strict_precision_recall(strict_set(lines), strict_set(gold)))


def draw_curve(losses: Sequence[float]) -> dict[str, Any] | None:
    """Return the points of a loss curve in percent of its box, y downwards, with ticks.

    Long curves are averaged over equal parts.
    """
    if not losses:
        return None
    size = math.ceil(len(losses) / POINTS)
    means = [sum(part) / len(part) for part in (losses[i : i + size] for i in range(0, len(losses), size))]
    finite = [value for value in means if math.isfinite(value)]  # a loss may have become NaN
    step = round_up(max(finite, default=1.0) / 4)
    top = step * max(1, math.ceil(max(finite, default=1.0) / step))
    points = [
        (100 * place / max(1, len(means) - 1), 100 - 100 * value / top)
        for place, value in enumerate(means)
        if math.isfinite(value)
    ]
    ticks = [(f"{step * place:.6g}", 100 - 100 * step * place / top) for place in range(round(top / step) + 1)]
    return {"points": points, "ticks": ticks, "steps": len(losses), "averaged": size if size > 1 else 0}


def round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5 · 10^k that is not below the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def parse_json(text: str) -> Any:
    """Parse JSON; None for any other text."""
    try:
        return parse_bytes(text.encode(errors="replace"))
    except ValueError:
        return None


def join_few(items: Sequence[str]) -> str:
    """Join the first items, and say how many more there are."""
    more = len(items) - ITEMS
    return "; ".join(shorten(item) for item in items[:ITEMS]) + (f" … and {more} more" if more > 0 else "")


def shorten(text: str) -> str:
    """Cut a text off after LETTERS characters."""
    return text if len(text) <= LETTERS else text[:LETTERS] + " …"


def list_settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the config as names and texts."""
    return [(name, NOTHING if value in (None, "") else str(value)) for name, value in config.items()]


def format_number(value: float | None, digits: int = 0) -> str:
    """Format a number with thin spaces between thousands."""
    return NOTHING if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def join_numbers(values: Any) -> str:
    """Write a number, or one for each stage of a training, without needless digits."""
    return ", ".join(f"{value:g}" for value in (values if isinstance(values, list | tuple) else [values or 0]))


def format_percent(part: float, whole: float) -> str:
    """Format a share as a percentage; a dash for nothing."""
    return f"{100 * part / whole:.1f} %" if whole else NOTHING


@cache
def make_environment() -> jinja2.Environment:
    """Make the environment of the templates, with their filters."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"few": join_few, "number": format_number}
    return environment


def render(**values: Any) -> str:
    """Render the template of a page."""
    return make_environment().get_template("page.html.jinja").render(shown=ITEMS, **values)
