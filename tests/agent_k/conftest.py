"""Fixtures for the processes that Agent K's solvers run in."""

from __future__ import annotations

import functools

import pytest

from agentkd.errors import UserError
from agentkd.sandbox import supervised
from agentkd.sandbox.sandbox import open_sandbox
from tests.support.warm import KAGGLE, start_solver, warm


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Skip the test where no sandbox works."""
    try:
        open_sandbox("auto")
    except UserError as error:
        pytest.skip(f"no sandbox here: {error}")


@pytest.fixture
def forked_solvers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the code of a sandbox of kind `none` from a process with pandas, scikit-learn and LightGBM."""
    monkeypatch.setattr(supervised, "start", functools.partial(start_solver, warm(*KAGGLE).path))
