"""For all tests: no network, no server but their own, one thread per process, and the order of files."""

import gc
import json
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

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
TORCH = ("tests/eval/test_bench_train.py", "tests/inference/test_trie.py")  # and all of tests/distill and tests/methods


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder that all workers of this run share (tests/support/warm.py)."""
    own = tmp_path_factory.getbasetemp()
    os.environ[SHARED] = str(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
    os.environ["AGENTKD_DATA_HOME"] = str(own / "data-home")  # no test adds to the user's table of distillations


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """Take what a file has imported out of garbage collection: it stays, and libraries collect often."""
    yield
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files; a file stays on one worker (`--dist loadfile`), where its fixtures are made once."""
    tests = config.rootpath / "tests"
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(tests).as_posix(), len(places)))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """A failed assertion may show half a character, which pytest-xdist cannot send."""
    data = yield
    return json.loads(json.dumps(data, ensure_ascii=False).encode(errors="replace"))


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is not switched off
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return AlikeTogether(config, log) if config.option.dist == "loadfile" else None


class AlikeTogether(LoadFileScheduling):
    """A worker goes on with files that need what it has imported, torch or scikit-learn, as long as there are any."""

    def _assign_work_unit(self, node: Any) -> None:
        own = {_needs(file) for file in self.assigned_work[node]}
        begun = {_needs(file) for files in self.assigned_work.values() for file in files}
        best = min(self.workqueue, key=lambda file: (_needs(file) not in own, _needs(file) in begun))
        self.workqueue.move_to_end(best, last=False)
        super()._assign_work_unit(node)


def _needs(file: str) -> str:
    if file.startswith(("tests/distill/", "tests/methods/")) or file in TORCH:
        return "torch"
    return "sklearn" if file.startswith(("tests/agent_k/", "tests/eval/test_competition")) else ""
