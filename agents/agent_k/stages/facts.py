"""understand, modalities: the model confirms or corrects the facts read from the files.

A correction that contradicts the files or the pages does not pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from langgraph.types import Command

from agentkd.agents.agent_k.aside import call_aside
from agentkd.agents.agent_k.border import Refused, judge, refuse
from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.contract import Failure, Setup
from agentkd.agents.agent_k.model.answers import enum_schema, object_schema, parse_json
from agentkd.agents.agent_k.model.ask import NoAnswer
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.results import CODE, MODEL
from agentkd.agents.agent_k.scoring.metric_names import find_metrics
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.stages.views import PLURAL, facts_line
from agentkd.agents.agent_k.understand.metric_choice import can_score
from agentkd.agents.agent_k.understand.setup_from_files import guess_setup
from agentkd.agents.agent_k.understand.tables import read_columns, read_table
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import check_maps, check_metric
from agentkd.agents.agent_k.workspace.files import read_targets
from agentkd.agents.agent_k.workspace.trial_predictions import perfect_predictions

FACTS = "facts agree with files and pages"  # a test
CONFIRMS = 2  # answers that may correct the facts before they stay as they were read


async def understand(context: Context, state: RunState) -> Command[str]:
    """Ask for a summary, and let the model confirm or correct the facts."""
    run, bench = StageRun.begin(context, state, "understand"), context.bench
    setup = bench.setup
    author, summary = CODE, ""
    try:
        summary = (await run.ask("summarise")).strip()
        for attempt in range(CONFIRMS):
            asked = {"id": setup.id, "target": ",".join(setup.targets), "task": setup.task, "metric": setup.metric}
            schema = object_schema(
                {
                    "id": enum_schema(read_columns(bench.data / setup.sample)),
                    "target": {"type": "string"},
                    "task": enum_schema(["binary", "multiclass", "multilabel", "regression"]),
                    "metric": enum_schema([*METRICS, "other"]),
                    "why": {"type": "string"},
                }
            )
            answer = await run.ask("choose", prompt="choose_facts", schema=schema, attempt=attempt, asked=asked)
            look = partial(correct_facts, bench, setup, asked, parse_json(answer))
            corrected = await judge("understand", FACTS, look)
            wanted, failures = (setup, corrected.failures) if isinstance(corrected, Refused) else corrected
            if not failures and wanted != setup:
                failures = await try_facts(bench, setup, wanted)
            run.note_test(failures)
            if not failures:
                if wanted != setup:
                    setup, author = bench.setup, MODEL
                break
            run.remember(failures[0].message, "understand!", "error")
    except NoAnswer:
        pass
    run.remember(facts_line(setup), "facts")
    return run.go_to("modalities", accepted=run.accept(author), summary=summary)


def correct_facts(
    bench: Workbench, setup: Setup, asked: dict[str, str], said: dict[str, Any] | None
) -> tuple[Setup, list[Failure]]:
    """Return the set-up with the model's corrections, or the reasons why they do not pass.

    The user's own settings are never changed."""
    if said is None:
        return setup, [Failure(test="answers in JSON", stage="understand", message="the answer was no JSON object")]
    source, settled = bench.source, bench.settled()
    changed = {name: str(said[name]) for name in asked if said.get(name) and str(said[name]) != asked[name]}
    changed = {name: value for name, value in changed.items() if name not in settled}
    if not changed:  # the files are not read again: leaking columns have left the maps since
        return setup, []
    metric = changed.pop("metric", "")
    if metric == "other":
        metric = ""  # the metric stage writes code if the pages name no known one
    if metric and metric not in METRICS:
        return setup, [facts_failure(f"metric '{metric}' is unknown")]
    mentioned = find_metrics(source.text, source.metric)
    if metric and mentioned and metric not in mentioned:
        return setup, [facts_failure(f"the pages speak of {', '.join(mentioned)}, not of {metric}")]
    if set(setup.outputs) == set(setup.targets) and "target" in changed:
        message = f"the sample submission asks for {', '.join(setup.outputs)}, so that is the target"
        return setup, [facts_failure(message)]
    wanted = guess_setup(bench.data, source.text, source.metric, settled | changed).setup
    task = f"{wanted.task} task with {PLURAL[wanted.output]}"
    if mentioned and wanted.metric not in mentioned and setup.metric in mentioned and not metric:
        return setup, [facts_failure(f"the pages speak of {', '.join(mentioned)}, which scores no {task}")]
    if metric:
        if not can_score(metric, wanted.task, wanted.output):
            return setup, [facts_failure(f"{metric} cannot score a {task}")]
        wanted = wanted.model_copy(update={"metric": metric, "lower_is_better": METRICS[metric].lower_is_better})
    return wanted, []


