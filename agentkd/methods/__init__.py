"""Distillation methods: one paper a file, pure functions of tensors. p is the teacher, q the student, everywhere.

`METHODS` lists them for `agentkd methods`; it loads no torch. May import: its rooms.
"""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """A founding paper or a classic objective: what it claims, and where it plugs in."""

    title: str
    arxiv: str
    claim: str
    plugs_in: str
    module: str


METHODS: dict[str, Method] = {}
