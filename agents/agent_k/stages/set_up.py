"""The set-up stages, fetch to format: sniffed first, then confirmed, corrected or written by the model; the unit tests
decide. What the model says against what the files and pages show does not pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.types import Command

from agentkd.agents.agent_k.context import CODE, MODEL, Around, State
from agentkd.agents.agent_k.contract import MODALITIES, Setup
from agentkd.agents.agent_k.memory import remember
from agentkd.agents.agent_k.model.ask import Silent, choices, object_schema, parse_json
from agentkd.agents.agent_k.model.coding import Work, write_code
from agentkd.agents.agent_k.model.trials import adopt_maps, lower, pretended, try_form, try_maps, try_metric
from agentkd.agents.agent_k.scoring.metric_names import find_metric
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.scoring.scorer import known, score, true_values
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.setup_from_files import Sniffed, fits, sniff
from agentkd.agents.agent_k.understand.tables import columns, read_table
from agentkd.agents.agent_k.workspace.build import build_maps
from agentkd.agents.agent_k.workspace.checks import (
    Failure,
    check_maps,
    check_metric,
    check_submission,
    passed,
)
from agentkd.agents.agent_k.workspace.maps import read_targets, save, save_setup
from agentkd.agents.agent_k.workspace.submission_file import submission
from agentkd.errors import UserError
from agentkd.trace import Step, Verdict

if TYPE_CHECKING:
    import pandas as pd

CONFIRMS = 2  # answers that may correct the facts before they stay as sniffed
ROWS = 3  # of a table shown to the model
PLURAL = {"label": "labels", "probability": "probabilities", "value": "values"}


async def fetch(around: Around, state: State) -> Command[str]:
    """What the files say without a model: facts, maps, folds; then views of them for the prompts."""
    work = Work.on(state)
    source = around.source
    found = sniff(source.data, source.text, source.metric, around.config.settled())
    said = rebuild_maps(around, found.setup)
    found = Sniffed(around.setup, [*found.doubts, *said])
    for doubt in found.doubts:
        around.say(doubt)
    failures = check_maps(found.setup, source.data, around.workspace)
    if failures:
        raise UserError(f"{failures[0].message} ({failures[0].test}): mend the files, or set id=, target= or task=")
    work.note(Step(kind="fetch.sniff", output=found.setup.model_dump_json(), evidence=(passed("maps"),),
                   verdict=Verdict(ok=True, rung="fetch", reason="; ".join(found.doubts))))  # fmt: skip
    memory = remember(work.memory, files_view(DataFiles(source.data)), "view", "fetch")
    memory = remember(memory, tables_view(found.setup, source.data), "view", "fetch")
    memory = remember(memory, facts_line(found.setup), "facts")
    for doubt in found.doubts:
        memory = remember(memory, doubt, "understand!")
    work.memory = memory
    around.say(facts_line(found.setup))
    return Command(goto="draft", update=work.update(accepted={"fetch": CODE}))


def rebuild_maps(around: Around, setup: Setup) -> list[str]:
    return build_maps(setup, around.source.data, around.workspace, around.config.seed)


async def understand(around: Around, state: State) -> Command[str]:
    """A summary for later prompts, and the facts confirmed or corrected."""
    work = Work.on(state)
    setup = around.setup
    author, summary = CODE, ""
    try:
        summary = (await work.ask(around, state, "understand", "summarise", setup=True)).strip()
        for attempt in range(CONFIRMS):
            asked = {"id": setup.id, "target": ",".join(setup.targets), "task": setup.task, "metric": setup.metric}
            schema = object_schema(
                {
                    "id": choices(columns(around.source.data / setup.sample)),
                    "target": {"type": "string"},
                    "task": choices(["binary", "multiclass", "multilabel", "regression"]),
                    "metric": choices([*METRICS, "other"]),
                    "why": {"type": "string"},
                }
            )
            answer = await work.ask(around, state, "understand", "choose", setup=True, schema=schema,
                                    prompt="choose_facts", attempt=attempt, asked=asked)  # fmt: skip
            said = parse_json(answer)
            wanted, failures = corrected(around, setup, asked, said)
            if not failures and wanted != setup:
                failures = try_facts(around, setup, wanted)
            work.note(verdict_step("understand.test", "understand", failures))
            if not failures:
                if wanted != setup:
                    setup, author = around.setup, MODEL
                break
            work.memory = remember(work.memory, failures[0].message, "understand!", "error")
    except Silent:
        pass
    work.memory = remember(work.memory, facts_line(setup), "facts")
    update = work.update(accepted=state["accepted"] | {"understand": author}, summary=summary)
    return Command(goto="modalities", update=update)


def corrected(
    around: Around, setup: Setup, asked: dict[str, str], said: dict[str, Any] | None
) -> tuple[Setup, list[Failure]]:
    """The set-up with the model's corrections, or why they do not pass. The user's own settings are never changed."""
    if said is None:
        return setup, [Failure(test="answers in JSON", stage="understand", message="the answer was no JSON object")]
    fixed = around.config.settled()
    changed = {name: str(said[name]) for name in asked if said.get(name) and str(said[name]) != asked[name]}
    changed = {name: value for name, value in changed.items() if name not in fixed}
    if not changed:  # not sniffed again: the maps have taken out what leaks
        return setup, []
    metric = changed.pop("metric", "")
    if metric == "other":
        metric = ""  # the metric stage writes code where the pages name none that is known
    if metric and metric not in METRICS:
        return setup, [fault(f"metric '{metric}' is unknown")]
    mentioned = find_metric(around.source.text, around.source.metric)
    if metric and mentioned and metric not in mentioned:
        return setup, [fault(f"the pages speak of {', '.join(mentioned)}, not of {metric}")]
    if set(setup.outputs) == set(setup.targets) and "target" in changed:
        return setup, [fault(f"the sample submission asks for {', '.join(setup.outputs)}, so that is the target")]
    try:
        wanted = sniff(around.source.data, around.source.text, around.source.metric, fixed | changed).setup
    except UserError as error:
        return setup, [fault(str(error))]
    if mentioned and wanted.metric not in mentioned and setup.metric in mentioned and not metric:
        return setup, [fault(f"the pages speak of {', '.join(mentioned)}, which scores no {wanted.task} task with "
                             f"{PLURAL[wanted.output]}")]  # fmt: skip
    if metric:
        if not fits(metric, wanted.task, wanted.output):
            return setup, [fault(f"{metric} cannot score a {wanted.task} task with {PLURAL[wanted.output]}")]
        wanted = wanted.model_copy(update={"metric": metric, "lower_is_better": METRICS[metric].lower_is_better})
    return wanted, []


def try_facts(around: Around, setup: Setup, wanted: Setup) -> list[Failure]:
    """Maps and metric of corrected facts, tested before they count; those of `setup` again where they fail."""
    said: list[str] = []
    try:
        said = rebuild_maps(around, wanted)
        wanted, truth = around.setup, read_targets(around.workspace)
        failures = check_maps(wanted, around.source.data, around.workspace) or check_metric(
            lambda frame: score(wanted, truth, frame), perfect_predictions(wanted, truth), wanted, around.config.seed
        )
    except (UserError, ValueError) as error:
        failures = [fault(str(error))]
    if failures:
        rebuild_maps(around, setup)
    else:
        for line in said:
            around.say(line)
    return failures


def fault(message: str) -> Failure:
    return Failure(test="facts agree with files and pages", stage="understand", message=message)


async def modalities(around: Around, state: State) -> Command[str]:
    """Which input columns are tabular, text or images; the model may move one, never drop one."""
    work = Work.on(state)
    setup = around.setup
    author = CODE
    asked = {"tab": list(setup.tab), "txt": list(setup.txt), "img": list(setup.img)}
    many = {"type": "array", "items": {"type": "string"}}
    schema = object_schema({"tab": many, "txt": many, "img": many, "why": {"type": "string"}})
    try:
        answer = await work.ask(around, state, "modalities", "choose", setup=True, schema=schema,
                                prompt="choose_modalities", asked=asked)  # fmt: skip
        wanted, failures = moved(setup, parse_json(answer), around.source.data)
        work.note(verdict_step("modalities.test", "modalities", failures))
        if not failures and wanted != setup:
            rebuild_maps(around, wanted)
            author = MODEL
    except Silent:
        pass
    update = work.update(accepted=state["accepted"] | {"modalities": author})
    return Command(goto="maps", update=update)


def moved(setup: Setup, said: dict[str, Any] | None, data: Path) -> tuple[Setup, list[Failure]]:
    """The set-up with columns moved between tabular and text."""

    def wrong(message: str) -> tuple[Setup, list[Failure]]:
        return setup, [Failure(test="modalities hold the columns", stage="modalities", message=message)]

    if said is None or not all(isinstance(said.get(name), list) for name in ("tab", "txt")):
        return wrong("the answer was no JSON object with lists of columns")
    tab, txt = ([str(name) for name in said[key]] for key in ("tab", "txt"))
    if sorted([*tab, *txt]) != sorted([*setup.tab, *setup.txt]):
        return wrong("each input column has to stand in exactly one of tab and txt")
    train = read_table(data / setup.train, rows=500, text=True)
    if bare := [name for name in txt if name not in setup.txt and not train[name].str.contains("[A-Za-z]").any()]:
        return wrong(f"column {bare[0]} has no letters, so it is no text")
    ordered = [name for name in train.columns if name in {*tab, *txt}]
    update = {
        "tab": tuple(name for name in ordered if name in tab),
        "txt": tuple(name for name in ordered if name in txt),
    }
    return setup.model_copy(update=update), []


async def maps(around: Around, state: State) -> Command[str]:
    """The input maps: the generic ones, or the model's where it says that those are wrong and its own pass."""
    work = Work.on(state)
    author, back = CODE, ""
    asked = state.get("sent_back", {}).get("maps", 0)
    try:
        own = asked or await wants_code(around, state, work, "maps")
    except Silent:
        own = False
    if asked:  # what the model had written before is at fault
        rebuild_maps(around, sniff_again(around))
    if own:
        written = await write_code(around, state, work, "maps", lambda folder: try_maps(around, folder),
                                   setup=True, number=asked)  # fmt: skip
        back = written.back
        if written.folder is not None:
            adopt_maps(around, written.folder)
            author = MODEL
    work.memory = remember(work.memory, facts_line(around.setup), "facts")
    update = work.update(accepted=state["accepted"] | {"maps": author})
    return go_back(state, back, update) if back else Command(goto="metric", update=update)


