"""What the set-up stages find out about a competition, and the files that hold it for all later stages.

A workspace is a folder of the run:

    data/                            what a competitor downloads (only read)
    maps/setup.json                  the Setup
    maps/train_tab_input_map.csv     `id` and the tabular columns; likewise test_tab_input_map.csv
    maps/train_txt_input_map.csv     `id` and the text columns
    maps/train_img_input_map.csv     `id` and columns of image paths, relative to data/
    maps/train_target_map.csv        `id` and the target columns, in the words of the training table
    maps/folds.csv                   `id`, `fold` (0 … k-1): the same folds for every candidate
    candidates/NAME/                 spec.json, oof.csv, test.csv, log.txt and score.json of one solution
    submissions/                     files in the sample submission's form

`id` is a string everywhere (read with dtype=str: "007" stays "007"), rows of all train maps are in one order, and so
are those of all test maps, which have the order of the sample submission. Only maps that hold something exist. What is
called `id` and is not the id has another name: an input column `id (column)`, a class `id (class)`.

A prediction file (oof.csv, test.csv) has `id` and the columns `Setup.predicted`: one probability for each class
(binary, multiclass), for each target (multilabel), or the value of each target (regression). oof.csv has one row for
each training id, predicted by a model that has not seen it; test.csv one for each test id; in the maps' order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from agentkd.trace import Frozen

TaskKind = Literal["binary", "multiclass", "multilabel", "regression"]
Output = Literal["label", "probability", "value"]
MODALITIES = ("tab", "txt", "img")


class Setup(Frozen):
    """The facts. Paths are relative to data/, names are those of the files' own headers."""

    train: str  # a table, or a folder of images that are named or sorted by their class
    labels: str = ""  # the table of the training rows' targets, where the training table has none
    test: str
    sample: str
    id: str  # the sample submission's column of ids
    called: str = ""  # what the test and training tables call that column, where they call it otherwise
    targets: tuple[str, ...]  # columns of the training table to be predicted
    outputs: tuple[str, ...]  # columns of the sample submission beside the id, in its order
    task: TaskKind
    classes: tuple[str, ...] = ()  # binary, multiclass: the target's values as strings, sorted; binary: positive last
    output: Output  # what the submission holds: labels, probabilities, or values
    top: int = 1  # classes that a cell of the submission holds, the likeliest first
    metric: str  # a name in scoring.METRICS, or "code": workspace/metric.py
    lower_is_better: bool
    tab: tuple[str, ...] = ()  # tabular input columns
    txt: tuple[str, ...] = ()  # text input columns
    img: tuple[str, ...] = ()  # columns of image paths, made by the maps

    @property
    def predicted(self) -> tuple[str, ...]:
        """The columns of a prediction file beside `id`."""
        if self.task not in ("binary", "multiclass"):
            return self.targets
        return tuple("id (class)" if name == "id" else name for name in self.classes)


def map_file(workspace: Path, split: str, modality: str) -> Path:
    """The map of a split (train, test) and one of MODALITIES."""
    return workspace / "maps" / f"{split}_{modality}_input_map.csv"


def read_setup(workspace: Path) -> Setup:
    return Setup.model_validate_json((workspace / "maps" / "setup.json").read_text())
