"""A workspace as arrays: the inputs of training and test rows, the true values, and the folds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup, map_file, read_setup
from agentkd.agents.agent_k.scoring.truth import encode_targets
from agentkd.agents.agent_k.workspace.files import read_csv
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CompetitionData:
    """The maps and folds of a workspace, read when they are first asked for.

    `features` is an optional folder with train_features.csv and test_features.csv, whose columns join the tabular ones.
    """

    workspace: Path
    setup: Setup
    features: Path | None = None

    @cached_property
    def targets(self) -> pd.DataFrame:
        """The target map as text."""
        return read_csv(self.workspace / "maps" / "train_target_map.csv", text=True)

    @cached_property
    def y(self) -> Array:
        """The true values (see `encode_targets`); rows without one are only predicted."""
        return encode_targets(self.setup, self.targets)

    @cached_property
    def fold(self) -> npt.NDArray[np.int64]:
        """The fold of each training row."""
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
        """The ids of the test rows, in the maps' order."""
        for modality in ("tab", "txt", "img"):
            if (path := map_file(self.workspace, "test", modality)).exists():
                return list(read_csv(path, only=["id"])["id"])
        raise UserError(f"{self.workspace}/maps has no test input map: set the competition up again")

    @cached_property
    def ids(self) -> dict[str, list[str]]:
        """The ids of the rows that a candidate predicts, by its files: `oof` and `test`."""
        return {"oof": list(self.targets["id"]), "test": self.test_ids}

    def inputs(self, modality: str) -> pd.DataFrame:
        """The columns of a modality, train rows then test rows; no columns where there is no map."""
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


def load_data(workspace: Path, features: Path | None = None) -> CompetitionData:
    """Open a workspace. Raises UserError for a folder that is none."""
    try:
        setup = read_setup(workspace)
    except FileNotFoundError:
        raise UserError(f"{workspace} is no workspace: it has no maps/setup.json") from None
    return CompetitionData(workspace, setup, features)


def rows_by_fold(data: CompetitionData) -> list[Array]:
    """The positions of each fold's training rows."""
    return [np.flatnonzero(data.fold == number) for number in np.unique(data.fold)]
