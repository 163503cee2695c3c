"""Write report.html, one self-contained page, for a run, an evaluation or a student; `page` renders it."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.doubts.groups import read_groups
from agentkd.doubts.review import read_summary
from agentkd.errors import AgentkdError, UserError
from agentkd.runs.disk import write_atomically
from agentkd.runs.read import TAUGHT_FROM, is_complete, read_config, read_failures, read_metrics, read_traces
from agentkd.runs.shapes import (
    OF_QUESTIONS,
    CompetitionFigures,
    EvaluationFigures,
    ImageFigures,
    RunFigures,
    StudentFigures,
    TextFigures,
)
from agentkd.runs.summary import summarise_run

if TYPE_CHECKING:
    from agentkd.doubts.groups import Group
    from agentkd.trace import Trace

TRACES, QUESTIONS = 20, 30  # how many are shown in full: a page must open at once
Gold = Mapping[str, Sequence[str]]


def write_report(
    path: Path, *, metrics: Mapping[str, Any] | None = None, gold: Gold | None = None, out: Path | None = None
) -> Path:
    """Write report.html into a run, evaluation or student directory, or to `out`, and return its path.

    A stage that is about to finish hands over its `metrics`, which are not on disk yet, and an evaluation its gold
    answers by question id, in the order asked; otherwise both are read. Raises UserError for any other folder."""
    from agentkd.report import page

    if not path.is_dir():
        raise UserError(f"no folder {path}: give the directory of a run, an evaluation or a student")
    if not (path / "config.yaml").exists():
        html = _evaluation(path, gold)
    elif (config := read_config(path)).get("stage") == "distill":
        html = page.render_student(config, metrics or read_metrics(path, StudentFigures), _source(path, config))
    elif config.get("stage") in ("distill-images", "distill-vision-language", "distill-clients"):
        html = page.render_images(config, metrics or read_metrics(path, ImageFigures))
    elif config.get("stage") == "distill-texts":
        html = page.render_texts(config, metrics or read_metrics(path, TextFigures))
    elif config.get("stage") in (*TAUGHT_FROM, "answers"):
        html = _generation(path, read_config(path, OF_QUESTIONS), metrics)
    elif config.get("stage") == "kaggle":
        html = _competition(
            path, read_config(path, ("teacher", "seed")), metrics or read_metrics(path, CompetitionFigures)
        )
    else:
        raise UserError(
            f"{path} is of stage {config.get('stage')!r}: "
            f"reports exist for generate, elicit, eval, distill and kaggle run"
        )
    out = out or path / "report.html"
    write_atomically(out, html.encode(errors="replace"))  # a record may hold half a character
    return out


def _generation(path: Path, config: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    from agentkd.report import page
    from agentkd.trace import Usage

    usage, reasons, done = Usage(), Counter[str](), set[tuple[str, int]]()
    for trace in read_traces(path):
        usage += trace.usage
        done.add((trace.id, trace.sample))
        if not trace.verified:
            reasons[trace.verdict.reason.split(":")[0] or "no reason given"] += 1
    unfinished = False
    if metrics is None:  # `metrics.json` may be older than the shards of a run that is not complete
        unfinished = not is_complete(path)
        counted = {key[0] for key in done}
        own = config["stage"] in TAUGHT_FROM and not unfinished
        metrics = read_metrics(path, RunFigures) if own else summarise_run(path, counted, int(config["samples"]))
    groups = read_groups(path)
    places = spread_over(groups)
    order = len(places)  # traces that are not proven, or were not grouped yet, come last
    shown = heapq.nsmallest(
        TRACES, read_traces(path), key=lambda t: (places.get((t.id, t.sample), order), t.sample, t.id)
    )
    failures = {(row["id"], row["sample"]): row for row in read_failures(path)}
    lost = [row for key, row in sorted(failures.items()) if key not in done]
    records = page.RunRecords(usage, reasons, shown, lost, groups, read_summary(path))
    return page.render_generation(config, metrics, records, unfinished=unfinished)


def spread_over(groups: Sequence[Group]) -> dict[tuple[str, int], int]:
    """The order in which traces are shown: the first of each group, then the second of each, and so on."""
    turns = [(turn, place, key) for place, group in enumerate(groups) for turn, key in enumerate(sorted(group.traces))]
    return {key: number for number, (_, _, key) in enumerate(sorted(turns))}


def _competition(path: Path, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    from agentkd.report.competition import render_competition

    last = deque(read_traces(path), maxlen=1)
    if not last:
        raise UserError(f"{path} has no trace: run the command that writes it again")
    return render_competition(config, metrics, last[0])


def _evaluation(path: Path, gold: Gold | None) -> str:
    from agentkd.report import page

    if not (path / "metrics.json").exists() or "rows" not in read_metrics(path):
        raise UserError(f"{path} is not a run directory: it has neither config.yaml nor an evaluation's metrics.json")
    report = read_metrics(path, EvaluationFigures)
    folders = _folders(path)
    names = [name for name in dict.fromkeys(row["name"] for row in report["rows"]) if name in folders]
    note = ""
    if gold is None and names:
        gold, note = _gold(read_config(folders[names[0]], OF_QUESTIONS))
    chosen = set(list(gold)[:QUESTIONS]) if gold else None
    answers: dict[str, dict[str, Trace]] = {}
    for name in names:
        traces = (trace for trace in read_traces(folders[name]) if trace.sample == 0)
        kept = (trace for trace in traces if chosen is None or trace.id in chosen)
        answers[name] = {trace.id: trace for trace in heapq.nsmallest(QUESTIONS, kept, key=lambda trace: trace.id)}
    return page.render_evaluation(report, answers, gold, note)


def _folders(path: Path) -> dict[str, Path]:
    """Return the folder of each system's answers by the system's name.

    Of two folders of one name (the weights behind it have changed) the one that was opened last counts; opening
    rewrites its config.yaml.
    """
    from agentkd.config import slug

    found = {}
    for config_file in sorted(path.glob("*/config.yaml"), key=lambda file: file.stat().st_mtime):
        folder, config = config_file.parent, read_config(config_file.parent)
        identity = str(config.get("hash_weights") or "")
        for name in (str(config.get("teacher")).rstrip("/"), f"{config.get('agent')}/{config.get('teacher')}"):
            if folder.name == slug(name) + (f"-{identity[:8]}" if identity else ""):
                found[name] = folder
    return found


def _gold(config: Mapping[str, Any]) -> tuple[Gold | None, str]:
    """Read the gold answers of the asked questions from the task again; None and the reason where that fails."""
    from agentkd.tasks.load import reload_task
    from agentkd.trace import content_hash

    try:
        task = reload_task(config)
        if content_hash(task.hashes(config["split"])) != config.get("hash_data"):
            return None, f"The files of {config['task']} have changed since, so gold answers are not shown."
        gold = task.gold(config["split"])
        asked = task.pick(config["split"], config["limit"], config["seed"])
    except (AgentkdError, OSError) as error:
        return None, f"Gold answers are not shown, the task could not be read: {error}"
    return {question.id: gold[question.id].answers for question in asked if question.id in gold}, ""


def _source(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config and metrics of the run that a student learnt from; empty where it is no longer at hand."""
    traces = Path(str(config.get("traces")))
    for folder in (traces, path.parent.parent / traces):  # as from the working directory, or beside `students/`
        if (folder / "config.yaml").exists():
            metrics = read_metrics(folder) if (folder / "metrics.json").exists() else {}
            return {"config": read_config(folder), "metrics": metrics}
    return {}
