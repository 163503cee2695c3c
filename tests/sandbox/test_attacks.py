"""Attacks: each succeeds without isolation, and is stopped in both sandboxes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentkd.sandbox import landlock
from tests.support.attacks import AMPLE, Attack, Battery
from tests.support.more_attacks import ATTACKS
from tests.support.sandboxes import ISOLATED, opened
from tests.support.scene import Scene

SHARED = [attack for attack in ATTACKS if not attack.limits and not attack.alone]
ALONE = [attack for attack in ATTACKS if attack.limits or attack.alone]
# What a machine says that does not have a thing, or keeps it from its users by itself.
LACKING = ("Function not implemented", "not permitted", "not supported", "denied", "No such device", "StopIteration")


@pytest.fixture(scope="module")
def fought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Battery]]:
    """All attacks that share a run, in a sandbox of a kind."""
    batteries: dict[str, Battery] = {}
    with ExitStack() as scenes:

        def fight(kind: str) -> Battery:
            if kind not in batteries:
                sandbox = opened(kind)
                scene = scenes.enter_context(Scene(tmp_path_factory.mktemp(kind)))
                batteries[kind] = Battery(SHARED, sandbox, scene)
            return batteries[kind]

        yield fight


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path) as made:
        yield made


def skip_if_landlock_lets_it(attack: Attack, kind: str) -> None:
    if kind == "landlock" and attack.signals and landlock.abi_version() < landlock.SIGNALS:
        pytest.skip("Landlock keeps signals in from version 6 on (Linux 6.12)")
    if kind == "landlock" and attack.open and os.geteuid():
        pytest.skip("Landlock leaves it to the owner of a file (docs/sandbox.md)")


@pytest.mark.parametrize("attack", SHARED, ids=lambda attack: attack.name)
def test_without_isolation_it_succeeds(attack: Attack, fought: Callable[[str], Battery]) -> None:
    if attack.root and os.geteuid():
        pytest.skip("it is up to root")
    battery = fought("none")
    succeeded, said = battery.succeeded(attack), battery.said[attack.name]
    if not succeeded and any(text in said for text in LACKING):
        pytest.skip(f"this machine refuses it to all: {said}")
    assert succeeded, said


@pytest.mark.parametrize("kind", ISOLATED)
@pytest.mark.parametrize("attack", SHARED, ids=lambda attack: attack.name)
def test_it_is_stopped(attack: Attack, kind: str, fought: Callable[[str], Battery]) -> None:
    skip_if_landlock_lets_it(attack, kind)
    battery = fought(kind)
    assert battery.outcome.ok and battery.said.keys() == {attack.name for attack in SHARED}, battery.outcome
    assert not battery.succeeded(attack), battery.said[attack.name]


@pytest.mark.parametrize("attack", ALONE, ids=lambda attack: attack.name)
def test_alone_without_isolation_it_succeeds(attack: Attack, scene: Scene) -> None:
    outcome = attack.run(opened("none"), scene, AMPLE)
    assert attack.succeeded(scene, outcome.output), outcome


@pytest.mark.parametrize("kind", ISOLATED)
@pytest.mark.parametrize("attack", ALONE, ids=lambda attack: attack.name)
def test_alone_it_is_stopped(attack: Attack, kind: str, scene: Scene) -> None:
    skip_if_landlock_lets_it(attack, kind)
    outcome = attack.run(opened(kind), scene)
    assert not attack.succeeded(scene, outcome.output), outcome
    assert outcome.stopped == attack.stopped, outcome
    assert (scene.work / "harness.py").exists()


@pytest.mark.parametrize("attack", [a for a in ALONE if a.stopped], ids=lambda attack: attack.name)
def test_limits_hold_without_isolation_too(attack: Attack, scene: Scene) -> None:
    assert attack.run(opened("none"), scene).stopped == attack.stopped
