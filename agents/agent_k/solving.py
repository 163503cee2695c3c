"""baseline, solve, ensemble: candidates are run in the sandbox, and scored here, from their out-of-fold predictions.

A deterministic candidate is a spec for `agentkd.agents.agent_k.solve`. The model adds features, which are kept where
cross-validation says so, and whole solutions; a solution is called fold by fold with nothing in its folder but the
inputs and the other folds' targets, so it cannot know what it is scored on.
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.types import Command

from agentkd.agents.agent_k.around import CODE, MODEL, Around, State
from agentkd.agents.agent_k.checks import Failure, check_predictions, check_submission
from agentkd.agents.agent_k.coding import HARNESS, Work, failure_of, fresh, write_code
from agentkd.agents.agent_k.form import write_submission
from agentkd.agents.agent_k.maps import maps_hash, read_inputs, read_targets, save
from agentkd.agents.agent_k.memory import remember
from agentkd.agents.agent_k.sandbox import Outcome, open_inside
from agentkd.agents.agent_k.scoring import score
from agentkd.agents.agent_k.setting_up import formed, go_back, measured
from agentkd.agents.agent_k.setup import Setup
from agentkd.agents.agent_k.solve import Candidate, portfolio
from agentkd.errors import UserError
from agentkd.shard import write_atomically
from agentkd.trace import Score, StageTest, Step, Verdict

if TYPE_CHECKING:
    import pandas as pd

SOLVE = "agentkd.agents.agent_k.solve"
DRAFT_SECONDS = 40.0  # for the first candidate: a valid file within a minute, whatever comes later
FEATURE_SECONDS = 60.0
MOST_FEATURES = 300
BYTES = 1 << 31  # of a prediction file
WINS = 0.6  # share of the folds that features have to improve, besides the mean
TURNS = {"features": (1, 4), "solution": (2, 5, 7)}  # how many deterministic candidates stand before each round


def tried(state: State, author: str) -> int:
    return sum(1 for item in state.get("candidates", {}).values() if item.get("author") == author)


async def draft(around: Around, state: State) -> Command[str]:
    """A valid file before the model is asked anything."""
    return await first(around, state, "understand")


async def baseline(around: Around, state: State) -> Command[str]:
    """The first candidate on the set-up as it was accepted; not run again where that is the sniffed one."""
    return await first(around, state, "solve")


async def first(around: Around, state: State, then: str) -> Command[str]:
    work = Work.on(state)
    setup = around.setup
    candidate = plan(around, setup)[0]
    seconds = min(DRAFT_SECONDS, max(around.clock.left, 5.0))
    name, found = await run_candidate(around, state, candidate, seconds)
    if "error" in found:
        around.say(f"baseline {name} failed ({found['error'][:200]}): the submission is a constant until one works")
        name, found = constant(around, setup)
    candidates = {name: found}  # those of another set-up are scored on other maps
    if then == "solve":
        kept = {key: item for key, item in state.get("candidates", {}).items() if item.get("maps") == found["maps"]}
        candidates = kept | candidates
    note_score(work, around, "draft" if then == "understand" else "baseline", name, found, candidates, {})
    before = state if state.get("best", {}).get("maps") == found["maps"] else {}
    best, failure = await better(around, before, name, found)  # type: ignore[arg-type]
    if failure and state.get("accepted", {}).get("format") == MODEL:
        work.memory = remember(work.memory, failure.message, "format!", "error")
        return go_back(state, "format", work.update())
    return Command(goto=then, update=work.update(candidates=candidates, best=best))


def plan(around: Around, setup: Setup) -> list[Candidate]:
    """What is run in which order: of the data's size and the run's whole time, so a resumed run has the same plan."""
    rows = len(read_targets(around.workspace))
    return portfolio(setup, rows, around.clock.seconds, around.threads)


async def run_candidate(
    around: Around, state: State, candidate: Candidate, seconds: float, features: str = ""
) -> tuple[str, dict[str, Any]]:
    """Run a spec, or read what it left before; returns its name and {folder, score, folds, …} or {error}."""
    name = candidate.name + ("+features" if features else "")
    spec = {
        "workspace": str(around.workspace.resolve()),
        "kind": candidate.kind,
        "params": candidate.params,
        "seed": around.config.seed,
        "threads": around.threads,
        "features": str(Path(features).resolve()) if features else None,
    }
    key = maps_hash(around.workspace)
    folder = around.workspace / "candidates" / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    found: dict[str, Any] = {"author": CODE, "folder": folder.name, "maps": key, "kind": candidate.kind}
    if not complete(folder):
        write_atomically(folder / "spec.json", json.dumps(spec | {"seconds": round(seconds, 1)}))
        read = [around.workspace / "maps", around.workspace / "data", *([Path(features).resolve()] if features else [])]
        outcome = await around.in_sandbox(SOLVE, "spec.json", work=folder.resolve(),
                                          read=[path.absolute() for path in read if path.exists()],
                                          seconds=seconds + 5)  # fmt: skip
        (folder / "log.txt").write_text(outcome.output)
        if failures := failure_of(outcome, "solve"):
            return name, found | {"error": failures[0].message}
    scored = await score_folder(around, state, folder)
    return name, found | scored | {"seconds": round(time.monotonic() - start, 1)}


def complete(folder: Path) -> bool:
    return (folder / "oof.csv").is_file() and (folder / "test.csv").is_file()


def read_predictions(folder: Path, file: str) -> pd.DataFrame:
    """A prediction file, read without following links. Raises UserError or OSError."""
    import pandas as pd

    return pd.read_csv(io.BytesIO(open_inside(folder, file, BYTES)), dtype={"id": str})


async def score_folder(around: Around, state: State, folder: Path) -> dict[str, Any]:
    """Our own score of a candidate's out-of-fold predictions, in all and fold by fold; {error} where a file fails."""
    setup, truth = around.setup, read_targets(around.workspace)
    ids = {"oof": list(truth["id"]), "test": test_ids(around)}
    frames = {}
    for split in ("oof", "test"):
        try:
            frames[split] = read_predictions(folder, f"{split}.csv")
        except (UserError, OSError, ValueError) as error:
            return {"error": f"{split}.csv: {error}"}
        if failures := check_predictions(frames[split], setup, ids[split], split):  # type: ignore[arg-type]
            return {"error": failures[0].message}
    if code := state.get("metric_code"):
        values, _ = await measured(around, around.workspace / "code" / code, truth, [frames["oof"]])
        if not values:
            return {"error": "the metric's code gave no number"}
        return {"score": values[0], "folds": []}
    each = []
    for rows in by_fold(around):
        try:
            each.append(round(score(setup, truth.iloc[rows], frames["oof"].iloc[rows]), 6))
        except UserError:  # a fold of one class has no AUC
            each.append(float("nan"))
    return {"score": score(setup, truth, frames["oof"]), "folds": each}


