"""fetch, maps, metric, format: set up without a model, then by its code where that passes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from langgraph.types import Command

from agentkd.agents.agent_k.aside import call_aside
from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.contract import Failure, Setup, passed_test
from agentkd.agents.agent_k.model.answers import object_schema, parse_json
from agentkd.agents.agent_k.model.ask import NoAnswer
from agentkd.agents.agent_k.model.coding import write_code
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.model.trials import (
    adopt_maps,
    read_direction,
    try_format,
    try_maps,
    try_metric,
)
from agentkd.agents.agent_k.model.user_features import make_user_features
from agentkd.agents.agent_k.model.user_metric import keep_user_metric, prefers_lower, read_user_metric
from agentkd.agents.agent_k.reshape.plain import reshape
from agentkd.agents.agent_k.results import CODE, MODEL
from agentkd.agents.agent_k.scoring.metric_names import find_metrics
from agentkd.agents.agent_k.scoring.scorer import score
from agentkd.agents.agent_k.stages.facts import rebuild_maps
from agentkd.agents.agent_k.stages.first_file import write_first_file
from agentkd.agents.agent_k.stages.views import facts_line, files_view, tables_view
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.metric_choice import is_file
from agentkd.agents.agent_k.understand.setup_from_files import SetupGuess, guess_setup
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.checks import check_maps, check_metric, check_submission
from agentkd.agents.agent_k.workspace.files import read_targets, save_setup, save_table
from agentkd.agents.agent_k.workspace.own_folds import keep_own_folds
from agentkd.agents.agent_k.workspace.submission_file import make_submission
from agentkd.agents.agent_k.workspace.trial_predictions import perfect_predictions, random_predictions
from agentkd.errors import UserError
from agentkd.trace import Step, Verdict

if TYPE_CHECKING:
    import pandas as pd


async def read_competition(context: Context, state: RunState) -> Command[str]:
    """Read the facts from the files, build maps and folds, and make the views for prompts.

    No model is asked."""
    run, bench = StageRun.begin(context, state, "fetch"), context.bench
    source = bench.source

    def read() -> tuple[SetupGuess, list[Failure]]:
        shaped = reshape(source.data, source.text, bench.config.settled(), bench.workspace)
        found = guess_setup(bench.data, source.text, source.metric, bench.settled())
        write_first_file(bench, found.setup)
        if found.setup.folds == 0:
            keep_own_folds(str(bench.config.folds), found.setup, bench.workspace)
        known = [found.setup.labels, *found.doubts]  # a table may be used for the names of classes
        unused = [
            f"{name} is not used: {why}"
            for name, why in shaped.unused.items()
            if not any(name in line for line in known)
        ]
        said = rebuild_maps(bench, found.setup)
        found = SetupGuess(bench.setup, [*shaped.notes, *unused, *found.doubts, *said])
        return found, check_maps(found.setup, bench.data, bench.workspace)

    found, failures = await call_aside(read)
    for doubt in found.doubts:
        bench.say(doubt)
    if failures:
        (bench.folder / "submission.csv").unlink(missing_ok=True)
    if failures and failures[0].test == "inputs":
        raise UserError(
            f"the rows have no input: {found.setup.train} and {found.setup.test} share no column but the ids, and no "
            "image, "
            f".csv, .npy or .wav file is named by the ids (other kinds of files are not read)"
        )
    if failures:
        raise UserError(f"{failures[0].message} ({failures[0].test}): mend the files, or set id=, target= or task=")
    features = ""
    if bench.config.features:
        features, line = await make_user_features(bench, bench.config.features)
        bench.say(line)
        found.doubts.append(line)
    verdict = Verdict(ok=True, rung="fetch", reason="; ".join(found.doubts))
    run.note(
        Step(kind="fetch.sniff", output=found.setup.model_dump_json(), evidence=(passed_test("maps"),), verdict=verdict)
    )
    run.remember(files_view(DataFiles(bench.data)), "view", "fetch")
    run.remember(tables_view(found.setup, bench.data), "view", "fetch")
    run.remember(facts_line(found.setup), "facts")
    for doubt in found.doubts:
        run.remember(doubt, "understand!")
    bench.say(facts_line(found.setup))
    return run.go_to("draft", accepted={"fetch": CODE}, said=found.doubts, features=features)


async def choose_maps(context: Context, state: RunState) -> Command[str]:
    """Keep the generic input maps, or take the model's if it calls those wrong and its own pass."""
    run, bench = StageRun.begin(context, state, "maps"), context.bench
    author, back = CODE, ""
    sent_back = run.times_sent_back
    try:
        own = sent_back or await wants_code(run)
    except NoAnswer:
        own = False
    if sent_back:  # the model's earlier maps are at fault
        rebuild_maps(bench, reset_inputs(bench))
    if own:
        written = await write_code(run, lambda folder: try_maps(bench, folder), number=sent_back)
        back = written.back
        if written.folder is not None:
            adopt_maps(bench, written.folder)
            author = MODEL
    run.remember(facts_line(bench.setup), "facts")
    accepted = run.accept(author)
    return run.go_back(back, accepted=accepted) if back else run.go_to("metric", accepted=accepted)


