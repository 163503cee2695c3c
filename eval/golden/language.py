"""x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentkd.eval.golden.cases import Case

ADAPTERS: dict[str, Callable[[Case], Any]] = {}
