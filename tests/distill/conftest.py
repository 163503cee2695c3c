"""Little models and a run of traces, made once. No test writes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.students import little_student
from tests.support.traces import make_trace, write_run


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another shape; wide weights make it sure of what it says."""
    return little_student(tmp_path_factory.mktemp("teacher"), layers=3, width=48, seed=1, spread=1.0)


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight verified traces."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", [make_trace(f"country {number}") for number in range(8)])
