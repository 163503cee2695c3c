"""A first valid file of a large competition, before maps and folds are made: a constant in every row."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Setup
from agentkd.agents.agent_k.scoring.truth import encode_targets, predict_constant
from agentkd.agents.agent_k.understand.tables import read_table
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.checks import check_submission
from agentkd.agents.agent_k.workspace.maps import read_training_rows
from agentkd.agents.agent_k.workspace.submission_file import write_submission
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

LARGE = 1_000_000  # cells of the training table, whose maps take seconds


def write_first_file(bench: Workbench, setup: Setup) -> None:
    """Put the class priors, or the median, into submission.csv, where the training table is large.

    A file that cannot be written so is left to the stages that test the form, and say what is wrong."""
    with suppress(UserError, KeyError, ValueError):
        train = read_training_rows(setup, bench.data)
        if train.size < LARGE or (bench.folder / "submission.csv").exists():
            return
        file = bench.workspace / "submissions" / "first.csv"
        write_submission(repeat_constant(setup, train, bench), setup, bench.data, file)
        if not check_submission(file, setup, bench.data):
            bench.publish(file)
            bench.say(f"constant: a first valid file after {bench.clock.elapsed:.0f} s")


def repeat_constant(setup: Setup, train: pd.DataFrame, bench: Workbench) -> pd.DataFrame:
    """The best constant prediction of every row that the sample submission asks for."""
    import pandas as pd

    values = predict_constant(setup, encode_targets(setup, train[list(setup.targets)]))
    ids = read_table(bench.data / setup.sample, text=True)[setup.id]
    return pd.DataFrame({"id": ids} | dict(zip(setup.predicted, values, strict=True)))
