"""Read and write the files of a workspace, each whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentkd.agents.agent_k.contract import Setup
from agentkd.errors import UserError, WorldError
from agentkd.runs.disk import write_atomically

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


def read_csv(path: Path, *, text: bool = False, only: list[str] | None = None) -> pd.DataFrame:
    """Read a CSV file, or the columns `only` of it, with `id` as text.

    With `text` all columns are text, and an empty field is "". Raises UserError if it cannot be read."""
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
    """Write a prediction file. Raises UserError for values that are not finite."""
    import pandas as pd

    if not np.isfinite(values).all():
        raise UserError(f"{path.name}: {int((~np.isfinite(values)).sum())} predicted values are not finite")
    frame = pd.DataFrame({"id": ids} | {name: values[:, i] for i, name in enumerate(setup.predicted)})
    write_atomically(path, frame.to_csv(index=False))


def save_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV."""
    write_atomically(path, _join_plain_cells(frame) or frame.to_csv(index=False))


def _join_plain_cells(frame: pd.DataFrame) -> str:
    """The CSV of a table of text whose cells need no quotes, as pandas writes it; "" for any other.

    pandas takes ten times as long, which counts for thousands of columns."""
    import pandas as pd

    if frame.shape[1] < 2 or not all(isinstance(kind, pd.StringDtype) for kind in frame.dtypes):
        return ""
    names = [str(name) for name in frame.columns]
    try:
        lines = [",".join(names), *map(",".join, zip(*(frame[name].tolist() for name in frame), strict=True))]
    except TypeError:  # a gap
        return ""
    text = "\n".join(lines) + "\n"
    plain = text.count(",") == len(lines) * (len(names) - 1) and text.count("\n") == len(lines)
    return text if plain and '"' not in text and "\r" not in text else ""


def save_setup(setup: Setup, workspace: Path) -> None:
    """Write maps/setup.json."""
    write_atomically(workspace / "maps" / "setup.json", setup.model_dump_json(indent=1) + "\n")


def read_targets(workspace: Path) -> pd.DataFrame:
    """The target map: `id` and targets as strings, in the words of the training table."""
    return read_csv(workspace / "maps" / "train_target_map.csv", text=True)
