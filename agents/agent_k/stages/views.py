"""Views of a competition for prompts: the facts in a line, the files, the tables' first rows."""

from __future__ import annotations

from pathlib import Path

from agentkd.agents.agent_k.contract import MODALITIES, Setup
from agentkd.agents.agent_k.understand.data_files import DataFiles
from agentkd.agents.agent_k.understand.tables import read_table

ROWS = 3  # of a table
PLURAL = {"label": "labels", "probability": "probabilities", "value": "values"}


def facts_line(setup: Setup) -> str:
    """The set-up in one line."""
    way = "lower" if setup.lower_is_better else "higher"
    columns = ", ".join(f"{len(getattr(setup, name))} {name}" for name in MODALITIES if getattr(setup, name))
    targets = ", ".join(setup.targets[:5]) + (" …" if len(setup.targets) > 5 else "")
    return (
        f"{setup.task} · target {targets} · id {setup.id} · metric {setup.metric}, {way} is better · "
        f"submit {PLURAL[setup.output]} · inputs: {columns}"
    )


def files_view(files: DataFiles) -> str:
    """The file tree: tables with their sizes, images counted by folder."""
    lines = [f"{path} ({(files.data / path).stat().st_size:,} bytes)" for path in files.tables[:20]]
    folders: dict[str, int] = {}
    for path in files.images:
        folders[str(path.parent)] = folders.get(str(path.parent), 0) + 1
    return "\n".join(["files:", *lines, *(f"{name}/: {count} images" for name, count in list(folders.items())[:10])])


def tables_view(setup: Setup, data: Path) -> str:
    """The first rows of the training table and of the sample submission."""
    parts = []
    for name in (setup.train, setup.sample):
        frame = read_table(data / name, rows=ROWS, text=True).iloc[:, :40]
        cells = frame.map(lambda cell: str(cell)[:60])
        parts.append(f"{name}, first rows:\n{cells.to_csv(index=False)}")
    return "\n".join(parts)
