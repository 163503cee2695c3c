"""`agentkd merge`: the runs of all parts of a run (`shard=i/n`) become one, as if it had never been parted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkd.config import GenerateConfig
from agentkd.errors import UserError
from agentkd.generate import generate
from agentkd.runs.disk import disk_error
from agentkd.runs.parts import check_parts, copy_lines, read_responses
from agentkd.runs.progress import say
from agentkd.runs.read import is_complete, read_failures, read_traces
from agentkd.runs.store import RunDirectory
from agentkd.runs.summary import SECOND_CHOICE_SAMPLE

STAGED = ".merging"  # end of the name of a directory that is being made


def merge(runs: Sequence[Path], out: Path) -> dict[str, Any]:
    """Merge finished parts into `out`, and return the metrics of the whole.

    Traces, failures and answers of the teacher are copied, so the ledger is the sum of theirs. Then the run is closed
    as `generate` closes it, which finds nothing left to ask. Second choices are chosen anew, since they depend on all
    traces. The same command goes on where it was stopped; parts stay as they are.

    Raises UserError for parts of different runs, missing or unfinished ones, WorldError for the disk."""
    values = check_parts(runs, GenerateConfig.EXTENT - {"limit", "samples", "rationalise", "until_verified"})
    known = {name: value for name, value in values.items() if name in GenerateConfig.model_fields}
    config = GenerateConfig.model_validate({**known, "out": str(out)})
    if not out.exists():
        staged = out.with_name(out.name + STAGED)
        identity = {name: value for name, value in values.items() if name not in known and name != "stage"}
        try:
            shutil.rmtree(staged, ignore_errors=True)
            copy_parts(runs, staged, config, identity)
            staged.rename(out)  # all or nothing
        except OSError as error:
            raise disk_error(out, error) from None
        say(f"merged {len(runs)} parts into {out}")
    elif not is_complete(out) and not (out / "config.yaml").exists():
        raise UserError(f"{out} is there, and no run: choose another --out")
    return generate(config)


def copy_parts(runs: Sequence[Path], staged: Path, config: GenerateConfig, identity: dict[str, Any]) -> None:
    """Write a run directory with the traces, failures and responses of all parts."""
    with RunDirectory(staged, "generate", config, identity) as run:
        for part in runs:
            for trace in read_traces(part):
                if trace.sample < SECOND_CHOICE_SAMPLE:
                    run.append(trace)
            for row in read_failures(part):
                key = (str(row["id"]), int(row["sample"]))
                run.fail(key, row["error"], retry=row["retry"], refused=bool(row.get("refused")))
    cache = staged / "cache"
    cache.mkdir(exist_ok=True)
    for number, file in enumerate(path for part in runs for path in read_responses(part)):
        copy_lines(file, cache / f"responses-{number}.jsonl")
