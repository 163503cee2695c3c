"""Name the classes of a target, and find how a submission spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentkd.agents.agent_k.contract import Output
from agentkd.agents.agent_k.understand.cells import distinct_values, is_float
from agentkd.agents.agent_k.understand.classes import read_classes
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.main_tables import MainTables
from agentkd.agents.agent_k.understand.spelling import find_spelling, list_maps, spell_like_sample
from agentkd.agents.agent_k.understand.target_hints import Hints, TargetColumns, split_list

if TYPE_CHECKING:
    import pandas as pd


def name_classes(
    files: DataFiles,
    tables: MainTables,
    train: pd.DataFrame,
    columns: TargetColumns,
    hints: Hints,
    output: Output,
    doubts: list[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes in order (see `read_classes`), and their names in a submission (see `find_spelling`).

    Raises UserError where the classes are not clear."""
    target = columns.targets[0]
    found = distinct_values(train[target])
    cells = [] if columns.by_class else distinct_values(tables.sample[columns.outputs[0]])
    shown = cells if set(cells) <= set(found) else [word for cell in cells for word in cell.split()]
    maps: list[tuple[str, dict[str, str]]] = []
    if not columns.by_class and not all(is_float(name) for name in found):
        roles = tables.roles
        others = [path for path in files.tables if path not in (roles.train, roles.test, roles.sample)]
        maps = list(list_maps(files, others, train, target, found, hints.text))
    numbers = next((pairs for _, pairs in maps if set(pairs.values()) == {"0", "1"}), {})
    numbered = output == "label" and bool(shown) and not set(shown) <= set(spell_like_sample(found, shown))
    asked = output == "probability" or numbered
    classes = read_classes(train, columns, hints, asked, numbers, doubts)
    if output != "label":
        return classes, ()
    return classes, find_spelling(classes, shown, maps, split_list(hints.fixed.get("classes")), doubts)