def by_fold(around: Around) -> list[Any]:
    """The training rows of each fold, as positions."""
    import numpy as np
    import pandas as pd

    folds = pd.read_csv(around.workspace / "maps" / "folds.csv", dtype={"id": str})["fold"].to_numpy()
    return [np.flatnonzero(folds == fold) for fold in sorted(set(folds))]


def test_ids(around: Around) -> list[str]:
    import pandas as pd

    first_map = sorted((around.workspace / "maps").glob("test_*_input_map.csv"))[0]
    return list(pd.read_csv(first_map, dtype={"id": str}, usecols=["id"])["id"])


def constant(around: Around, setup: Setup) -> tuple[str, dict[str, Any]]:
    """The priors of the classes, or the median: what can always be submitted."""
    import pandas as pd

    truth = read_targets(around.workspace)
    if setup.task in ("binary", "multiclass"):
        share = truth[setup.targets[0]].value_counts(normalize=True)
        values = {name: float(share.get(name, 0.0)) for name in setup.classes}
    else:
        numbers = truth[list(setup.targets)].apply(pd.to_numeric)
        values = dict((numbers.mean() if setup.task == "multilabel" else numbers.median()).astype(float))
    key = maps_hash(around.workspace)
    folder = around.workspace / "candidates" / f"constant-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, ids in (("oof.csv", list(truth["id"])), ("test.csv", test_ids(around))):
        frame = pd.DataFrame({"id": ids} | {name: [value] * len(ids) for name, value in values.items()})
        save(frame, folder / file)
    value = score(setup, truth, read_predictions(folder, "oof.csv"))
    return "constant", {"author": CODE, "folder": folder.name, "maps": key, "kind": "constant", "score": value,
                        "folds": [], "seconds": 0.0}  # fmt: skip


