"""agentkd: verified agent traces, distilled into small open models. May import: see docs/architecture.md."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkd.api import Run as Run
    from agentkd.api import distill as distill
    from agentkd.api import evaluate as evaluate
    from agentkd.api import generate as generate
    from agentkd.api import load_run as load_run
    from agentkd.ask.student import Student as Student

__version__ = "0.1.0"
__all__ = ["Run", "Student", "__version__", "distill", "evaluate", "generate", "load_run"]
_OTHERS = {"Student": "agentkd.ask.student"}  # what is not in agentkd.api


def __getattr__(name: str) -> Any:
    """The Python API at its first use, so that `import agentkd` stays light."""
    if name in __all__:
        return getattr(importlib.import_module(_OTHERS.get(name, "agentkd.api")), name)
    raise AttributeError(f"module 'agentkd' has no attribute {name!r}")


class CommandModule(ModuleType):
    """A module with the name of a function of the API. Python puts it in the function's place once it is imported, so
    calling it calls the function: `agentkd.distill(…)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        function = getattr(importlib.import_module("agentkd.api"), self.__name__.rpartition(".")[2])
        return function(*arguments, **options)
