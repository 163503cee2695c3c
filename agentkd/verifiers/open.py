"""Opens the ladder that `--verify` names, with the processes and the judges that it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from agentkd.errors import UserError
from agentkd.runs.progress import say
from agentkd.teacher.open import check_teacher, open_teacher
from agentkd.teacher.options import DEFAULTS, TeacherOptions
from agentkd.verifiers.contract import TIMEOUT, Verifier
from agentkd.verifiers.ladder import Ladder
from agentkd.verifiers.names import parse_specs
from agentkd.verifiers.worker import Remote, Workers


def check_specs(texts: Sequence[str]) -> None:
    """Raise UserError for a verifier that cannot be made, as far as can be told without running the user's code."""
    specs = parse_specs(texts)
    if not specs:
        raise UserError("--verify names no verifier: give one, such as exact, numeric or pkg.mod:function")
    for spec in specs:
        if spec.kind.runs == "judge":
            check_teacher(spec.argument)
        elif spec.kind.takes != "FUNCTION":
            spec.make()


@asynccontextmanager
async def open_ladder(
    texts: Sequence[str],
    *,
    run: Path,
    options: TeacherOptions = DEFAULTS,
    timeout: float = TIMEOUT,
    concurrency: int = 4,
) -> AsyncIterator[Ladder]:
    """Open the ladder of some names, in their order; `run` keeps the cache and the bill of judges.

    Patterns, schemas and the user's functions run in up to `concurrency` processes, which are ended where they hang.
    Raises UserError for a name that means nothing, before anything is verified."""
    check_specs(texts)
    specs = parse_specs(texts)
    apart = [spec for spec in specs if spec.kind.runs == "worker"]
    rungs: list[Verifier] = []
    async with AsyncExitStack() as stack:
        workers = Workers(apart, concurrency, timeout)
        stack.push_async_callback(workers.close)
        if apart:
            await workers.check()
        for spec in specs:
            if spec.kind.runs == "judge":
                model = await stack.enter_async_context(open_teacher(spec.argument, run=run, options=options, say=say))
                rungs.append(spec.kind.make(model))
            elif spec.kind.runs == "worker":
                name = spec.text.partition(":")[0] if spec.kind.takes != "FUNCTION" else spec.argument
                rungs.append(Remote(workers, apart.index(spec), name))
            else:
                rungs.append(spec.make())
        yield Ladder(rungs, seconds=timeout)
