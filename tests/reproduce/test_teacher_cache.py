"""Cached teacher outputs are those of the live teacher, and never those of another."""

from __future__ import annotations

from pathlib import Path

from tests.support.lazy import lazily, require

require("torch", "safetensors")
torch = lazily("torch")
cache = lazily("agentkd.reproduce.teacher_cache")
staged = lazily("agentkd.reproduce.nets.staged")


def test_cached_equals_live(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher, inputs = staged.make_staged_cnn(3, 4), torch.randn(10, 1, 8, 8)
    paths = ["stages.0", "stages.2"]
    live = cache.live_outputs(teacher, inputs, paths=paths, batch=4)
    for _ in range(2):
        read = cache.cached_outputs(teacher, inputs, tmp_path, paths=paths, batch=4)
        assert list(read) == list(live) and all(torch.equal(read[key], live[key]) for key in live)
    assert len(list(tmp_path.iterdir())) == 1
    with torch.no_grad():
        teacher.head.bias += 1.0
    cache.cached_outputs(teacher, inputs, tmp_path, paths=paths, batch=4)
    cache.cached_outputs(teacher, inputs + 1, tmp_path, paths=paths, batch=4)
    assert len(list(tmp_path.iterdir())) == 3, "other weights and other inputs are files of their own"
