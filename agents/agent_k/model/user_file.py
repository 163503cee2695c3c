"""A file of code that the user gives (`metric=FILE.py`, `features=FILE.py`): read, and kept in the workspace."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from agentkd.errors import UserError
from agentkd.runs.disk import write_atomically


def read_user_file(option: str, file: str, function: str) -> tuple[str, set[str]]:
    """The text of an option's file, and the names that it defines.

    Raises UserError, with the `function` that it is to have, where it cannot be read as Python."""
    try:
        text = Path(file).expanduser().read_text()
        return text, defined_names(ast.parse(text))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as error:
        raise UserError(f"{option}={file} cannot be read as Python ({error}): give a file with {function}") from None


def keep_code(workspace: Path, prefix: str, code: str) -> Path:
    """Write code into a folder that is named by its content, and return the folder."""
    folder = workspace / "code" / f"{prefix}{hashlib.sha256(code.encode()).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "code.py", code)
    return folder


def defined_names(tree: ast.Module) -> set[str]:
    """The names that a file defines; `lower_is_better` only as True or False."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            flag = isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool)
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            found |= names if flag else names - {"lower_is_better"}
    return found
