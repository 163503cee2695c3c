"""The facts of a competition, a failed test, and the files of a workspace: shared by all rooms.

A workspace is a folder of the run:

    data/                            the files that a competitor downloads, read-only
    maps/setup.json                  the Setup
    maps/train_tab_input_map.csv     `id` and the tabular columns; likewise test_tab_input_map.csv
    maps/train_txt_input_map.csv     `id` and the text columns
    maps/train_img_input_map.csv     `id` and columns of image paths, relative to data/
    maps/train_target_map.csv        `id` and the target columns, spelt as in the training table
    maps/folds.csv                   `id`, `fold` (0 … k-1): the same folds for every candidate
    candidates/NAME/                 spec.json, oof.csv, test.csv and log.txt of one candidate
    code/STAGE-HASH/                 code.py of the model, and the files that it wrote
    submissions/                     files in the sample submission's form

`id` is a string everywhere (read with dtype=str: "007" stays "007"). The rows of all train maps are in one order, and
those of all test maps in the order of the sample submission. Only maps that hold something exist. Anything else called
`id` is renamed: an input column to `id (column)`, a class to `id (class)`.

A prediction file (oof.csv, test.csv) has `id` and the columns `Setup.predicted`: one probability per class (binary,
multiclass) or per target (multilabel), or the value of each target (regression). oof.csv has one row per training id,
predicted by a model that has not seen it, and test.csv one row per test id, both in the order of the maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from agentkd.trace import Frozen, StageTest

TaskKind = Literal["binary", "multiclass", "multilabel", "regression"]
Output = Literal["label", "probability", "value"]
MODALITIES = ("tab", "txt", "img")


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
    output: Output  # what the submission holds: labels, probabilities, or values
    top: int = 1  # classes in a cell of the submission, the likeliest first
    metric: str  # a name in `METRICS` of scoring/metrics.py, or "code": workspace/metric.py
    lower_is_better: bool
    tab: tuple[str, ...] = ()  # tabular input columns
    txt: tuple[str, ...] = ()  # text input columns
    img: tuple[str, ...] = ()  # columns of image paths, which the maps add

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
    message: str  # the fault, and the right form

    @property
    def evidence(self) -> StageTest:
        return StageTest(name=self.test, passed=False, detail=self.message)


def passed_test(name: str, detail: str = "") -> StageTest:
    return StageTest(name=name, passed=True, detail=detail)


def map_file(workspace: Path, split: str, modality: str) -> Path:
    """The map of a split (train, test) and one of MODALITIES."""
    return workspace / "maps" / f"{split}_{modality}_input_map.csv"


def read_setup(workspace: Path) -> Setup:
    """Read the accepted set-up of a workspace."""
    return Setup.model_validate_json((workspace / "maps" / "setup.json").read_text())