def reset_inputs(bench: Workbench) -> Setup:
    """The set-up with the input columns as read from the files, all else as accepted."""
    found = guess_setup(bench.data, bench.source.text, bench.source.metric, bench.settled()).setup
    return bench.setup.model_copy(update={"tab": found.tab, "txt": found.txt, "img": found.img})


async def wants_code(run: StageRun) -> bool:
    """Ask the model whether it wants to write the stage's code itself."""
    schema = object_schema({"own_code": {"type": "boolean"}, "why": {"type": "string"}})
    answer = await run.ask("choose", prompt="choose_code", schema=schema)
    return (parse_json(answer) or {}).get("own_code") is True


async def choose_metric(context: Context, state: RunState) -> Command[str]:
    """Test the metric on the truth and on shuffled predictions.

    It is the function of the user's file where there is one. If the pages name no known metric, the model may write
    one."""
    run, bench = StageRun.begin(context, state, "metric"), context.bench
    setup = bench.setup
    author, code, back = CODE, "", ""
    truth = read_targets(bench.workspace)
    perfect = perfect_predictions(setup, truth)
    mentioned = find_metrics(bench.source.text, bench.source.metric)
    if is_file(bench.config.metric):
        code = await accept_user_metric(run, truth, perfect)
    elif not mentioned and "metric" not in bench.settled():
        written = await write_code(
            run, lambda folder: try_metric(bench, folder, truth, perfect), number=run.times_sent_back
        )
        back = written.back
        if written.folder is not None:
            author, code = MODEL, written.folder.name
            lower = read_direction(written.folder)
            save_setup(setup.model_copy(update={"lower_is_better": lower}), bench.workspace)
    else:
        failures = check_metric(lambda frame: score(setup, truth, frame), perfect, setup, bench.seed)
        run.note_test(failures)
        if failures:
            raise UserError(f"{failures[0].message}: set metric=NAME or target=COLUMN")
    values = {"accepted": run.accept(author), "metric_code": code}
    return run.go_back(back, **values) if back else run.go_to("format", **values)


async def accept_user_metric(run: StageRun, truth: pd.DataFrame, perfect: pd.DataFrame) -> str:
    """Test the function of the user's file, and take it for the metric; returns the folder of its code.

    Raises UserError where it fails, or calls shuffled predictions better than the truth."""
    bench, file = run.bench, str(run.bench.config.metric)
    text = read_user_metric(file)
    folder, lower = keep_user_metric(text, bench.workspace), prefers_lower(text)
    failures, _ = await try_metric(bench, folder, truth, perfect)
    run.note_test(failures)
    if failures:
        raise UserError(f"metric={file} does not score ({failures[0].message}): mend it")
    if read_direction(folder) != lower:
        way = "lower" if lower else "higher"
        raise UserError(f"metric={file} says that {way} is better, but it scores the truth the other way: mend it")
    update = {"metric": Path(file).name, "lower_is_better": lower}
    save_setup(bench.setup.model_copy(update=update), bench.workspace)
    return folder.name


async def choose_format(context: Context, state: RunState) -> Command[str]:
    """Test the generic form of a submission.

    The model may write another one if that fails, or if it calls it wrong."""
    run, bench = StageRun.begin(context, state, "format"), context.bench
    setup = bench.setup
    author, code, back = CODE, "", ""
    file = bench.workspace / "submissions" / "form.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    predictions = random_predictions(setup, bench.data)
    save_table(make_submission(predictions, setup, bench.data), file)
    failures = check_submission(file, setup, bench.data)
    run.note_test(failures)
    try:
        own = bool(failures) or run.times_sent_back or await wants_code(run)
    except NoAnswer:
        own = False
    if own:
        written = await write_code(
            run, lambda folder: try_format(bench, folder, predictions), number=run.times_sent_back
        )
        back = written.back
        if written.folder is not None:
            author, code = MODEL, written.folder.name
    if failures and not code and not back:
        raise UserError(f"{failures[0].message} ({failures[0].test}): set id=, target= or task=, or mend the sample")
    values = {"accepted": run.accept(author), "format_code": code}
    return run.go_back(back, **values) if back else run.go_to("baseline", **values)
