"""ensemble: the candidates are blended on their out-of-fold predictions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from langgraph.types import Command

from agentkd.agents.agent_k.aside import call_aside
from agentkd.agents.agent_k.border import Refused, judge
from agentkd.agents.agent_k.context import Context, RunState
from agentkd.agents.agent_k.model.run_code import measure_predictions, read_predictions
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.results import CODE, BlendRecord, Scored, dump_best, read_best, read_results
from agentkd.agents.agent_k.scoring.blend import best_blend
from agentkd.agents.agent_k.scoring.judged import judged_rows
from agentkd.agents.agent_k.scoring.metrics import METRICS
from agentkd.agents.agent_k.stages.candidates import begin_result, keep_best, note_score
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.arrays import load_data
from agentkd.agents.agent_k.workspace.files import read_csv, read_targets, save_table
from agentkd.agents.agent_k.workspace.maps import hash_maps
from agentkd.runs.progress import heartbeat

if TYPE_CHECKING:
    import pandas as pd


async def blend_candidates(context: Context, state: RunState) -> Command[str]:
    """Blend the candidates, and take the blend if nested cross-validation finds it better.

    A single candidate gets the thresholds of a metric that counts labels."""
    run, bench = StageRun.begin(context, state, "ensemble"), context.bench
    setup, truth = bench.setup, read_targets(bench.workspace)
    results, best = read_results(state), read_best(state)
    good = {name: item for name, item in results.items() if isinstance(item, Scored) and item.kind != "constant"}
    by_label = setup.task != "regression" and setup.metric in METRICS and METRICS[setup.metric].needs == "label"
    frames = await read_candidates(bench, good)
    if len(frames) < (1 if by_label else 2):
        return run.go_to("validate", best=dump_best(best))
    folds = read_csv(bench.workspace / "maps" / "folds.csv")
    start = time.monotonic()
    job = asyncio.ensure_future(call_aside(lambda: best_blend(setup, truth, folds, frames, seed=bench.seed)))
    blend = await heartbeat(job, lambda took: bench.progress_line("blend", took), bench.say)
    folder = bench.workspace / "candidates" / f"blend-{hash_maps(bench.workspace)}"
    folder.mkdir(exist_ok=True)
    save_table(blend.oof, folder / "oof.csv")
    save_table(blend.test, folder / "test.csv")
    begun = begin_result(run, CODE, folder, "blend")
    value = blend.score
    if code := state.get("metric_code"):
        rows = judged_rows(setup, load_data(bench.workspace).fold)
        scored = [blend.oof.iloc[rows]]
        values, _ = await measure_predictions(bench, bench.workspace / "code" / code, truth.iloc[rows], scored)
        if isinstance(values, Refused):
            return run.go_to("validate", best=dump_best(best))
        value = values[0]
    result = Scored(**begun.model_dump(), score=value, folds=(), seconds=round(time.monotonic() - start, 1))
    note_score(run, "blend", result, results, best)
    best, _ = await keep_best(run, "blend", result, best, blend.thresholds)
    cuts = None if blend.thresholds is None else list(blend.thresholds)
    record: BlendRecord = {"kind": blend.kind, "weights": blend.weights, "score": value, "thresholds": cuts}
    return run.go_to("validate", best=dump_best(best), blend=record)


async def read_candidates(bench: Workbench, good: Mapping[str, Scored]) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The out-of-fold and test predictions of candidates; one whose files are not valid any more is left out."""
    setup, ids = bench.setup, load_data(bench.workspace).ids
    frames = {}
    for name, item in good.items():
        folder = bench.workspace / "candidates" / item.folder

        def read(folder: Path = folder) -> tuple[pd.DataFrame, pd.DataFrame]:
            oof, test = (
                read_predictions(folder, f"{split}.csv", setup, ids[split], split) for split in ("oof", "test")
            )
            return oof, test

        found = await judge("ensemble", "predictions are files", read)
        if isinstance(found, Refused):
            bench.say(f"{name} is not blended: {found}")
        else:
            frames[name] = found
    return frames
