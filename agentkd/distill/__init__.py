"""Distillation: verified traces into a student. May import: everything but eval and cli."""

import sys

from agentkd import CommandModule

sys.modules[__name__].__class__ = CommandModule  # agentkd.distill(…) is the function of the API
