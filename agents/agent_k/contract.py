"""The facts of a competition, a failed test, and the files of a workspace: shared by all rooms.

A workspace is a folder of the run:

    data/                            the files that a competitor downloads, read-only
    plain/, form.json                plain tables made of them, and how (reshape/), where they need it
    folds.csv                        the user's own folds, where he gives a file: `id`, `fold`
    maps/setup.json                  the Setup
    maps/train_tab_input_map.csv     `id` and the tabular columns; likewise test_tab_input_map.csv
    maps/train_txt_input_map.csv     `id` and the text columns
    maps/train_img_input_map.csv     `id` and columns of image paths, relative to data/
    maps/train_target_map.csv        `id` and the target columns, spelt as in the training table
    maps/folds.csv                   `id`, `fold` (0 … k-1): the same folds for every candidate
    candidates/NAME/                 spec.json, log.txt, oof.csv and test.csv of one candidate
    code/STAGE-HASH/                 code.py of the model, and checked results of it
    submissions/                     files in the sample submission's form

Code in the sandbox writes to a folder of its own below candidates/NAME or code/STAGE-HASH (work, fold-0, …) and nowhere
else. What lies there is read through `border`, and nothing of ours is written there while or after code runs.

`id` is a string everywhere (read with dtype=str: "007" stays "007"). The rows of all train maps are in one order, and
those of all test maps in the order of the sample submission. Only maps that hold something exist. Anything else called
`id` is renamed: an input column to `id (column)`, a class to `id (class)`.

A prediction file (oof.csv, test.csv) has `id` and the columns `Setup.predicted`: one probability per class (binary,
multiclass) or per target (multilabel), or the value of each target (regression). oof.csv has one row per training id,
predicted by a model that has not seen it, and test.csv one row per test id, both in the order of the maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from agentkd.errors import UserError
from agentkd.runs.untrusted import METRICS_BYTES, read_small
from agentkd.trace import Frozen, StageTest

TaskKind = Literal["binary", "multiclass", "multilabel", "regression"]
Output = Literal["label", "probability", "value"]
MODALITIES = ("tab", "txt", "img")
PLAIN, FORM = "plain", "form.json"  # of a workspace whose tables were reshaped
MESSAGE = 1500  # characters of a failure's message: it goes into the trace and into prompts
SHOWN_NAME = 60  # characters of a name in a message
SHOWN = 10  # names in a message
# Controls but for line ends and tabs, signs that are not seen or turn the line around, and halves of surrogate pairs.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Setup(Frozen):
    """The facts of a competition. Paths are relative to data/, names as in the files' headers."""

    train: str  # a table, or a folder of images that are named or sorted by class
    labels: str = ""  # the table of the training targets, if the training table has none
    test: str
    sample: str
    id: str  # the sample submission's column of ids
    called: str = ""  # the name of that column in the test and training tables, if it differs
    targets: tuple[str, ...]  # columns of the training table to predict
    outputs: tuple[str, ...]  # columns of the sample submission without the id, in its order
    task: TaskKind
    classes: tuple[str, ...] = ()  # binary, multiclass: the target's values as strings, sorted; binary: positive last
    spelling: tuple[str, ...] = ()  # the classes as a submission spells them; () as training table or sample do
    renamed: dict[str, str] = Field(default_factory=dict)  # headers of the training table → of the test table
    tags: str = ""  # multilabel: the column of the training table whose cells hold several tags
    mark: str = " "  # between the tags of a cell
    sums: bool = False  # the values of a row of the submission sum to one, and targets are shares of their row
    quantiles: tuple[float, ...] = ()  # the levels of the targets, where these are quantiles of one number
    costs: tuple[float, float] | None = None  # binary: of a missed positive row, of a needless positive label
    whole: bool = False  # values are whole numbers
    low: float | None = None  # the least value that may be sent
    high: float | None = None
    output: Output  # what the submission holds: labels, probabilities, or values
    top: int = 1  # classes in a cell of the submission, the likeliest first
    metric: str  # a name in `METRICS` of scoring/metrics.py, or "code": workspace/metric.py
    lower_is_better: bool
    tab: tuple[str, ...] = ()  # tabular input columns
    txt: tuple[str, ...] = ()  # text input columns
    img: tuple[str, ...] = ()  # columns of image paths, which the maps add
    later: str = ""  # the column of time by which all test rows are later than the training rows
    group: str = ""  # the user's column of the training table whose rows of one value stay in one fold
    time: str = ""  # the user's column of the training table by which folds are blocks
    folds: int = 5  # 0 for those of the user's file, folds.csv of the workspace

    @property
    def predicted(self) -> tuple[str, ...]:
        """The columns of a prediction file after `id`."""
        if self.task not in ("binary", "multiclass"):
            return self.targets
        return tuple("id (class)" if name == "id" else name for name in self.classes)


class Failure(Frozen):
    """A unit test of a stage that was not passed."""

    test: str
    stage: str  # at fault: where the run goes back to
    message: str  # the fault, and the right form; cleaned and clipped, since it may quote what code has left

    @field_validator("message")
    @classmethod
    def _clean(cls, message: str) -> str:
        return clip(_UNSEEN.sub("\ufffd", message), MESSAGE)

    @property
    def evidence(self) -> StageTest:
        return StageTest(name=self.test, passed=False, detail=self.message)


def passed_test(name: str, detail: str = "") -> StageTest:
    return StageTest(name=name, passed=True, detail=detail)


def clip(text: str, limit: int) -> str:
    """A text cut to its beginning and its end, about `limit` characters together."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    return f"{text[:head]}\n[… {len(text) - limit} characters left out …]\n{text[head - limit :]}"


def show_name(name: object) -> str:
    """A name that others chose (an id, a column, a class) for a message: short, and escaped where it needs it."""
    text = str(name)
    if len(text) <= SHOWN_NAME and text.isprintable() and text == text.strip() != "":
        return text
    shown = repr(text[: SHOWN_NAME + 1])
    return shown if len(shown) <= SHOWN_NAME + 2 else f"{shown[:SHOWN_NAME]}…'"


def list_names(names: Iterable[object]) -> str:
    """The first of several names for a message, in their order."""
    shown = [show_name(name) for name, _ in zip(names, range(SHOWN + 1), strict=False)]
    return ", ".join(shown[:SHOWN]) + (" …" if len(shown) > SHOWN else "")


def map_file(workspace: Path, split: str, modality: str) -> Path:
    """The map of a split (train, test) and one of MODALITIES."""
    return workspace / "maps" / f"{split}_{modality}_input_map.csv"


def find_plain(workspace: Path) -> Path | None:
    """The folder of the plain tables; None where the competition's own files are read."""
    return workspace / PLAIN if (workspace / FORM).exists() else None


def read_setup(workspace: Path) -> Setup:
    """Read the accepted set-up of a workspace. Raises UserError where it is damaged."""
    path = workspace / "maps" / "setup.json"
    try:
        return Setup.model_validate_json(read_small(path, METRICS_BYTES))
    except ValueError:
        raise UserError(f"{path} is damaged: remove the run's checkpoints.sqlite, then it begins anew") from None