def is_better(setup: Setup, one: float, other: float | None) -> bool:
    return other is None or (one < other if setup.lower_is_better else one > other)


def gain(setup: Setup, one: float, other: float) -> float:
    """How much better one is than the other, positive for better whatever the metric's direction."""
    return other - one if setup.lower_is_better else one - other


async def better(
    around: Around, state: State, name: str, found: dict[str, Any]
) -> tuple[dict[str, Any], Failure | None]:
    """The best so far with this candidate: where it is better and its file valid, submission.csv is replaced."""
    best = dict(state.get("best", {}))
    if "error" in found or not is_better(around.setup, found["score"], best.get("score")):
        return best, None
    test = read_predictions(around.workspace / "candidates" / found["folder"], "test.csv")
    file = around.workspace / "submissions" / f"{found['folder']}.csv"
    failures = await write_checked(around, state, test, file)
    if failures:
        around.say(f"{name} gives no valid file ({failures[0].message})")
        return best, failures[0]
    write_atomically(around.run / "submission.csv", file.read_text())
    return {"name": name, "score": found["score"], "file": file.name, "maps": found["maps"]}, None


async def write_checked(around: Around, state: State, test: pd.DataFrame, file: Path) -> list[Failure]:
    """Test predictions as a checked submission file, by the accepted form."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if code := state.get("format_code"):
        failures, _ = await formed(around, around.workspace / "code" / code, test, file)
        return failures
    write_submission(test, around.setup, around.source.data, file)
    return check_submission(file, around.setup, around.source.data)


def note_score(
    work: Work, around: Around, stage: str, name: str, found: dict[str, Any], candidates: dict[str, Any],
    best: dict[str, Any],
) -> None:  # fmt: skip
    """A candidate's outcome as a step; its reward is what it gained over the first one."""
    setup = around.setup
    if "error" in found:
        evidence: tuple[Any, ...] = (StageTest(name=f"candidate {name}", passed=False, detail=found["error"][:500]),)
        work.note(Step(kind=f"{stage}.score", output=name, evidence=evidence,
                       verdict=Verdict(ok=False, rung=stage, reason=found["error"][:300])))  # fmt: skip
        around.say(f"{name}: failed, {found['error'][:160]}")
        return
    first_score = next((item["score"] for item in candidates.values() if "score" in item), found["score"])
    mark = "" if not best or not is_better(setup, found["score"], best.get("score")) else ", the best so far"
    score = Score(metric=setup.metric, value=found["score"], split="cv")
    work.note(Step(kind=f"{stage}.score", output=name, evidence=(score,), verdict=Verdict(ok=True, rung=stage),
                   reward=round(gain(setup, found["score"], first_score), 6)))  # fmt: skip
    around.say(f"{name}: {setup.metric} {found['score']:.5f} by cross-validation in {found['seconds']:.0f} s{mark}"
               f" · {max(around.clock.left, 0):.0f} s left")  # fmt: skip


