"""For all tests: no network, no server but their own, one thread per process, and the order on two workers."""

import os
from collections.abc import Sequence

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("AGENTKD_TEACHER", None)
os.environ.pop("OPENAI_API_KEY", None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy and torch are imported
    os.environ[name] = "1"

# Shared machines stall for a second now and then; no test is about time.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# Groups and files that take longest, which begin first: the small ones fill the gap at the end.
LONGEST = (
    "torch", "agent-k", "agent_k/test_solvers.py", "sandbox/test_sandbox.py", "serving/test_serving.py",
    "cli/test_resume.py", "serving/test_serve.py", "machine/test_doctor.py",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Keep a file on one worker, where its fixtures are made once. Files that share a group share imports and warm
    processes, too."""
    places = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        group = mark.args[0] if mark else item.path.relative_to(config.rootpath / "tests").as_posix()
        if mark is None:
            item.add_marker(pytest.mark.xdist_group(group))
        places[item] = LONGEST.index(group) if group in LONGEST else len(LONGEST)
    items.sort(key=places.__getitem__)  # type: ignore[attr-defined]