async def try_facts(bench: Workbench, setup: Setup, wanted: Setup) -> list[Failure]:
    """Build the maps of corrected facts, and test them and the metric.

    If they fail, the maps of `setup` are built again."""

    def build() -> list[str]:
        said = rebuild_maps(bench, wanted)
        built, truth = bench.setup, read_targets(bench.workspace)
        refuse(check_maps(built, bench.data, bench.workspace))
        perfect = perfect_predictions(built, truth)
        refuse(check_metric(lambda frame: score(built, truth, frame), perfect, built, bench.seed))
        return said

    said = await judge("understand", FACTS, build)
    if isinstance(said, Refused):
        await call_aside(lambda: rebuild_maps(bench, setup))
        return said.failures
    for line in said:
        bench.say(line)
    return []


def facts_failure(message: str) -> Failure:
    return Failure(test=FACTS, stage="understand", message=message)


def rebuild_maps(bench: Workbench, setup: Setup) -> list[str]:
    return build_maps(setup, bench.data, bench.workspace, bench.seed)


async def choose_modalities(context: Context, state: RunState) -> Command[str]:
    """Let the model move input columns between tabular and text; it can drop none."""
    run, bench = StageRun.begin(context, state, "modalities"), context.bench
    setup = bench.setup
    author = CODE
    asked = {"tab": list(setup.tab), "txt": list(setup.txt), "img": list(setup.img)}
    names = {"type": "array", "items": {"type": "string"}}
    schema = object_schema({"tab": names, "txt": names, "img": names, "why": {"type": "string"}})
    try:
        answer = await run.ask("choose", prompt="choose_modalities", schema=schema, asked=asked)
        look = partial(move_columns, setup, parse_json(answer), bench.data)
        moved = await judge("modalities", "modalities hold the columns", look)
        wanted, failures = (setup, moved.failures) if isinstance(moved, Refused) else moved
        run.note_test(failures)
        if not failures and wanted != setup:
            await call_aside(lambda: rebuild_maps(bench, wanted))
            author = MODEL
    except NoAnswer:
        pass
    return run.go_to("maps", accepted=run.accept(author))


def move_columns(setup: Setup, said: dict[str, Any] | None, data: Path) -> tuple[Setup, list[Failure]]:
    """Return the set-up with columns moved between tabular and text, or why they are not."""

    def fail(message: str) -> tuple[Setup, list[Failure]]:
        return setup, [Failure(test="modalities hold the columns", stage="modalities", message=message)]

    if said is None or not all(isinstance(said.get(name), list) for name in ("tab", "txt")):
        return fail("the answer was no JSON object with lists of columns")
    tab, txt = ([str(name) for name in said[key]] for key in ("tab", "txt"))
    if sorted([*tab, *txt]) != sorted([*setup.tab, *setup.txt]):
        return fail("each input column has to stand in exactly one of tab and txt")
    train = read_table(data / setup.train, rows=500, text=True).rename(columns=setup.renamed)
    if bare := [name for name in txt if name not in setup.txt and not train[name].str.contains("[A-Za-z]").any()]:
        return fail(f"column {bare[0]} has no letters, so it is no text")
    ordered = [name for name in train.columns if name in {*tab, *txt}]
    update = {
        "tab": tuple(name for name in ordered if name in tab),
        "txt": tuple(name for name in ordered if name in txt),
    }
    return setup.model_copy(update=update), []
