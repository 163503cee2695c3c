"""The audit of installed packages: pins, pip-audit's answers, and the bill of materials."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts/audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_not_pinned_is_found(audit: ModuleType) -> None:
    pins = audit.read_pins("# torch==1\ntorch==2.13.0\nPyYAML==6.0.3\nruamel.yaml==1.0\n")
    assert pins == {"torch": "2.13.0", "pyyaml": "6.0.3", "ruamel-yaml": "1.0"}
    found = audit.find_unpinned({"torch": "2.13.0", "pyyaml": "6.0.4", "evil": "1"}, pins)
    assert found == [
        "pyyaml 6.0.4 is installed, and constraints.txt pins 6.0.3",
        "evil 1 is installed, and constraints.txt pins none",
    ]


def test_what_we_need_is_pinned(audit: ModuleType) -> None:
    """All that pyproject.toml names and that is installed here; `make audit` checks everything that is installed."""
    pins, installed = audit.read_pins(audit.CONSTRAINTS.read_text()), audit.list_installed()
    assert len(pins) > 100 and {"torch", "transformers", "langgraph", "ormsgpack", "aiosqlite"} <= pins.keys()
    for name in ("torch", "transformers", "langgraph-checkpoint", "aiohttp", "pydantic"):
        assert installed.get(name, pins[name]) == pins[name]


def answer(*items: dict[str, Any]) -> str:
    return json.dumps({"dependencies": items, "fixes": []})


SOUND = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
KNOWN = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}


def test_a_vulnerability_is_named_until_it_is_accepted(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit.read_audit(answer(SOUND, SKIPPED, KNOWN), "") == (["c 2: PYSEC-1, fixed in 3"], "")
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-1": "we do not call it"})
    assert audit.read_audit(answer(SOUND, KNOWN), "") == ([], "")


@pytest.mark.parametrize(
    ("out", "error"), [(answer(SKIPPED), ""), (answer(), ""), ("", "Traceback\n  ConnectionError: no such host\n")]
)
def test_no_data_is_not_no_vulnerability(out: str, error: str, audit: ModuleType) -> None:
    found, unreachable = audit.read_audit(out, error)
    assert not found and unreachable


def test_the_bill_of_materials(audit: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    audit.write_sbom([("torch", "2.13.0"), ("pyyaml", "6.0.3")], tmp_path / "build" / "sbom.json")
    bill = json.loads((tmp_path / "build" / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.6"
    assert {part["purl"] for part in bill["components"]} == {"pkg:pypi/torch@2.13.0", "pkg:pypi/pyyaml@6.0.3"}