def sniff_again(around: Around) -> Setup:
    """The set-up with the sniffed input columns, and everything else as it was accepted."""
    setup = around.setup
    found = sniff(around.source.data, around.source.text, around.source.metric, around.config.settled()).setup
    return setup.model_copy(update={"tab": found.tab, "txt": found.txt, "img": found.img})


def go_back(state: State, stage: str, update: dict[str, Any]) -> Command[str]:
    """Back to a stage at fault; what it had accepted no longer counts as the model's once it is left again."""
    sent = dict(state.get("sent_back", {}))
    sent[stage] = sent.get(stage, 0) + 1
    return Command(goto=stage, update=update | {"sent_back": sent})


async def wants_code(around: Around, state: State, work: Work, stage: str) -> bool:
    schema = object_schema({"own_code": {"type": "boolean"}, "why": {"type": "string"}})
    answer = await work.ask(around, state, stage, "choose", setup=True, schema=schema, prompt="choose_code")
    return (parse_json(answer) or {}).get("own_code") is True


async def metric(around: Around, state: State) -> Command[str]:
    """The metric, tested on the truth and on shuffled predictions. Where the pages name none that is known, the model
    may write it."""
    work = Work.on(state)
    setup = around.setup
    author, code, back = CODE, "", ""
    truth = read_targets(around.workspace)
    perfect = perfect_predictions(setup, truth)
    named = find_metric(around.source.text, around.source.metric)
    if not named and "metric" not in around.config.settled():
        written = await write_code(
            around, state, work, "metric", lambda folder: try_metric(around, folder, truth, perfect), setup=True,
            number=state.get("sent_back", {}).get("metric", 0),
        )  # fmt: skip
        back = written.back
        if written.folder is not None:
            author, code = MODEL, written.folder.name
            save_setup(setup.model_copy(update={"lower_is_better": lower(written.folder)}), around.workspace)
    else:
        failures = check_metric(lambda frame: score(setup, truth, frame), perfect, setup, around.config.seed)
        work.note(verdict_step("metric.test", "metric", failures))
        if failures:
            raise UserError(f"{failures[0].message}: set metric=NAME or target=COLUMN")
    update = work.update(accepted=state["accepted"] | {"metric": author}, metric_code=code)
    return go_back(state, back, update) if back else Command(goto="format", update=update)


