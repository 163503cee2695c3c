"""A finished run, opened for what comes after it: new rows, a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkd.agents.agent_k.competition.source import Source, local_source, parse_competition
from agentkd.agents.agent_k.contract import Setup, find_plain, read_setup
from agentkd.agents.agent_k.results import MODEL, Scored, read_result
from agentkd.agents.agent_k.scoring.blend import Blend, best_blend
from agentkd.agents.agent_k.solvers.boosting_search import AVERAGED, FOUND
from agentkd.agents.agent_k.solvers.cross_fit import CUT
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets
from agentkd.config import KaggleConfig
from agentkd.errors import UserError, WorldError
from agentkd.runs.read import is_complete, read_config, read_metrics
from agentkd.runs.shapes import CompetitionFigures
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small

if TYPE_CHECKING:
    import pandas as pd

SEARCH = "lightgbm-tuned"


@dataclass(frozen=True)
class FinishedRun:
    """A complete run, and its candidates with a score."""

    folder: Path
    config: KaggleConfig
    setup: Setup
    best: str
    score: float
    blend: Mapping[str, Any]
    scored: Mapping[str, Scored]

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @cached_property
    def source(self) -> Source:
        """The competition's files and pages; those of a local one where its folder is, as the link may be a stranger's.

        Raises UserError where source.json of one on Kaggle is damaged."""
        where = parse_competition(self.config.competition)
        if isinstance(where, Path):
            return local_source(where)
        path = self.folder / "source.json"
        try:
            return Source(**parse_json(read_small(path, METRICS_BYTES)) | {"data": self.workspace / "data"})
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}): run the competition again") from None

    @property
    def is_reshaped(self) -> bool:
        """Whether plain tables were made of the competition's."""
        return find_plain(self.workspace) is not None

    @property
    def data(self) -> Path:
        """The tables that the run has read: the competition's own, or the plain ones made of them."""
        return find_plain(self.workspace) or self.source.data

    @property
    def is_stack(self) -> bool:
        """Whether the best solution is a stack, which asks all candidates and has no weights."""
        return self.best == "blend" and not self.blend.get("weights")

    @property
    def chosen(self) -> dict[str, bool]:
        """The candidates of the best solution → whether they are trained again; the others have no weight in it."""
        if self.best != "blend":
            return {self.best: True}
        names = [name for name, item in self.scored.items() if item.kind not in ("constant", "blend")]
        weights = dict.fromkeys(names, 1.0) if self.is_stack else self.blend["weights"]
        return {name: name in weights for name in names}


def open_run(folder: Path) -> FinishedRun:
    """Open a finished run.

    Raises UserError for one that is not, and for a solution that needs code of the model or the user."""
    if not is_complete(folder):
        raise UserError(f"{folder} is no finished run of Agent K: finish it with agentkd kaggle run, --out {folder}")
    done = read_metrics(folder, CompetitionFigures)
    results = {name: read_result(values) for name, values in done["candidates"].items()}
    scored = {name: item for name, item in results.items() if isinstance(item, Scored)}
    config = KaggleConfig.model_validate(
        {name: value for name, value in read_config(folder).items() if name in KaggleConfig.model_fields}
    )
    run = FinishedRun(
        folder, config, read_setup(folder / "workspace"), done["best"], done["score"], done["blend"], scored
    )
    by_model = [part for part in ("maps", "format", "metric") if done["accepted"].get(part) == MODEL]
    by_model += [name for name, wanted in run.chosen.items() if wanted and name.endswith("+features")]
    by_model += [name for name in run.chosen if name in scored and scored[name].author == MODEL]
    if run.config.features and any(name.endswith("+features") for name in run.chosen):
        raise UserError(
            f"the solution of {folder} has the features of {run.config.features}, which only the run itself makes: run "
            f"the competition without features="
        )
    if by_model:
        raise UserError(
            f"the solution of {folder} has code of the model ({by_model[0]}), which only the run itself runs: "
            f"run the competition with --teacher none"
        )
    return run


def read_spec(run: FinishedRun, name: str) -> dict[str, Any]:
    """How a candidate is trained again: without a clock, where that of the run has changed nothing.

    Parameters that a search has found are not searched again. Raises UserError where a file is damaged."""
    path = run.workspace / "candidates" / run.scored[name].folder / "spec.json"
    try:
        spec: dict[str, Any] = parse_json(read_small(path, METRICS_BYTES))
        spec = {key: spec[key] for key in ("kind", "params", "seed", "threads", "seconds")}
        log = read_small(path.with_name("log.txt"), METRICS_BYTES).decode(errors="replace").splitlines()
        places = [place for place, line in enumerate(log) if line.startswith(FOUND)]
        averaged = [int(line.removeprefix(AVERAGED)) for line in log if line.startswith(AVERAGED)]
        if spec["kind"] == SEARCH and len(places) == len(averaged) == 1:
            found = parse_json(log[places[0]].removeprefix(FOUND).encode())
            spec |= {"kind": "lightgbm", "params": found | {"seeds": averaged[0]}}
            log = log[places[0] :]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path.parent} is damaged ({error}): run the competition again") from None
    return spec if any(line.startswith(CUT) for line in log) else spec | {"seconds": None}


def blend_again(run: FinishedRun, found: Mapping[str, pd.DataFrame]) -> Blend:
    """The run's blend, fitted again on its out-of-fold predictions, which gives the same one, over the predictions
    `found` of other rows. A candidate that is not among them has no weight."""
    blank = next(iter(found.values()))
    frames = {}
    for name in run.chosen:
        oof = read_csv(run.workspace / "candidates" / run.scored[name].folder / "oof.csv")
        frames[name] = oof, found.get(name, blank)  # what has no weight is multiplied by zero
    folds = read_csv(run.workspace / "maps" / "folds.csv")
    blend = best_blend(run.setup, read_targets(run.workspace), folds, frames, seed=run.config.seed)
    if blend.kind != run.blend.get("kind"):
        raise WorldError(f"the blend is now {blend.kind}, and was {run.blend.get('kind')}: run the competition again")
    return blend