def next_move(around: Around, state: State) -> str | Candidate | None:
    """What is tried next: a turn of the model (`features`, `solution`), a deterministic candidate, or nothing."""
    candidates, rounds = state.get("candidates", {}), state.get("rounds", {})
    limit = around.config.candidates
    if around.clock.left <= 0 or (limit is not None and len(candidates) >= limit):
        return None
    code = tried(state, CODE)
    waiting = [item for item in plan(around, around.setup)
               if not {item.name, f"{item.name}+features"} & set(candidates)]  # fmt: skip
    fitting = [item for item in waiting if item.seconds <= around.clock.left]
    if around.asker.open(setup=False):
        for part, turns in TURNS.items():
            done = rounds.get(part, 0)
            if done < len(turns) and (code >= turns[done] or not fitting):
                if part == "features" and not around.setup.tab:
                    continue
                return part
    return fitting[0] if fitting else None


async def solve(around: Around, state: State) -> Command[str]:
    """One candidate more; the graph keeps it and comes back, until time or ideas end."""
    move = next_move(around, state)
    if move is None:
        return Command(goto="ensemble")
    work = Work.on(state)
    candidates, rounds = dict(state["candidates"]), dict(state.get("rounds", {}))
    if isinstance(move, str):
        rounds[move] = rounds.get(move, 0) + 1
        make = features if move == "features" else solution
        back, name, found, extra = await make(around, state, work, rounds[move])
        if back:
            return go_back(state, back, work.update(rounds=rounds))
        if not name:
            return Command(goto="solve", update=work.update(rounds=rounds))
    else:
        accepted = state.get("features", "") if takes_features(move) else ""
        seconds = max(around.clock.left, 1.0)
        seconds = min(seconds, move.budget) if move.budget else seconds
        name, found = await run_candidate(around, state, move, seconds, accepted)
        extra = {}
    note_score(work, around, "solve", name, found, candidates, state.get("best", {}))
    candidates[name] = found
    best, failure = await better(around, state, name, found)
    update = work.update(candidates=candidates, rounds=rounds, best=best, **extra)
    if failure and state["accepted"].get("format") == MODEL:
        work.memory = remember(work.memory, failure.message, "format!", "error")
        return go_back(state, "format", update | {"memory": work.memory})
    return Command(goto="solve", update=update)


def takes_features(candidate: Candidate) -> bool:
    return candidate.kind.startswith(("lightgbm", "hist", "linear", "extra", "catboost"))


Made = tuple[str, str, dict[str, Any], dict[str, Any]]  # stage to go back to, name, candidate, further state


async def features(around: Around, state: State, work: Work, number: int) -> Made:
    """The model's features, kept where the baseline with them is better by cross-validation: in the mean, and in most
    folds."""
    base = plan(around, around.setup)[0]
    written = await write_code(around, state, work, "features", lambda folder: try_features(around, folder),
                               setup=False, number=10 * (number - 1))  # fmt: skip
    if written.folder is None:
        return written.back, "", {}, {}
    accepted = str(written.folder / "kept")
    candidate = Candidate(f"{base.name}-{written.folder.name}", base.kind, base.params, base.seconds)
    name, found = await run_candidate(around, state, candidate, min(4 * DRAFT_SECONDS, around.clock.left), accepted)
    before = state["candidates"].get(base.name) or next(iter(state["candidates"].values()))
    kept, reason = keeps(around.setup, found, before)
    reward = gain(around.setup, found["score"], before["score"]) if "score" in found and "score" in before else -1.0
    credit(around, written.key, reward)
    test = StageTest(name="features improve cross-validation", passed=kept, detail=reason)
    work.note(Step(kind="features.test", output=written.folder.name, evidence=(test,), reward=round(reward, 6),
                   verdict=Verdict(ok=kept, rung="features", reason=reason)))  # fmt: skip
    around.say(f"features of the model: {reason}")
    work.memory = remember(work.memory, f"features {'kept' if kept else 'not kept'}: {reason}", "features!")
    found["author"] = MODEL
    return "", name, found, {"features": accepted} if kept else {}


