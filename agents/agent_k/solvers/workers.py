"""Folds side by side: forked workers that share what is loaded, one core each.

A fold's model trains on one thread, which small data use better than several; and the result does not depend on how
many workers there are. Processes and pipes only, no semaphores: a sandbox without /dev/shm runs it. The parent must not
have used OpenMP (LightGBM, torch) before it forks; where it cannot fork, jobs run one after the other."""

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
    """What the jobs return, in their order. Their AgentkdError is raised here as it is; WorldError if one dies."""
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
        while places:  # whoever is ready: a worker goes on only when its result has been taken
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
