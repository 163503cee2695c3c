"""The sandboxes that this machine has, for tests."""

from __future__ import annotations

import functools

import pytest

from agentkd.errors import UserError
from agentkd.sandbox.sandbox import Sandbox, open_sandbox

KINDS = ("bubblewrap", "landlock", "none")
ISOLATED = ("bubblewrap", "landlock")


@functools.cache
def _open(kind: str) -> Sandbox | UserError:
    try:
        return open_sandbox(kind)
    except UserError as error:
        return error


def opened(kind: str) -> Sandbox:
    """The sandbox of that kind, opened once; the test is skipped where there is none."""
    found = _open(kind)
    if isinstance(found, UserError):
        pytest.skip(str(found))
    return found
