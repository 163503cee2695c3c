"""Which candidates are tried: the default, then those that the table expects most of, then Optuna's.

The table (`agentkd.recommend`) is the memory of Agent K (Grosnit et al. 2024, arXiv 2411.03562): what earned reward in
earlier distillations is tried first. Without one, each other method has a turn, every second one with its defaults, the
others with options that are drawn: all defaults have the same learning rate, and a small budget may end among them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from agentkd.distill.auto.trials import Trials
from agentkd.errors import UserError
from agentkd.recommend.predict import Expected, Recommender, TooFewRows
from agentkd.recommend.space import Space, Span
from agentkd.recommend.table import Candidate, Row, Values, name_candidate
from agentkd.runs.disk import write_atomically
from agentkd.runs.untrusted import METRICS_BYTES, parse_json, read_small

FROM_MEMORY, DRAWN = 4, 20  # candidates of the memory, one a method; those drawn for each method to choose from
STARTUP = 5  # Optuna draws at random until so many candidates have a reward
MEMORY, DEFAULT, DRAW, OPTUNA = "memory", "default", "drawn", "optuna"


class Proposal(NamedTuple):
    """A candidate and where it comes from."""

    candidate: Candidate
    source: str


class Plan(NamedTuple):
    """The first proposals in their order, and what the memory rests on: a line for the user."""

    first: list[Proposal]
    basis: str


def plan_proposals(space: Space, default: Candidate, facts: Values, rows: Sequence[Row], seed: int) -> Plan:
    """The default, then the best candidate of each of the methods that the table expects most of."""
    try:
        recommender = Recommender(rows, seed)
    except TooFewRows:
        return Plan(
            [Proposal(default, DEFAULT), *without_memory(space, default, seed)],
            f"{len(rows)} earlier distillations: too few to expect anything, so each method has a turn",
        )
    expected = expect_all(recommender, space, facts, seed)
    best: dict[str, Candidate] = {}
    for each in expected:
        if each.candidate != default:
            best.setdefault(each.candidate.method, each.candidate)
    basis = recommender.basis()
    first = [Proposal(candidate, MEMORY) for candidate in list(best.values())[:FROM_MEMORY]]
    return Plan(
        [Proposal(default, DEFAULT), *first],
        f"{basis['rows']} earlier distillations of {basis['tasks']} tasks",
    )


def without_memory(space: Space, default: Candidate, seed: int) -> list[Proposal]:
    """Each method once, in an order that the seed draws, alternately with options drawn from its ranges and with its
    defaults. A method without free options has its defaults alone; the default itself is not repeated."""
    rng = Random(seed)
    found: list[Proposal] = []
    for method in rng.sample(list(space.methods), len(space.methods)):
        usual = space.make(method, {})
        drawn = space.draw(method, rng)
        wants_draw = len(found) % 2 == 0
        if drawn != usual and (wants_draw or usual == default):
            found.append(Proposal(drawn, DRAW))
        elif usual != default:
            found.append(Proposal(usual, DEFAULT))
    return found


def expect_all(recommender: Recommender, space: Space, facts: Values, seed: int) -> list[Expected]:
    """What the table lets one expect of the methods' defaults, of what was tried before, and of candidates drawn."""
    rng = Random(seed)
    tried = [space.make(row.method, row.options) for row in recommender.rows if row.method in space.methods]
    drawn = [space.draw(method, rng) for method in space.methods for _ in range(DRAWN if space.free(method) else 0)]
    defaults = [space.make(method, {}) for method in space.methods]
    candidates = {name_candidate(each): each for each in (*defaults, *tried, *drawn)}
    return recommender.expect(facts, candidates.values())


def keep_plan(plan: Plan, path: Path) -> Plan:
    """The plan that a search began with, from its file; written there by a new search.

    The table grows meanwhile, and a search that goes on must not change its mind."""
    if path.exists():
        found: Any = parse_json(read_small(path, METRICS_BYTES))
        try:
            kept = [(Candidate(str(row["method"]), row["options"]), str(row["source"])) for row in found["first"]]
            return Plan([Proposal(*each) for each in kept], str(found["basis"]))
        except (KeyError, TypeError):
            raise UserError(f"{path} is damaged: remove {path.parent}, then the search begins anew") from None
    rows = [{"method": each.candidate.method, "options": dict(each.candidate.options), "source": each.source}
            for each in plan.first]  # fmt: skip
    write_atomically(path, json.dumps({"basis": plan.basis, "first": rows}, indent=1) + "\n")
    return plan


def propose(number: int, plan: Plan, space: Space, trials: Trials, seed: int) -> Proposal:
    """Candidate `number`. It depends on the trials so far and on the seed alone, so a search can be resumed."""
    if number < len(plan.first):
        return plan.first[number]
    return Proposal(ask_optuna(space, trials, seed=seed, number=number), OPTUNA)


def ask_optuna(space: Space, trials: Trials, *, seed: int, number: int) -> Candidate:
    """A candidate of Optuna's TPE, told the rewards of the first step, which all candidates have."""
    try:
        import optuna
    except ImportError:
        raise UserError("--method auto needs optuna: pip install 'agentkd[auto]'") from None

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
    sampler = optuna.samplers.TPESampler(seed=int.from_bytes(digest[:4]), n_startup_trials=STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in trials.done:
        if trial.step == 0:
            params, ranges = as_params(space, trial.candidate)
            study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=trial.reward))
    return suggest(study.ask(), space)


def suggest(trial: Any, space: Space) -> Candidate:
    """A candidate with the values that a trial of Optuna suggests. Options are named by their method: one of the same
    name need not mean the same to two methods."""
    method = trial.suggest_categorical("method", list(space.methods))
    options = {
        name: trial.suggest_float(f"{method}.{name}", span.low, span.high, log=span.log)
        if isinstance(span, Span)
        else trial.suggest_categorical(f"{method}.{name}", span.values)
        for name, span in space.free(method).items()
    }
    return space.make(method, options)


def as_params(space: Space, candidate: Candidate) -> tuple[dict[str, Any], dict[str, Any]]:
    """A candidate as Optuna names it: values and distributions. Values outside of a range count as its end."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    params: dict[str, Any] = {"method": candidate.method}
    ranges: dict[str, Any] = {"method": CategoricalDistribution(list(space.methods))}
    for name, span in space.free(candidate.method).items():
        value, key = candidate.options[name], f"{candidate.method}.{name}"
        if isinstance(span, Span):
            params[key] = min(span.high, max(span.low, float(value)))
            ranges[key] = FloatDistribution(span.low, span.high, log=span.log)
        else:
            params[key], ranges[key] = value, CategoricalDistribution(list(span.values))
    return params, ranges
