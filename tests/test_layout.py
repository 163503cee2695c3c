"""The house: rooms that can be read, imports that go to lower floors only, and four folders shipped inside the package.

`LAYERS` is the one table of what may import what. docs/architecture.md shows the rooms and floors to a reader.
"""

from __future__ import annotations

import ast
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FOLDERS = ("agents", "retrievers", "prompts", "eval")
SOURCES = [path for folder in ("agentkd", *FOLDERS, "scripts", "tests") for path in (ROOT / folder).rglob("*.py")]
SHIPPED = [path for folder in ("agentkd", *FOLDERS) for path in (ROOT / folder).rglob("*.py")]
ARCHITECTURE = ROOT / "docs/architecture.md"
FOR_ALL = (Path("agentkd"), Path("agentkd/config"))  # every room above their floors may import them

K = "agents.agent_k"
# Lowest first. A module belongs to the longest entry that it begins with; it may import its own entry and lower layers.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("", "errors"),
    ("trace", "matching", "prompts", "stats", "bundle", "credentials", "pretrained", "methods", "user_code"),
    ("config",),
    ("runs",),
    ("models", "sandbox", "recommend"),
    ("serving",),
    ("teacher", "retrievers"),
    ("inference", "verifiers"),
    ("tasks", "proof", "corpus"),
    ("doubts",),
    ("verify", "verify_tools", "report", "machine"),
    ("interchange",),
    ("agents",),
    ("world",),
    ("answering",),
    ("own_agents",),
    ("generate", "verify_run"),
    ("merge",),
    (f"{K}.contract", f"{K}.clock", f"{K}.memory", f"{K}.aside"),
    (f"{K}.border",),
    (f"{K}.scoring", f"{K}.competition", f"{K}.results"),
    (f"{K}.understand", f"{K}.experience"),
    (f"{K}.workspace", f"{K}.reshape"),
    (f"{K}.solvers",),
    (f"{K}.context", f"{K}.workbench"),
    (f"{K}.model",),
    (f"{K}.stages",),
    (f"{K}.graph", f"{K}.checkpoints"),
    (f"{K}.replay", f"{K}.finished"),
    (f"{K}.new_rows",),
    (f"{K}.run", f"{K}.predict", f"{K}.export"),
    ("distill.losses", "distill.checkpoints", "distill.processes", "distill.method"),
    ("distill.resolve", "distill.student", "distill.health", "distill.lora"),
    ("distill.data",),
    ("distill.lessons", "distill.publish"),
    ("distill",),
    ("distill.images", "distill.texts", "elicit"),
    ("distill.vision_language", "distill.clients"),
    ("eval", "reproduce"),
    ("distill.auto", "ask"),
    ("eval.bench", "eval.golden", "api"),
    ("cli",),
    ("__main__",),
)
FLOORS = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}


def module_of(path: Path) -> str:
    """The dotted name below `agentkd`: `agents.kd_cot`; the package itself is ''."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "agentkd" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The longest entry of LAYERS that the module begins with."""
    return max((r for r in FLOORS if module == r or module.startswith(f"{r}.") or not r), key=len)


@cache
def imports() -> dict[str, dict[str, int]]:
    """Module → the modules of this package that it imports when it runs, lazily too, with the line."""
    modules = {module_of(path): path for path in SHIPPED}
    return {module: dict(imported(path, modules)) for module, path in modules.items()}


def imported(path: Path, modules: dict[str, Path]) -> Iterator[tuple[str, int]]:
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if n.removeprefix("agentkd.") in modules else str(node.module) for n in names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "agentkd":
                yield name.removeprefix("agentkd").removeprefix("."), node.lineno


@pytest.mark.parametrize("name", FOLDERS)
def test_the_links_are_relative(name: str) -> None:
    assert os.readlink(ROOT / "agentkd" / name) == f"../{name}"


def test_no_bare_imports() -> None:
    offenders = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            offenders += [f"{path}:{node.lineno} {name}" for name in names if name.split(".")[0] in FOLDERS]
    assert not offenders, "a module would exist twice"


def test_files_of_tests_import_what_is_heavy_at_the_first_use() -> None:
    """Each worker of pytest imports all of them: tests/support/lazy.py is how."""
    heavy = {"torch", "transformers", "trl", "peft", "datasets", "pandas", "sklearn", "lightgbm", "kagglesdk"}
    offenders = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            call = getattr(node, "value", None)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "importorskip":
                names += [str(ast.literal_eval(call.args[0]))]
            offenders += [f"{path}:{node.lineno} {name}" for name in names if name.split(".")[0] in heavy]
    assert not offenders


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in SHIPPED if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not silent


def test_imports_go_to_lower_floors_only() -> None:
    broken = [
        f"{module or 'agentkd'} → {other}, line {line}"
        for module, others in imports().items()
        for other, line in others.items()
        if room_of(module) != room_of(other) and FLOORS[room_of(other)] >= FLOORS[room_of(module)]
    ]
    assert not broken, "\n".join(sorted(broken))


def test_no_circles() -> None:
    """Between modules, lazy imports included: remove all that import nothing more, until none is left."""
    left = {module: {other for other in others if other != module} for module, others in imports().items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"each of these imports another, and one of them itself in the end: {sorted(left)}"


def test_rooms_and_files_can_be_read() -> None:
    crowded = {str(room): n for room, n in Counter(path.parent for path in SHIPPED).items() if n > 20}
    long = {str(path): n for path in SOURCES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 500}
    unused = [room for room in FLOORS if room and not any(room_of(module) == room for module in imports())]
    assert not crowded and not unused
    assert not {path: n for path, n in long.items() if "tests" not in Path(path).parts}


def room_lines() -> dict[str, str]:
    """Folder → what it may import, from the tables of rooms."""
    return dict(
        re.findall(r"^\| `([\w/]+/)` \| .* \| (.*) \|$", ARCHITECTURE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )


def test_every_folder_has_its_line() -> None:
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in SHIPPED} | {"scripts/", "tests/"}
    assert set(room_lines()) == folders | {"recipes/", "docs/"}


def test_docstrings_of_rooms_repeat_what_they_may_import() -> None:
    rooms = {path.parent: path for path in SHIPPED if path.name == "__init__.py"}
    for folder, path in rooms.items():
        allowed = room_lines()[f"{folder.relative_to(ROOT)}/"].replace("–", "no other room")
        says = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
        assert folder == ROOT / "agentkd" or f"May import: {allowed}." in says, path


def test_rooms_import_what_their_line_says() -> None:
    """Room by room, with the last part of its name: `runs` for agentkd/runs/."""
    folder = {module_of(path): path.parent.relative_to(ROOT) for path in SHIPPED}
    strange: list[str] = []
    for module, others in imports().items():
        allowed = room_lines()[f"{folder[module]}/"]
        rooms = {folder[other] for other in others if other in folder} - {folder[module], *FOR_ALL}
        if not re.match("everything|see|its rooms|every room", allowed):
            beyond = {room.name for room in rooms} - set(re.findall(r"\w+", allowed))
            strange += [f"{module} imports {room}; docs/architecture.md allows {allowed}" for room in sorted(beyond)]
    assert not strange, "\n".join(strange)


def test_the_floors_are_those_that_are_enforced() -> None:
    block = re.search(
        r"^## Floors\n.*?```text\n(.*?)```", ARCHITECTURE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    assert block
    shown = [set(line.split()) for line in block[1].splitlines()]
    expected = [{room or "agentkd" for room in rooms} for rooms in LAYERS]
    assert shown == expected, "docs/architecture.md should say:\n" + "\n".join(" ".join(sorted(f)) for f in expected)
