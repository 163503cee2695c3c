"""`agentkd bench proxy` runs, and counts what it says."""

from __future__ import annotations

import json
from pathlib import Path

from agentkd.eval.bench.speed.proxy import bench_proxy, print_proxy


def test_both_ways_are_measured_and_what_is_added_is_their_difference(tmp_path: Path) -> None:
    report = bench_proxy(requests=12, in_flight=3, rounds=1, seed=0, out=tmp_path)
    assert json.loads((tmp_path / "proxy.json").read_text()) == report
    direct, proxied = report["rows"]
    assert [direct["name"], proxied["name"]] == ["direct", "through the proxy"]
    assert abs(report["added_ms"] - (proxied["p50_ms"] - direct["p50_ms"])) < 1e-9
    assert report["cpu_ms"] > 0 and min(direct["requests_per_second"], proxied["requests_per_second"]) > 0
    print_proxy(report)