def keeps(setup: Setup, found: dict[str, Any], before: dict[str, Any]) -> tuple[bool, str]:
    """Whether features stay, and why."""
    if "error" in found or "score" not in before:
        return False, found.get("error", "there is no score to compare with")[:300]
    gained = gain(setup, found["score"], before["score"])
    pairs = list(zip(found["folds"], before["folds"], strict=False))
    wins = sum(gain(setup, one, other) > 0 for one, other in pairs)
    kept = gained > 0 and (not pairs or wins >= WINS * len(pairs))
    return kept, f"{setup.metric} {before['score']:.5f} → {found['score']:.5f}, better in {wins} of {len(pairs)} folds" \
                 f": {'kept' if kept else 'not kept'}"  # fmt: skip


def credit(around: Around, key: int | None, reward: float) -> None:
    if key is not None:
        around.long_term.credit(key, reward)


async def try_features(around: Around, folder: Path) -> tuple[list[Failure], Outcome | None]:
    """Run the code on all inputs without targets; its columns, read as files, go to FOLDER/kept."""
    import pandas as pd

    work = fresh(folder)
    given = {split: read_inputs(around.workspace, split) for split in ("train", "test")}
    for split, frame in given.items():
        save(frame, work / f"{split}.csv")
    outcome = await around.in_sandbox(HARNESS, "features", work=work, read=[], seconds=FEATURE_SECONDS)
    if failures := failure_of(outcome, "features"):
        return failures, outcome

    def wrong(message: str) -> tuple[list[Failure], Outcome]:
        return [Failure(test="features are columns", stage="features", message=message)], outcome

    made: dict[str, pd.DataFrame] = {}
    for split, frame in given.items():
        try:
            content = open_inside(work, f"{split}_features.csv", BYTES)
            made[split] = pd.read_csv(io.BytesIO(content), dtype={"id": str}, low_memory=False)
        except (UserError, OSError, ValueError) as error:
            return wrong(f"{split}_features.csv: {error}")
        if list(made[split]["id"]) != list(frame["id"]):
            return wrong(f"the ids of {split}_features.csv are not those of the inputs")
    names = [str(name) for name in made["train"].columns[1:]]
    if names != [str(name) for name in made["test"].columns[1:]]:
        return wrong(f"train and test have other columns: {names[:5]}, {list(made['test'].columns[1:6])}")
    if not names or len(names) > MOST_FEATURES:
        return wrong(f"{len(names)} columns: between 1 and {MOST_FEATURES} are taken")
    same = [name for name in names if name in given["train"].columns]
    if len(same) == len(names):
        return wrong(f"all columns, such as {same[0]}, are inputs already: return only new ones")
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    for split, frame in made.items():
        save(frame.drop(columns=same), kept / f"{split}_features.csv")
    return [], outcome


async def solution(around: Around, state: State, work: Work, number: int) -> Made:
    """The model's own fit_predict, fold by fold."""
    name = f"solution-{number}"
    each = max(min(around.clock.model_left(setup=False) / 8, 120.0), 5.0)
    written = await write_code(
        around, state, work, "solution", lambda folder: try_solution(around, state, folder, each), setup=False,
        values={"seconds": round(each)}, number=10 * (number - 1),
    )  # fmt: skip
    if written.folder is None:
        return written.back, "", {}, {}
    folder = around.workspace / "candidates" / f"{name}-{written.folder.name}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("oof.csv", "test.csv"):
        write_atomically(folder / file, (written.folder / file).read_text())
    found = await score_folder(around, state, folder)
    first_score = next(item["score"] for item in state["candidates"].values() if "score" in item)
    reward = gain(around.setup, found["score"], first_score) if "score" in found else -1.0
    credit(around, written.key, reward)
    work.memory = remember(work.memory, f"solution {number} scored {found.get('score')}, the baseline {first_score}",
                           "solution!")  # fmt: skip
    found |= {"author": MODEL, "folder": folder.name, "maps": maps_hash(around.workspace), "kind": "solution",
              "seconds": 0.0}  # fmt: skip
    return "", name, found, {}


