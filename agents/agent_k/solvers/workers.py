"""Run folds in parallel, in forked workers that share the loaded data, one core each.

A fold's model trains on one thread: small data gain nothing from more, and results do not depend on the number of
workers. Only processes and pipes are used, no semaphores, so it runs in a sandbox without /dev/shm. The parent must not
have used OpenMP (LightGBM, torch) before it forks. Where forking is not possible, jobs run one after the other."""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from agentkd.errors import AgentkdError, WorldError

T = TypeVar("T")


def run_jobs(jobs: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """Run the jobs; returns their results in order.

    Raises a job's AgentkdError as it is, or WorldError if its process dies."""
    workers = min(workers, len(jobs)) if sys.platform == "linux" else 1
    if workers <= 1:
        return [job() for job in jobs]
    context = multiprocessing.get_context("fork")
    started = []
    for number in range(workers):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(jobs[number::workers], send), daemon=True)
        process.start()
        send.close()
        started.append((process, receive))
    results: dict[int, T] = {}
    places = {receive: list(range(number, len(jobs), workers)) for number, (_, receive) in enumerate(started)}
    try:
        while places:  # take any result that is ready: a worker waits until its result has been read
            for ready in wait(list(places)):
                assert isinstance(ready, Connection)
                results[places[ready].pop(0)] = _received(ready)
                if not places[ready]:
                    del places[ready]
    finally:
        for process, receive in started:
            receive.close()
            if len(results) < len(jobs):
                process.kill()
            process.join()
    return [results[place] for place in range(len(jobs))]


def _work(jobs: Sequence[Callable[[], T]], send: Connection) -> None:
    for job in jobs:
        try:
            send.send((True, job()))
        except AgentkdError as error:
            send.send((False, error))
        except Exception as error:
            traceback.print_exc()
            send.send((False, WorldError(f"a fold failed: {type(error).__name__}: {error}")))


def _received(receive: Connection) -> T:  # type: ignore[type-var]
    try:
        good, value = receive.recv()
    except EOFError:
        raise WorldError("a fold's process died, maybe for want of memory: give fewer threads") from None
    if not good:
        raise value
    return value
