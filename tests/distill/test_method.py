"""The table of methods: all code that it names exists, and reading it loads no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentkd.distill.method import METHODS, load_function


@pytest.mark.parametrize("name", METHODS)
def test_every_function_that_a_method_names_exists(name: str) -> None:
    pytest.importorskip("torch")
    method = METHODS[name]
    for function in (method.inputs, method.signal, method.trainer):
        assert function is None or callable(load_function(function))
    assert (method.signal is None or method.needs_teacher) and not (method.signal and method.teacher_in_memory)


def test_the_table_loads_no_torch() -> None:
    code = (
        "import sys; import agentkd.distill.resolve; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