async def try_solution(
    around: Around, state: State, folder: Path, seconds: float
) -> tuple[list[Failure], Outcome | None]:
    """Call the code once a fold and once for the test rows, each time in a folder with the targets of its training rows
    alone; its predictions, put together and checked, are FOLDER/oof.csv and test.csv."""
    import pandas as pd

    setup, truth = around.setup, read_targets(around.workspace)
    inputs, test = read_inputs(around.workspace, "train"), read_inputs(around.workspace, "test")
    parts = [(rows, inputs.iloc[rows]) for rows in by_fold(around)]
    oof, outcome = [], None
    for number, (rows, asked) in enumerate([*parts, (None, test)]):
        held = inputs.index.difference(rows) if rows is not None else inputs.index
        work = fresh(folder, f"fold-{number}")
        save(inputs.loc[held], work / "train.csv")
        save(truth.loc[held], work / "target.csv")
        save(asked, work / "test.csv")
        (work / "asked.json").write_text(
            json.dumps({"task": setup.task, "targets": setup.targets, "predicted": setup.predicted})
        )
        outcome = await around.in_sandbox(HARNESS, "solution", work=work, read=image_folders(around), seconds=seconds)
        if failures := failure_of(outcome, "solution"):
            return failures, outcome
        try:
            frame = read_predictions(work, "predictions.csv")
        except (UserError, OSError, ValueError) as error:
            return [Failure(test="predictions are a file", stage="solution", message=str(error)[:500])], outcome
        split = "oof" if rows is not None else "test"
        if failures := check_predictions(frame, setup, list(asked["id"]), split):  # type: ignore[arg-type]
            return [item.model_copy(update={"stage": "solution"}) for item in failures], outcome
        if rows is None:
            save(frame, folder / "test.csv")
        else:
            oof.append(frame)
    joined = pd.concat(oof).set_index("id").loc[list(truth["id"])].reset_index()
    save(joined, folder / "oof.csv")
    return [], outcome


def image_folders(around: Around) -> list[Path]:
    """What of data/ a solution may read: folders of images, never the tables, which hold all targets."""
    if not around.setup.img:
        return []
    return [path for path in sorted(around.source.data.iterdir()) if path.is_dir()]


async def ensemble(around: Around, state: State) -> Command[str]:
    """The candidates blended on their out-of-fold predictions; taken where nested cross-validation says it is better."""
    import asyncio

    from agentkd.agents.agent_k.blend import best_blend

    work = Work.on(state)
    setup, truth = around.setup, read_targets(around.workspace)
    good = {name: item for name, item in state["candidates"].items() if "score" in item and item["kind"] != "constant"}
    best = dict(state.get("best", {}))
    if len(good) < 2 or state.get("metric_code"):
        return Command(goto="validate", update=work.update(best=best))
    root = around.workspace / "candidates"
    frames = {name: (read_predictions(root / item["folder"], "oof.csv"),
                     read_predictions(root / item["folder"], "test.csv")) for name, item in good.items()}  # fmt: skip
    import pandas as pd

    folds = pd.read_csv(around.workspace / "maps" / "folds.csv", dtype={"id": str})
    blend = await asyncio.to_thread(best_blend, setup, truth, folds, frames, seed=around.config.seed)
    folder = root / f"blend-{maps_hash(around.workspace)}"
    folder.mkdir(exist_ok=True)
    save(blend.oof, folder / "oof.csv")
    save(blend.test, folder / "test.csv")
    found = {"author": CODE, "folder": folder.name, "maps": maps_hash(around.workspace), "kind": "blend",
             "score": blend.score, "folds": [], "seconds": 0.0}  # fmt: skip
    note_score(work, around, "ensemble", "blend", found, state["candidates"], best)
    best, _ = await better(around, state, "blend", found)
    return Command(goto="validate", update=work.update(best=best, blend={"kind": blend.kind, "weights": blend.weights,
                                                                          "score": blend.score}))  # fmt: skip
