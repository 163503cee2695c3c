"""A person's review of a run: is each of some twenty traces right? The error rate goes into the run and into cards.

The traces are a systematic sample over the groups (`groups.py`): every proven trace has the same chance, and large
groups are in it by their size (Cochran, Sampling Techniques, chapter 8). They are asked in a random order, so that the
first ones are a sample, too. Every verdict is on disk before the next question.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic checks it, and needs this one before Python 3.12

from agentkd.doubts.groups import Group, doubtful_traces, read_groups
from agentkd.errors import UserError
from agentkd.runs.disk import disk_error, write_atomically
from agentkd.runs.read import read_traces
from agentkd.runs.untrusted import CONFIG_BYTES, parse_json, read_file_lines, read_small, refuse_links
from agentkd.trace import Frozen, Trace

DOUBTFUL = "doubtful (answers may not be what was asked)"  # a reason why a trace is not learned from
FILE, SUMMARY = "review.jsonl", "review.json"
COUNT = 20
Z = 1.959964  # of a 95 % interval
Key = tuple[str, int]
Answer = Literal["right", "wrong", "skip"]


class Verdict(Frozen):
    """What a person says about a trace. `hash` is the trace's: another trace in its place is not reviewed."""

    id: str
    sample: int
    hash: str
    answer: Answer


class Summary(TypedDict):
    """A review's counts, and the error rate with its interval in percent; None where nothing was judged."""

    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]
    right: Annotated[int, Field(ge=0)]
    wrong: Annotated[int, Field(ge=0)]
    error_rate: Annotated[float, Field(ge=0, le=100)] | None
    error_low: Annotated[float, Field(ge=0, le=100)]
    error_high: Annotated[float, Field(ge=0, le=100)]


SUMMARY_SHAPE = TypeAdapter(Summary)


def choose_sample(groups: Sequence[Group], count: int, seed: int) -> list[Key]:
    """Choose `count` of the grouped traces, each with the same chance, spread over the groups; in a random order."""
    rng = random.Random(seed)
    frame: list[Key] = []
    for group in sorted(groups, key=lambda group: (group.path, group.asked, group.doubt)):
        members = sorted(group.traces)
        rng.shuffle(members)
        frame += members
    if count >= len(frame):
        chosen = frame
    else:
        step, start = len(frame) / count, rng.random()
        chosen = [frame[int((start + place) * step)] for place in range(count)]
    rng.shuffle(chosen)
    return chosen


def read_review(run: Path, hashes: Mapping[Key, str]) -> dict[Key, Verdict]:
    """Read the verdicts on the traces with these hashes; the last one about a trace counts.

    A line that cannot be read is no verdict."""
    found: dict[Key, Verdict] = {}
    try:
        lines = list(read_file_lines(run / FILE))
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            verdict = Verdict.model_validate_json(line)
        except ValidationError:
            continue
        if hashes.get((verdict.id, verdict.sample)) == verdict.hash:
            found[verdict.id, verdict.sample] = verdict
    return found


def review_run(
    run: Path, *, count: int, seed: int, ask: Callable[[Trace, Group, int, int], Answer | None]
) -> dict[str, Any]:
    """Ask for a verdict on each chosen trace that has none, and return the summary, which is written, too.

    `ask` gets the trace, its group, its place and the number of traces; it returns None to stop. Raises UserError for a
    run without proven traces in groups."""
    refuse_links(run)
    groups = read_groups(run)
    chosen = choose_sample(groups, count, seed)
    if not chosen:
        raise UserError(f"{run} has no proven traces to review: give the directory of a finished `agentkd generate`")
    traces = {(trace.id, trace.sample): trace for trace in read_traces(run)}
    of_group = {key: group for group in groups for key in group.traces}
    known = read_review(run, {key: trace.hash for key, trace in traces.items()})
    for place, key in enumerate(chosen, 1):
        if key in known or key not in traces:
            continue
        answer = ask(traces[key], of_group[key], place, len(chosen))
        if answer is None:
            break
        known[key] = Verdict(id=key[0], sample=key[1], hash=traces[key].hash, answer=answer)
        append_verdict(run, known[key])
    summary = summarise_review([known[key].answer for key in of_group if key in known], chosen, known)
    write_atomically(run / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def append_verdict(run: Path, verdict: Verdict) -> None:
    """Add a verdict to the run's review, on the disk before this returns."""
    path = run / FILE
    try:
        with path.open("ab") as file:
            if file.tell():
                with path.open("rb") as before:  # a torn last line must not swallow this one
                    before.seek(-1, os.SEEK_END)
                    torn = before.read(1) != b"\n"
                file.write(b"\n" if torn else b"")
            file.write(verdict.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise disk_error(path, error) from None


def summarise_review(answers: Sequence[Answer], chosen: Sequence[Key], known: Collection[Key]) -> dict[str, Any]:
    """Count the answers, with the error rate in percent and its 95 % interval; `left` of the chosen are to be asked."""
    wrong, right = answers.count("wrong"), answers.count("right")
    low, high = wilson_interval(wrong, right + wrong)
    return {
        "right": right,
        "wrong": wrong,
        "skipped": answers.count("skip"),
        "left": sum(key not in known for key in chosen),
        "error_rate": 100 * wrong / (right + wrong) if right + wrong else None,
        "error_low": 100 * low,
        "error_high": 100 * high,
    }


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927), from 0 to 1 where nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, square = hits / count, Z * Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = Z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def read_summary(run: Path) -> dict[str, Any]:
    """Read the summary of a run's review; empty where there is none."""
    try:
        found = parse_json(read_small(run / SUMMARY, CONFIG_BYTES))
    except (OSError, UserError, ValueError):
        return {}
    try:
        SUMMARY_SHAPE.validate_python(found)
    except ValidationError:
        return {}
    return dict(found) if found["error_rate"] is not None else {}


def describe_review(summary: Mapping[str, Any]) -> str:
    """A review in a line: how many were wrong, and what that says about all."""
    counted = summary["right"] + summary["wrong"]
    return (
        f"{summary['wrong']} of {counted} reviewed traces are wrong: {summary['error_rate']:.0f} % "
        f"[{summary['error_low']:.0f}, {summary['error_high']:.0f}]"
    )


def make_trust_check(run: Path, *, doubtful: bool) -> Callable[[Trace], str]:
    """Return the function that says why a trace is not learned from; empty where nothing speaks against it.

    A trace that a person called wrong is left out, and so is a group of which most of the reviewed ones are wrong. A
    doubtful group is left out, unless `doubtful` is true or the person has called right all that were reviewed of it,
    at least two or the whole group."""
    groups = read_groups(run)
    review: dict[Key, Verdict] = {}
    if (run / FILE).exists():
        review = read_review(run, {(trace.id, trace.sample): trace.hash for trace in read_traces(run)})
    doubts = {} if doubtful else doubtful_traces(groups)
    refused: set[Key] = set()
    for group in groups:
        answers = [review[key].answer for key in group.traces if key in review]
        right, wrong = answers.count("right"), answers.count("wrong")
        if 2 * wrong > right + wrong and (wrong > 1 or wrong == len(group.traces)):
            refused |= set(group.traces)
        if not wrong and (right > 1 or right == len(group.traces)):
            doubts = {key: doubt for key, doubt in doubts.items() if key not in group.traces}

    def refuse(trace: Trace) -> str:
        key = trace.id, trace.sample
        if key in review and review[key].answer != "skip":
            return "called wrong in the review" if review[key].answer == "wrong" else ""
        if key in refused:
            return "of a path that the review calls wrong"
        return DOUBTFUL if key in doubts else ""

    return refuse
