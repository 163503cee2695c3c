"""Heavy packages, imported when a test first uses them: every worker of pytest imports all test files."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest


class Lazy:
    """Stands for a module until a public attribute of it is asked for; pytest looks for private ones in all it sees."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"patch the module by its name: monkeypatch.setattr('{self._name}.{name}', …)")


def require(*packages: str) -> None:
    """Skip the test file where one of the packages is not installed. None is imported."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed", allow_module_level=True)


def lazily(package: str) -> Any:
    """`pytest.importorskip`, but imported at the first use."""
    require(package)
    return Lazy(package)
