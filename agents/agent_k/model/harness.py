"""Run model-written code inside the sandbox: `python -m agentkd.agents.agent_k.model.harness PART`.

The folder holds code.py and the part's inputs. The one function that the code has to define is called, and its result
is written to files. The code shares this process, so the caller trusts nothing here: results are read as files,
checked, and scored outside; the targets that a solution is scored on are not in the folder.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FUNCTIONS = {
    "maps": "make_maps",
    "metric": "metric",
    "format": "format_submission",
    "features": "features",
    "solution": "fit_predict",
}
MAPS = [f"{split}_{name}_input_map" for split in ("train", "test") for name in ("tab", "txt", "img")]


def main(part: str, data: str = "") -> None:
    import pandas as pd

    namespace = runpy.run_path("code.py")
    function = namespace.get(FUNCTIONS[part])
    if not callable(function):
        raise SystemExit(f"the code does not define {FUNCTIONS[part]}")
    {"maps": maps, "metric": metric, "format": form, "features": features, "solution": solution}[part](
        function, pd, data
    )


def typed(pd: Any, name: str) -> Any:
    return pd.read_csv(name, dtype={"id": str}, low_memory=False)


def maps(function: Callable[..., Any], pd: Any, data: str) -> None:
    made = function(Path(data))
    if not isinstance(made, dict):
        raise SystemExit(f"make_maps gave {type(made).__name__}, not a dict of DataFrames")
    for name, frame in made.items():
        key = name if str(name).endswith("_input_map") else f"{name}_input_map"
        if key not in MAPS or not isinstance(frame, pd.DataFrame):
            raise SystemExit(f"make_maps gave {name!r}: {type(frame).__name__}; the keys are {', '.join(MAPS)}")
        frame.to_csv(f"{key}.csv", index=False)


def metric(function: Callable[..., Any], pd: Any, data: str) -> None:
    values = []
    for path in sorted(Path().glob("predictions-*.csv")):
        values.append(float(function(typed(pd, "truth.csv"), typed(pd, str(path)))))
    Path("values.json").write_text(json.dumps(values))


def form(function: Callable[..., Any], pd: Any, data: str) -> None:
    sample = pd.read_csv("sample.csv", dtype=str, keep_default_na=False)
    function(typed(pd, "predictions.csv"), sample).to_csv("submission.csv", index=False)


def features(function: Callable[..., Any], pd: Any, data: str) -> None:
    given = {split: typed(pd, f"{split}.csv") for split in ("train", "test")}
    ids = {split: frame["id"].copy() for split, frame in given.items()}
    made = dict(zip(("train", "test"), function(given["train"], given["test"]), strict=True))
    for split, frame in made.items():
        if len(frame) != len(ids[split]):
            raise SystemExit(f"features of {split} have {len(frame)} rows, not {len(ids[split])}")
        frame = pd.DataFrame(frame).drop(columns="id", errors="ignore").reset_index(drop=True)
        frame.insert(0, "id", list(ids[split]))
        frame.to_csv(f"{split}_features.csv", index=False)


def solution(function: Callable[..., Any], pd: Any, data: str) -> None:
    asked = json.loads(Path("asked.json").read_text())
    train, test, target = typed(pd, "train.csv"), typed(pd, "test.csv"), pd.read_csv("target.csv", dtype={"id": str})
    ids = test["id"].copy()
    names = asked["targets"]
    wanted = target[names[0]] if len(names) == 1 else target[names]
    if asked["task"] in ("binary", "multiclass"):
        wanted = wanted.astype(str)
    frame = predictions(function(train, wanted, test), asked, pd)
    frame.insert(0, "id", list(ids))
    frame.to_csv("predictions.csv", index=False)


def predictions(made: Any, asked: dict[str, Any], pd: Any) -> Any:
    """Arrange the result of fit_predict in the contract's columns. It may be a frame with these columns, an array
    (rows, columns), labels, or the probability of the positive class."""
    import numpy as np

    columns = asked["predicted"]
    if isinstance(made, pd.DataFrame) and set(map(str, made.columns)) >= set(columns):
        return made.rename(columns=str)[columns].reset_index(drop=True)
    values = np.asarray(made)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.shape[1] == len(columns):
        return pd.DataFrame(values, columns=columns)
    if values.ndim == 1 and asked["task"] in ("binary", "multiclass"):
        labels = [str(value) for value in values]
        if set(labels) <= set(columns):
            return pd.DataFrame({name: [float(label == name) for label in labels] for name in columns})
        if asked["task"] == "binary":
            positive = values.astype(float)
            return pd.DataFrame({columns[0]: 1 - positive, columns[1]: positive})
    if values.ndim == 1 and len(columns) == 1:
        return pd.DataFrame({columns[0]: values})
    raise SystemExit(f"fit_predict gave shape {values.shape}, not (rows, {len(columns)}): one column each of {columns}")


if __name__ == "__main__":
    main(*sys.argv[1:])
