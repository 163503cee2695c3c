"""All tests of the sandbox again, as a user without privileges, where the suite is run by root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentkd.sandbox.environment import interpreter_folders
from tests.support.paths import ROOT

NOBODY = 65_534
# Root's folders may be closed to others: they are opened in a mount namespace of this process.
AS_NOBODY = """
import os, sys
from agentkd.sandbox.unprivileged import become, open_paths
work, *read = sys.argv[1:]
open_paths(65534, read, [work])
become(65534)
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", work + "/tests",
                          "-n", "0", "-rs", "tests/sandbox"])
"""


@pytest.mark.whole
@pytest.mark.skipif(os.geteuid() != 0, reason="the suite is run by a user without privileges anyway")
def test_all_of_it_as_nobody(tmp_path: Path) -> None:
    (work := tmp_path / "work").mkdir()
    command = [sys.executable, "-c", AS_NOBODY, str(work), str(ROOT), *map(str, interpreter_folders())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 200, done.stdout[-4000:]
