"""ensemble: the candidates are blended on their out-of-fold predictions."""

from __future__ import annotations

import asyncio
import time

from langgraph.types import Command

from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.model.run_code import read_output
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.results import CODE, BlendRecord, Scored, dump_best, read_best, read_results
from agentkd.agents.agent_k.scoring.blend import best_blend
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.stages.candidates import begin_result, keep_best, note_score
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets, save_table
from agentkd.agents.agent_k.workspace.maps import hash_maps
from agentkd.runs.progress import heartbeat


async def blend_candidates(context: Context, state: RunState) -> Command[str]:
    """Blend the candidates, and take the blend if nested cross-validation finds it better.

    A single candidate gets the thresholds of a metric that counts labels."""
    run, bench = StageRun.begin(context, state, "ensemble"), context.bench
    setup, truth = bench.setup, read_targets(bench.workspace)
    results, best = read_results(state), read_best(state)
    good = {name: item for name, item in results.items() if isinstance(item, Scored) and item.kind != "constant"}
    by_label = setup.task != "regression" and setup.metric in METRICS and METRICS[setup.metric].needs == "label"
    if len(good) < (1 if by_label else 2) or state.get("metric_code"):
        return run.go_to("validate", best=dump_best(best))
    root = bench.workspace / "candidates"
    frames = {
        name: (read_output(root / item.folder, "oof.csv"), read_output(root / item.folder, "test.csv"))
        for name, item in good.items()
    }
    folds = read_csv(bench.workspace / "maps" / "folds.csv")
    start = time.monotonic()
    job = asyncio.ensure_future(asyncio.to_thread(best_blend, setup, truth, folds, frames, seed=bench.seed))
    blend = await heartbeat(job, lambda took: bench.progress_line("blend", took), bench.say)
    folder = root / f"blend-{hash_maps(bench.workspace)}"
    folder.mkdir(exist_ok=True)
    save_table(blend.oof, folder / "oof.csv")
    save_table(blend.test, folder / "test.csv")
    begun = begin_result(run, CODE, folder, "blend")
    result = Scored(**begun.model_dump(), score=blend.score, folds=(), seconds=round(time.monotonic() - start, 1))
    note_score(run, "blend", result, results, best)
    best, _ = await keep_best(run, "blend", result, best, blend.thresholds)
    record: BlendRecord = {"kind": blend.kind, "weights": blend.weights, "score": blend.score}
    return run.go_to("validate", best=dump_best(best), blend=record)
