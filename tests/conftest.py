"""For all tests: no network, no server but their own, one thread per process, and the order of files."""

import gc
import os

import pytest
from hypothesis import settings

from tests.support.warm import SHARED

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("AGENTKD_TEACHER", None)
os.environ.pop("OPENAI_API_KEY", None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy and torch are imported
    os.environ[name] = "1"

# Shared machines stall for a second now and then; no test is about time.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# Files that take longest, which begin first: the small ones fill the gap at the end.
LONGEST = (
    "agent_k/test_run.py", "distill/test_gguf.py", "agent_k/test_solvers.py", "sandbox/test_sandbox.py",
    "cli/test_resume.py", "agent_k/test_kill_and_resume.py", "distill/test_processes.py", "serving/test_serving.py",
    "distill/test_health.py", "distill/test_cross_tokenizer.py", "serving/test_serve.py", "distill/test_card.py",
    "teacher/test_teacher.py", "cli/test_cli.py", "agent_k/test_resubmit.py", "distill/test_scale.py",
    "distill/test_feedback.py", "eval/test_bench_train.py", "machine/test_doctor.py",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder that all workers of this run share (tests/support/warm.py)."""
    own = tmp_path_factory.getbasetemp()
    os.environ[SHARED] = str(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files; a file stays on one worker (`--dist loadfile`), where its fixtures are made once."""
    tests = config.rootpath / "tests"
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(tests).as_posix(), len(places)))


def pytest_collection_finish() -> None:
    """Take what is imported out of garbage collection: it stays, and libraries collect often."""
    gc.collect()
    gc.freeze()
