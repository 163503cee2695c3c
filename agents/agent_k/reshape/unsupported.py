"""Name the shapes of competitions that are not there, in one line, before any time is spent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentkd.agents.agent_k.reshape.tables import Tables
from agentkd.agents.agent_k.understand.cells import is_text
from agentkd.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SEE = "this is not there (docs/kaggle.md, What is not there)"
_BOXES = r"bounding box|\bIoU\b|intersection over union|object detection|\bboxes\b"
_MASKS = r"run.?length|\bRLE\b|\bmasks?\b"
_MASK_COLUMN = r"(?:^|[^a-z])rle(?:$|[^a-z])|encodedpixels|mask"
_UNREAD = r"\.(?:mp3|ogg|flac|m4a|mp4|avi|mov|mkv|webm|dcm|nii|nii\.gz|pdf|h5|hdf5|mat|tfrecords?|las|ply|obj)$"


def refuse_tables(tables: Tables) -> None:
    """Raise UserError, in one line, for boxes, masks, free text and lists of a customer's next items."""
    sample, text = tables.sample, tables.text
    for name in tables.outputs:
        cells = sample[name]
        several = bool(cells.str.fullmatch(r"\s*(?:\S+\s+){3,}\S+\s*").mean() > 0.5)
        numbers = several and bool(cells.head(100).str.fullmatch(r"[\s\d.eE+-]+").all())
        if re.search(_MASK_COLUMN, name, re.I) and (tables.files.images or re.search(_MASKS, text, re.I)):
            raise UserError(f"the sample submission asks for masks of pixels ('{name}'): {SEE}")
        if (numbers or "predictionstring" in name.lower()) and re.search(_BOXES, text, re.I):
            raise UserError(f"the sample submission asks for boxes in images ('{name}'): {SEE}")
        if tables.train is not None and name in tables.train.columns and _asks_for_text(tables, name):
            raise UserError(f"the sample submission asks for free text ('{name}'): {SEE}")
        if several and _repeats(tables) and not tables.files.images:
            raise UserError(
                f"the sample submission asks for a list of items for each '{tables.key}', out of a table of events "
                f"(recommendation): {SEE}"
            )


def numbers_only(cells: pd.Series[str]) -> bool:
    return bool(cells.head(100).str.fullmatch(r"[\s\d.eE+-]*").all())


def _repeats(tables: Tables) -> bool:
    """Whether the training table has many rows for one id of the sample."""
    train = tables.train
    return train is not None and tables.key in train.columns and not train[tables.key].is_unique


def _asks_for_text(tables: Tables, name: str) -> bool:
    """Whether a target holds texts of several words that hardly repeat, and the sample shows texts."""
    assert tables.train is not None
    cells = tables.train[name]
    cells = cells[cells != ""].head(2000)
    if len(cells) < 20 or cells.nunique() < 0.5 * len(cells) or numbers_only(cells):
        return False
    several = cells.str.contains(r"[^\W\d]\w*\s+[^\W\d]").mean() > 0.5
    return bool(several or is_text(cells))


def name_unread(tables: Tables) -> str:
    """The endings of files that hold the inputs but are not read, such as `.mp3`; "" for none."""
    found = [match[0].lower() for path in tables.files.all if (match := re.search(_UNREAD, path.name, re.I))]
    return ", ".join(sorted(set(found)))
