"""Run golden cases through the library, and say of each whether value and gradient are equal, by how much not, or why
it is not ours.

A number that the other implementation cannot give (`broken`) must be finite here, or refused in one line; where NaN is
the meaning (mIoU of an absent class, CKA of constant features) it must be NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agentkd.errors import UserError
from agentkd.eval.golden import images, language, rankings, vision
from agentkd.eval.golden.cases import Case, read_cases

Adapter = Callable[[Case], Any]
ADAPTERS: dict[str, Adapter] = {**vision.ADAPTERS, **images.ADAPTERS, **language.ADAPTERS, **rankings.ADAPTERS}
NAN_IS_MEANT = ("miou", "cka")
STEP = 1e-6  # of the differences to both sides


class NotOurs(Exception):
    """The library has no such method or variant."""


class Outcome(NamedTuple):
    """`status` is equal, different or not ours; `detail` says by how much, or why."""

    file: str
    method: str
    name: str
    variant: str
    status: str
    detail: str


def check_files(paths: list[Path]) -> list[Outcome]:
    """Run every case of the files."""
    return [check_case(case, path.name) for path in paths for case in read_cases(path)]


def check_case(case: Case, file: str = "") -> Outcome:
    """Run one case."""
    status, detail = judge(case)
    return Outcome(file, case.method, case.name, case.variant, status, detail)


def judge(case: Case) -> tuple[str, str]:
    """Return the status and its detail."""
    adapter = ADAPTERS.get(case.method)
    if adapter is None:
        return "not ours", f"no method '{case.method}' in the library"
    try:
        found = outputs(adapter, case)
    except UserError as error:
        return ("equal" if case.broken else "different"), f"refused: {error}"
    except KeyError as error:
        return "not ours", f"no variant or input {error} of {case.method}"
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return "different", f"raised {type(error).__name__}: {str(error).splitlines()[0]}"
    faults = list(differences(case.expected, found, case))
    faults += gradient_faults(adapter, case, found) if case.gradient and not faults else []
    if faults:
        return "different", "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    return "equal", "finite, where the other is not" if case.broken and case.method not in NAN_IS_MEANT else ""


def outputs(adapter: Adapter, case: Case) -> dict[str, Any]:
    """What an adapter gives, by name; a single value is the loss."""
    found = adapter(case)
    return found if isinstance(found, dict) else {"loss": found}


def objective(found: dict[str, Any]) -> Tensor:
    """The number whose gradient is compared: `objective` if given, else the total, else the loss, summed."""
    value = next(found[name] for name in ("objective", "total", "loss") if name in found)
    return value.sum() if isinstance(value, Tensor) else torch.as_tensor(value)


def differences(expected: Any, found: Any, case: Case, where: str = "") -> Iterator[str]:
    """Name what differs."""
    if isinstance(found, Tensor):
        found = found.detach().tolist()
    if isinstance(expected, dict):
        for name, value in expected.items():
            if not isinstance(found, dict) or name not in found:
                yield f"{where or 'result'} has no {name}"
            else:
                yield from differences(value, found[name], case, f"{where}.{name}" if where else str(name))
    elif isinstance(expected, list):
        if isinstance(found, float | int) and len(expected) == 1:  # a scalar, where the other keeps an axis of one
            found = [found]
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            yield f"{where} has another shape"
        else:
            for place, (one, other) in enumerate(zip(expected, found, strict=True)):
                yield from differences(one, other, case, f"{where}[{place}]")
    elif isinstance(expected, bool | str) or expected is None or found is None:
        if expected != found:
            yield f"{where} is {found}, expected {expected}"
    elif not close(float(expected), float(found), case):
        yield f"{where} is {found:.12g}, expected {expected:.12g} (off by {abs(found - expected):.3g})"


def close(expected: float, found: float, case: Case) -> bool:
    """Whether two numbers are equal within the tolerance; for a number that is not finite, see the module."""
    if math.isfinite(expected):
        return abs(found - expected) <= case.tolerance.abs + case.tolerance.rel * abs(expected)
    if case.broken and case.method not in NAN_IS_MEANT:
        return math.isfinite(found)
    return found == expected or (math.isnan(found) and math.isnan(expected))


def gradient_faults(adapter: Adapter, case: Case, found: dict[str, Any]) -> list[str]:
    """Name the gradients that differ, but for entries at a kink."""
    tensors = {name: case.inputs[name] for name in case.gradient if isinstance(case.inputs.get(name), Tensor)}
    value = objective(found)
    if not value.requires_grad:
        grads: list[Any] = [None] * len(tensors)
    else:
        grads = list(torch.autograd.grad(value, list(tensors.values()), allow_unused=True))
    faults = []
    for (name, tensor), grad in zip(tensors.items(), grads, strict=True):
        grad = torch.zeros_like(tensor) if grad is None else grad
        expected = torch.tensor(case.gradient[name], dtype=torch.float64).reshape(tensor.shape)
        for place in (~close_entries(expected, grad, case)).nonzero().tolist():
            want, have = float(expected[tuple(place)]), float(grad[tuple(place)])
            if not at_a_kink(adapter, case, name, place, have):
                faults.append(f"gradient of {name}{place} is {have:.12g}, expected {want:.12g}")
    return faults


def close_entries(expected: Tensor, found: Tensor, case: Case) -> Tensor:
    near = (found - expected).abs() <= case.tolerance.abs + case.tolerance.rel * expected.abs()
    return near | (~expected.isfinite() & found.isfinite()) if case.broken else near


def at_a_kink(adapter: Adapter, case: Case, name: str, place: list[int], have: float) -> bool:
    """Whether the objective has no derivative along one entry, and ours is a number between its slopes to both sides.

    The slopes disagree, and go on to do so when the step shrinks: any number between them is right."""

    def value(step: float) -> float:
        moved = case.inputs[name].detach().clone()
        moved[tuple(place)] += step
        inputs = {key: each.detach() if isinstance(each, Tensor) else each for key, each in case.inputs.items()}
        return float(objective(outputs(adapter, case._replace(inputs=inputs | {name: moved}))))

    middle = value(0.0)
    gaps = []
    for step in (STEP, STEP / 10):
        left, right = (middle - value(-step)) / step, (value(step) - middle) / step
        slack = 1e-3 * (1.0 + abs(left) + abs(right))
        if not min(left, right) - slack <= have <= max(left, right) + slack:
            return False
        gaps.append(abs(right - left) if abs(right - left) > slack else 0.0)
    return gaps[1] > 0.5 * gaps[0] > 0.0