def perfect_predictions(setup: Setup, truth: pd.DataFrame) -> pd.DataFrame:
    """The truth in the form of predictions: certainty of the right class, or the value itself."""
    import numpy as np

    frame = truth[["id"]].copy()
    if setup.task in ("binary", "multiclass"):
        for column, name in zip(setup.predicted, setup.classes, strict=True):
            frame[column] = (truth[setup.targets[0]] == name).astype(float)
    else:
        values = true_values(setup, truth)
        for place, name in enumerate(setup.targets):  # what is not known is not scored
            frame[name] = np.where(known(values[:, place]), values[:, place], 0)
    return frame


async def form(around: Around, state: State) -> Command[str]:
    """The form of a submission: generic, or the model's where the generic one does not pass or is said to be wrong."""
    work = Work.on(state)
    setup, data = around.setup, around.source.data
    author, code, back = CODE, "", ""
    file = around.workspace / "submissions" / "form.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    predictions = pretended(setup, data)
    save(submission(predictions, setup, data), file)
    failures = check_submission(file, setup, data)
    work.note(verdict_step("format.test", "format", failures))
    try:
        own = bool(failures) or state.get("sent_back", {}).get("format", 0) or await wants_code(
            around, state, work, "format"
        )  # fmt: skip
    except Silent:
        own = False
    if own:
        written = await write_code(around, state, work, "format", lambda folder: try_form(around, folder, predictions),
                                   setup=True, number=state.get("sent_back", {}).get("format", 0))  # fmt: skip
        back = written.back
        if written.folder is not None:
            author, code = MODEL, written.folder.name
    if failures and not code and not back:
        raise UserError(f"{failures[0].message} ({failures[0].test}): set id=, target= or task=, or mend the sample")
    update = work.update(accepted=state["accepted"] | {"format": author}, format_code=code)
    return go_back(state, back, update) if back else Command(goto="baseline", update=update)


