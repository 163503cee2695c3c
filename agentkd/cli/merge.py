"""`agentkd merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkd.cli.options import Json, print_result
from agentkd.cli.results import print_generation


def merge(
    runs: Annotated[list[Path], typer.Argument(help="the finished runs of all parts", metavar="RUN…")],
    out: Annotated[Path, typer.Option(help="directory of the whole run")],
    as_json: Json = False,
) -> None:
    """Join the runs of generate's parts (shard=1/4 and so on) to one run.

    It is the run that would have been made without parts, answers of the teacher and their cost included.
    """
    from agentkd.merge import merge as run

    print_result(run(runs, out), print_generation, as_json)
