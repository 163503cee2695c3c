"""Folders that tests read."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("AGENTKD_DATA") or ROOT.parent / "shared" / "data")  # files too large for the repository
KAGGLE_DATA, KBQA_DATA = DATA / "kaggle", DATA / "kbqa"
