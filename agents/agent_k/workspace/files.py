"""A workspace as arrays: inputs of the training and the test rows, the truth, and the folds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup, map_file, read_setup
from agentkd.agents.agent_k.scoring.scorer import true_values
from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import write_atomically

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Data:
    """`inputs(modality)` are the train rows, then the test rows, in the maps' order; `features` is an optional folder
    with train_features.csv and test_features.csv, whose columns join the tabular ones."""

    workspace: Path
    setup: Setup
    features: Path | None = None

    @cached_property
    def targets(self) -> pd.DataFrame:
        return read_csv(self.workspace / "maps" / "train_target_map.csv", text=True)

    @cached_property
    def y(self) -> Array:
        """As `scoring.true_values`; what has no true value is predicted, and not learned from."""
        return true_values(self.setup, self.targets)

    @cached_property
    def fold(self) -> npt.NDArray[np.int64]:
        path = self.workspace / "maps" / "folds.csv"
        frame = read_csv(path)
        if list(frame["id"]) != list(self.targets["id"]):
            raise UserError(f"{path} has other ids than train_target_map.csv: make the folds again")
        return frame["fold"].to_numpy(dtype=np.int64)

    @property
    def n_train(self) -> int:
        return len(self.targets)

    @cached_property
    def test_ids(self) -> list[str]:
        for modality in ("tab", "txt", "img"):
            if (path := map_file(self.workspace, "test", modality)).exists():
                return list(read_csv(path, only=["id"])["id"])
        raise UserError(f"{self.workspace}/maps has no test input map: set the competition up again")

    def inputs(self, modality: str) -> pd.DataFrame:
        """Columns of a modality without `id`, `(train + test rows)`; no columns where the map does not exist."""
        import pandas as pd

        halves = []
        for split, ids in (("train", list(self.targets["id"])), ("test", self.test_ids)):
            half = pd.DataFrame(index=range(len(ids)))
            if (path := map_file(self.workspace, split, modality)).exists():
                half = self._same_rows(read_csv(path, text=modality != "tab"), ids, path)
            if modality == "tab" and self.features is not None:
                path = self.features / f"{split}_features.csv"
                extra = self._same_rows(read_csv(path), ids, path)
                half = pd.concat([half, extra.rename(columns={n: f"{n} feature" for n in extra if n in half})], axis=1)
            halves.append(half)
        train, test = halves
        shared = [name for name in train.columns if name in test.columns]
        return pd.concat([train[shared], test[shared]], ignore_index=True)

    def _same_rows(self, frame: pd.DataFrame, ids: list[str], path: Path) -> pd.DataFrame:
        if list(frame["id"]) != ids:
            if set(frame["id"]) != set(ids) or len(frame) != len(ids):
                raise UserError(f"{path} has other ids than the other maps: it needs each of the {len(ids)} ids once")
            frame = frame.set_index("id").loc[ids].reset_index()
        return frame.drop(columns="id")


def read_csv(path: Path, *, text: bool = False, only: list[str] | None = None) -> pd.DataFrame:
    """A CSV file, or these columns of it, with `id` as text; all columns as text with `text`, where an empty field is
    "". UserError if it cannot be read."""
    import pandas as pd

    try:
        if text:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=only)
        else:
            frame = pd.read_csv(path, dtype={"id": str}, low_memory=False, usecols=only)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: set the competition up again") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV file ({str(error).splitlines()[0]}): write it again") from None
    except OSError as error:
        raise WorldError(f"cannot read {path}: {error.strerror}") from None
    if "id" not in frame.columns:
        raise UserError(f"{path} has no column 'id'")
    return frame.assign(id=frame["id"].astype(str))


def write_predictions(path: Path, setup: Setup, ids: list[str], values: Array) -> None:
    """A prediction file, complete or absent. UserError for values that are not finite."""
    import pandas as pd

    if not np.isfinite(values).all():
        raise UserError(f"{path.name}: {int((~np.isfinite(values)).sum())} predicted values are not finite")
    frame = pd.DataFrame({"id": ids} | {name: values[:, i] for i, name in enumerate(setup.predicted)})
    write_atomically(path, frame.to_csv(index=False))


def load(workspace: Path, features: Path | None = None) -> Data:
    try:
        setup = read_setup(workspace)
    except FileNotFoundError:
        raise UserError(f"{workspace} is no workspace: it has no maps/setup.json") from None
    return Data(workspace, setup, features)


def rows_by_fold(workspace: Path) -> list[Array]:
    """The training rows of each fold, as positions."""
    fold = load(workspace).fold
    return [np.flatnonzero(fold == number) for number in np.unique(fold)]
