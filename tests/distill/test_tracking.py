"""`--log`: the curve of a training, in the trackers' own stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkd.distill import checkpoints
from agentkd.distill.checkpoints import check_trackers
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from tests.support.students import little_student, sft_config
from tests.support.traces import make_trace, write_run


def test_a_tracker_must_be_known_and_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: object() if name == "mlflow" else None)
    assert check_trackers(None) == [] and check_trackers("mlflow,") == ["mlflow"]
    with pytest.raises(UserError, match=r"unknown tracker 'trakio'; did you mean trackio\?"):
        check_trackers("trakio")
    with pytest.raises(UserError, match="--log trackio needs its package: pip install trackio"):
        check_trackers("mlflow, trackio")


def test_it_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install mlflow-skinny"):
        distill(sft_config(tmp_path, tmp_path, tmp_path / "out", log="mlflow"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["trackio", "mlflow"])
def test_the_curve_is_in_the_tracker(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = pytest.importorskip(name)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    traces = write_run(tmp_path / "run", [make_trace(f"Land {n}") for n in range(6)])
    student = little_student(tmp_path / "base")
    metrics = distill(sft_config(student, traces, tmp_path / "mine", log=name))
    curve = metrics["losses"]
    if name == "trackio":
        (run,) = tracker.Api().runs("agentkd")
        assert run.name == "mine"
        found = [row["train/loss"] for row in tracker.SQLiteStorage.get_logs("agentkd", "mine") if "train/loss" in row]
    else:
        (run,) = tracker.search_runs(search_all_experiments=True, output_format="list")
        assert run.info.run_name == "mine"
        history = tracker.MlflowClient().get_metric_history(run.info.run_id, "loss")
        found = [one.value for one in sorted(history, key=lambda one: one.step)]
    assert not capsys.readouterr().out, "stdout is for the result"
    assert found == pytest.approx(curve, abs=1e-3) and len(curve) > 1
