"""The clients' processes: asked for a step each, started again where one dies, ended in the end."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from agentkd.config import ClientsConfig
from agentkd.distill.clients.client import Place, work
from agentkd.errors import AgentkdError, WorldError
from agentkd.runs.progress import say

RESTARTS = 3  # of one client


class Clients:
    """Context manager: a process for each place. Raises WorldError where one of them dies again and again."""

    def __init__(self, places: Sequence[Place], config: ClientsConfig) -> None:
        self.places, self.config = list(places), config
        self.lanes = config.concurrency or len(os.sched_getaffinity(0))
        self.deaths = [0] * len(self.places)
        self.processes: dict[int, tuple[Any, Connection]] = {}

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for process, connection in self.processes.values():
            connection.close()
            process.kill()
            process.join()

    def facts(self) -> list[dict[str, Any]]:
        """What each client says about its images when it starts."""
        return self._all(None)

    def ask(self, step: str, turn: int) -> list[Any]:
        """The answers of all clients to a step, `lanes` of them at work at once."""
        return self._all((step, turn))

    def _all(self, message: tuple[str, int] | None) -> list[Any]:
        waiting, answers = list(range(len(self.places))), dict[int, Any]()
        busy: dict[Connection, int] = {}
        while waiting or busy:
            while waiting and len(busy) < self.lanes:
                number = waiting.pop(0)
                connection = self._start(number) if message is None else self._send(number, message)
                busy[connection] = number
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                number = busy.pop(ready)
                try:
                    answer = ready.recv()
                except (EOFError, OSError):
                    self._count_death(number)
                    waiting.insert(0, number)
                    continue
                if isinstance(answer, AgentkdError):
                    raise answer
                answers[number] = answer
        return [answers[number] for number in range(len(self.places))]

    def _send(self, number: int, message: tuple[str, int]) -> Connection:
        """Give a client its step; one that has died is started anew first."""
        process, connection = self.processes[number]
        if not process.is_alive():
            connection = self._start(number)
            connection.recv()  # its facts, which are those of before
        connection.send(message)
        return connection

    def _start(self, number: int) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        place = self.places[number]
        process = context.Process(target=work, args=(place, self.config, theirs), name=f"agentkd client {place.name}")
        process.start()
        theirs.close()
        self.processes[number] = process, ours
        return ours

    def _count_death(self, number: int) -> None:
        name = self.places[number].name
        self.processes[number][0].join()
        self.deaths[number] += 1
        if self.deaths[number] > RESTARTS:
            raise WorldError(
                f"client {name} ended on its own {self.deaths[number]} times (out of memory?): run the same command "
                "again, with concurrency=1"
            )
        say(f"client {name} ended on its own: it is started again, and does the step anew")
