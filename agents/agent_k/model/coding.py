"""plan → code → sandbox → unit test: the model writes code for a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkd.agents.agent_k.context import CODE_PARTS
from agentkd.agents.agent_k.contract import Failure, clip, passed_test
from agentkd.agents.agent_k.model.answers import MOST_CODE, enum_schema, object_schema, parse_code, parse_json
from agentkd.agents.agent_k.model.ask import NoAnswer
from agentkd.agents.agent_k.model.run_code import TrialResult
from agentkd.agents.agent_k.model.stage_run import StageRun
from agentkd.agents.agent_k.workspace.maps import hash_maps
from agentkd.runs.disk import write_atomically
from agentkd.trace import Step, Verdict

TRIES = 5  # answers with code for a stage, at most
ERROR = 1500  # characters of an error shown to the model

Trial = Callable[[Path], Awaitable[TrialResult]]


@dataclass(frozen=True)
class Written:
    """How a stage's coding ended: an accepted folder, a stage to go back to, or neither."""

    folder: Path | None = None
    key: int | None = None  # of the code in the long-term memory
    back: str = ""


async def write_code(run: StageRun, trial: Trial, values: Mapping[str, Any] | None = None, number: int = 0) -> Written:
    """Let the model write the stage's code until it passes, at most TRIES times.

    `trial` runs and tests the code.py of a folder; `values` are further values of the prompts; `number` is that of the
    first attempt, so that later rounds get other samples."""
    values = dict(values or {})
    stage, bench, long_term = run.stage, run.bench, run.context.long_term
    failed = error = cause = ""
    try:
        plan = await run.ask("plan", attempt=number, **values)
        for attempt in range(TRIES):
            answer = await run.ask(
                "code",
                attempt=number + attempt,
                plan=clip(plan, 1000),
                failed=clip(failed, 3000),
                error=error,
                cause=cause,
                **values,
            )
            code = parse_code(answer)
            folder, failures = await try_answer(run, code, trial)
            if not failures:
                run.context.model.count_result(True)
                key = long_term.add("code", stage, code, {"run": bench.folder.name, "attempt": attempt})
                return Written(folder, key)
            failed, error = code, clip("\n".join(f"{item.test}: {item.message}" for item in failures), ERROR)
            cause, fault = await find_fault(run, failed, error, failures)
            run.remember(f"{stage} failed: {cause or error[:300]}", f"{stage}!", "error")
            if fault != stage and run.may_go_back(fault):
                run.remember(f"{stage} failed because of {fault}: {cause or error[:300]}", f"{fault}!", "error")
                return Written(back=fault)
    except NoAnswer:
        return Written()
    run.context.model.count_result(False)
    return Written()


async def try_answer(run: StageRun, code: str, trial: Trial) -> tuple[Path, list[Failure]]:
    """Run and test one answer, and record the outcome.

    The folder is named by its code and the maps, so that a resumed run finds its results."""
    stage, workspace = run.stage, run.bench.workspace
    digest = hashlib.sha256((code + hash_maps(workspace)).encode()).hexdigest()[:10]
    folder = workspace / "code" / f"{stage}-{digest}"
    outcome = None
    if not code:
        failures = [Failure(test="answers with code", stage=stage, message="no ```python block with a function")]
    elif len(code) > MOST_CODE:
        message = f"the code has {len(code):,} characters: write at most {MOST_CODE:,}"
        failures = [Failure(test="answers with code", stage=stage, message=message)]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "code.py", code)
        with run.bench.clock.model_time():
            failures, outcome = await trial(folder)
    if failures and (cut_at := run.recorder.cut_at):
        message = f"the answer was cut at {cut_at} tokens: write shorter code, without comments and explanations"
        failures = [Failure(test="answer is whole", stage=stage, message=message), *failures]
    output = ""
    if outcome:
        output = json.dumps({"code": folder.name, "stopped": outcome.stopped, "output": outcome.output[-2000:]})
    evidence = tuple(item.evidence for item in failures) or (passed_test(f"{stage} code"),)
    reason = "; ".join(item.message for item in failures)
    verdict = Verdict(ok=not failures, rung=stage, reason=reason[:500])
    run.note(Step(kind=f"{stage}.run", output=output, evidence=evidence, verdict=verdict))
    return folder, failures


async def find_fault(run: StageRun, failed: str, error: str, failures: Sequence[Failure]) -> tuple[str, str]:
    """Return the cause of a failure and the stage at fault.

    The stage is the one that the unit test blames if it blames another than this one; otherwise the model chooses among
    the stages whose result it has made itself."""
    stage, order = run.stage, run.context.stages
    fault = next((item.stage for item in failures if item.stage != stage), stage)
    stages = [stage, *(name for name in order[: order.index(stage_of(stage))] if run.may_go_back(name))]
    schema = object_schema({"cause": {"type": "string"}, "stage": enum_schema(stages)})
    answer = await run.ask("analyse", schema=schema, failed=clip(failed, 2500), error=error, stages=stages)
    said = parse_json(answer) or {}
    if fault == stage and said.get("stage") in stages:
        fault = str(said["stage"])
    return clip(str(said.get("cause", "")), 400), fault


def stage_of(part: str) -> str:
    """The stage that a part belongs to: features and solutions are written while solving."""
    return "solve" if part in CODE_PARTS else part