def verdict_step(kind: str, stage: str, failures: Sequence[Failure]) -> Step:
    """A unit test's outcome as a step of the trace."""
    evidence = tuple(item.evidence for item in failures) or (passed(stage),)
    reason = "; ".join(item.message for item in failures)[:500]
    return Step(kind=kind, evidence=evidence, verdict=Verdict(ok=not failures, rung=stage, reason=reason))


def facts_line(setup: Setup) -> str:
    """The set-up in one line."""
    way = "lower" if setup.lower_is_better else "higher"
    columns = ", ".join(f"{len(getattr(setup, name))} {name}" for name in MODALITIES if getattr(setup, name))
    shown = ", ".join(setup.targets[:5]) + (" …" if len(setup.targets) > 5 else "")
    return f"{setup.task} · target {shown} · id {setup.id} · metric {setup.metric}, {way} is better · " \
           f"submit {PLURAL[setup.output]} · inputs: {columns}"  # fmt: skip


def files_view(files: DataFiles) -> str:
    """The file tree, tables with sizes, images counted by folder."""
    lines = [f"{path} ({(files.data / path).stat().st_size:,} bytes)" for path in files.tables[:20]]
    folders: dict[str, int] = {}
    for path in files.images:
        folders[str(path.parent)] = folders.get(str(path.parent), 0) + 1
    return "\n".join(["files:", *lines, *(f"{name}/: {count} images" for name, count in list(folders.items())[:10])])


def tables_view(setup: Setup, data: Path) -> str:
    """The first rows of the training table and the sample submission."""
    parts = []
    for name in (setup.train, setup.sample):
        frame = read_table(data / name, rows=ROWS, text=True).iloc[:, :40]
        cells = frame.map(lambda cell: str(cell)[:60])
        parts.append(f"{name}, first rows:\n{cells.to_csv(index=False)}")
    return "\n".join(parts)
