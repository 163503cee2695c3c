"""`distill --task clients --plan`: sizes and steps of each client, and the time of real steps; nothing is kept."""

from __future__ import annotations

import os
from typing import Any

from agentkd.config import ClientsConfig
from agentkd.distill.clients.run import find_places
from agentkd.distill.clients.server import Clients
from agentkd.distill.plan import format_duration
from agentkd.runs.progress import say


def plan_clients(config: ClientsConfig) -> dict[str, Any]:
    """Print what the run would take. Raises UserError as the run itself would.

    Steps are timed in the clients' own processes, as many at once as in the run."""
    places, config = find_places(config)
    with Clients(places, config) as clients:
        facts = clients.facts()
        measured = clients.ask("measure", 0)
    say(f"plan of {config.out}: {config.method} · {len(places)} clients · {len(places[0].shared)} shared images")
    found = {}
    for place, fact, sizes in zip(places, facts, measured, strict=True):
        steps = count_steps(config, fact["train"], len(place.shared))
        seconds = sum(steps.values()) * sizes["step_seconds"]
        say(
            f"{place.name}: {place.student}, {sizes['parameters']:,} parameters · {fact['train']:,} training and "
            f"{fact['test']:,} held-out images · {sum(steps.values()):,} steps, {format_duration(seconds)}"
        )
        found[place.name] = {**sizes, "examples": fact["train"], "held_out": fact["test"], "steps": steps}
    lanes = min(len(places), config.concurrency or len(os.sched_getaffinity(0)))
    work = [sum(one["steps"].values()) * one["step_seconds"] for one in found.values()]
    total = max(sum(work) / lanes, max(work))
    say(f"time     {format_duration(total)}: measured steps, {lanes} clients at once")
    return {
        "out": config.out,
        "classes": len(places[0].classes),
        "shared": len(places[0].shared),
        "clients": found,
        "seconds": round(total, 1),
    }


def count_steps(config: ClientsConfig, own: int, shared: int) -> dict[str, int]:
    """Steps of a client's phases, over all rounds: on its own images, on the shared ones, in the end, and alone."""
    a_pass, a_shared_pass = -(-own // config.batch), -(-shared // config.batch)
    alone = config.rounds * config.epochs + config.tune_epochs
    return {
        "own": round(config.rounds * config.epochs * a_pass),
        "shared": round(config.rounds * config.exchange_epochs * a_shared_pass),
        "tuning": round(config.tune_epochs * a_pass),
        "alone": round(alone * a_pass),
    }
