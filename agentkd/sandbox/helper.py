"""What a helper process does with its plan (see `start_helper`). Every run of code waits for it, so it imports little.

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys

TYPE_CHECKING = False  # `typing` takes 3 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def read_plan() -> dict[str, Any]:
    """Read the plan."""
    plan: dict[str, Any] = json.loads(sys.argv[1])
    return plan


def set_limits(limits: Mapping[str, int]) -> None:
    """Set limits (RLIMIT_*), named by their numbers, for this process and all that it starts."""
    for name, value in limits.items():
        resource.setrlimit(int(name), (value, value))


def tell(status: int, news: Mapping[str, Any]) -> None:
    """Write the helper's line. Nobody may be there any more to read it."""
    with contextlib.suppress(BrokenPipeError):
        os.write(status, json.dumps(news).encode() + b"\n")
