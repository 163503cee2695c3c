"""What a run takes from earlier competitions, the order of its candidates, and what it leaves to later ones."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agentkd.agents.agent_k.context import RunState
from agentkd.agents.agent_k.experience.advice import (
    describe_advice,
    find_advisors,
    judge_advisors,
    order_by_experience,
)
from agentkd.agents.agent_k.experience.case import Case, Fingerprint, list_trials, make_key
from agentkd.agents.agent_k.experience.store import Experience
from agentkd.agents.agent_k.results import read_best, read_results
from agentkd.agents.agent_k.solvers.portfolio import CandidateSpec
from agentkd.agents.agent_k.workbench import Workbench
from agentkd.agents.agent_k.workspace.files import read_targets
from agentkd.errors import AgentkdError
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small
from agentkd.trace import content_hash

FILE = "experience.json"  # of a run: the order it began with, so that a resumed run plans the same


def order_candidates(bench: Workbench, plan: Sequence[CandidateSpec], rows: int) -> list[CandidateSpec]:
    """Put a plan into the order that earlier competitions advise; it stays as it is without any.

    The order is found once for a set-up and kept in the run's directory."""
    if not bench.config.experience or len(plan) < 2:
        return list(plan)
    fingerprint = Fingerprint.of(bench.setup, rows)
    names = [item.name for item in plan]
    file, wanted = bench.folder / FILE, content_hash([fingerprint.model_dump(), names])
    order = read_order(file, wanted)
    if order is None:
        try:
            advisors = find_advisors(Experience().all(), fingerprint)
        except AgentkdError as error:
            bench.say(f"warning: goes on without experience: {error}")
            advisors = []
        order = order_by_experience(advisors, {item.name: item.seconds for item in plan})
        if advisors:
            bench.say(describe_advice(advisors, names, order))
        kept = {"for": wanted, "order": order}
        write_atomically(file, json.dumps(kept | {"cases": [item.known.case.key for item in advisors]}) + "\n")
    return sorted(plan, key=lambda item: order.index(item.name))


def read_order(file: Path, wanted: str) -> list[str] | None:
    """The order that is kept for a set-up and its plan; None where there is none, or where it is damaged."""
    with suppress(OSError, ValueError):
        kept = parse_json(read_small(file, METRICS_BYTES))
        if isinstance(kept, dict) and kept.get("for") == wanted and isinstance(kept.get("order"), list):
            return [str(name) for name in kept["order"]]
    return None


def remember_run(bench: Workbench, state: RunState) -> None:
    """Add a run to the user's cases, and say of those that advised it whether they were borne out.

    A file that cannot be written costs no run: a line says so."""
    best, setup = read_best(state), bench.setup
    if not bench.config.experience or best is None or state.get("metric_code"):
        return
    weights = state.get("blend", {}).get("weights", {})
    competition = content_hash([state.get("data") or bench.source.slug])[:16]
    case = Case(
        key=make_key(competition, str(bench.folder.resolve())),
        competition=competition,
        title=bench.source.title[:200],
        source=bench.folder.name[:500],
        date=time.strftime("%Y-%m-%d"),
        fingerprint=Fingerprint.of(setup, len(read_targets(bench.workspace))),
        trials=tuple(list_trials(setup, read_results(state), weights, best.name)),
        seconds=round(bench.clock.elapsed, 1),
    )
    try:
        memory = Experience()
        advisors = find_advisors(memory.all(), case.fingerprint)
        memory.judge(case.key, judge_advisors(advisors, case))
        memory.add(case)
    except AgentkdError as error:
        bench.say(f"warning: this run is not remembered: {error}")
