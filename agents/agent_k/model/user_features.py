"""Features of the user's own: a file with `features(table)`, run in the sandbox on all inputs without targets."""

from __future__ import annotations

from agentkd.agents.agent_k.model.trials import try_features
from agentkd.agents.agent_k.model.user_file import keep_code, read_user_file
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.files import read_csv
from agentkd.errors import UserError

PREFIX = "user-features-"  # of the folder of its code
_CALL = """


_of_table = features


def features(train, test):
    import pandas

    table = pandas.concat([train, test], ignore_index=True)
    made = _of_table(table.copy())
    if not isinstance(made, pandas.DataFrame):
        raise SystemExit(f"features gave {type(made).__name__}: return a DataFrame of columns")
    if len(made) != len(table):
        raise SystemExit(f"features gave {len(made)} rows for {len(table)}: return a row for each, in their order")
    for name in made.columns:
        if name in table.columns and list(made[name].astype(str)) != list(table[name].astype(str)):
            raise SystemExit(f"features changes column {name!r}: give the result another name")
    made = made.reset_index(drop=True).rename(columns=str)
    return made.iloc[: len(train)], made.iloc[len(train) :]
"""


def read_user_features(file: str) -> str:
    """The text of a file of features. Raises UserError where it cannot be read, or does not define `features`."""
    text, names = read_user_file("features", file, "features(table)")
    if "features" not in names:
        raise UserError(f"features={file} has no features: it needs `def features(table)`, which returns new columns")
    return text


async def make_user_features(bench: Workbench, file: str) -> tuple[str, str]:
    """Make the columns of the user's file; returns their folder, and a line about them.

    Raises UserError where the code fails, or its result is no table of new columns."""
    folder = keep_code(bench.workspace, PREFIX, read_user_features(file) + _CALL)
    failures, _ = await try_features(bench, folder)
    if failures:
        raise UserError(f"features={file} makes no columns ({failures[0].message}): mend it")
    names = [str(name) for name in read_csv(folder / "kept" / "train_features.csv").columns[1:]]
    shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
    return str(folder / "kept"), f"{file} adds {len(names)} column{'s' * (len(names) > 1)}: {shown}"
