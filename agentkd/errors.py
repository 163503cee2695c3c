"""Errors that a user can meet, and their exit codes.

`UserError`: the input is wrong, and the user can correct it (exit 2). `WorldError`: a server, the network or the disk
failed (exit 3). Both carry one line that names the problem, with the value, and the remedy.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path

LISTED = 12  # names at most, where a near one is known


class AgentkdError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = 1


class UserError(AgentkdError):
    """Wrong input: an unknown task, a missing file, a malformed line."""

    exit_code = 2


def unknown_name(what: str, name: str, known: Iterable[str], more: str = "") -> UserError:
    """Make the error for a name that is none of the known ones: the nearest, then the known ones, then `more`.

    A long list is left out where a near name is found."""
    names = list(known)
    near = did_you_mean(name, names)
    if near and len(names) > LISTED:
        return UserError(f"unknown {what} '{name}'{near} --help lists all")
    return UserError(f"unknown {what} '{name}'{near or ';'} choose one of: {', '.join(names)}{more}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean A or B?` for the known names nearest to a misspelt one, empty where none is near."""
    by_key = {each.lower().replace("_", "-"): each for each in known}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), by_key, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(by_key[each] for each in close)}?" if close else ""


def near_file(path: Path) -> str:
    """Return `; did you mean A or B?` for the files beside a missing one with the nearest names."""
    return did_you_mean(path.name, [one.name for one in path.parent.iterdir()]) if path.parent.is_dir() else ""


class WorldError(AgentkdError):
    """The world failed: a refused server, no network, a full disk.

    `retry`: whether the same request may succeed later (429, 5xx, refused connection) or is not worth paying for again.
    """

    exit_code = 3

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


class ServerRefused(WorldError):
    """A server refuses the key, the account or the model: no other request would fare better, so a run stops.

    Nothing is written down as final: the next call of the same command asks again."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class SampleFailed(AgentkdError):
    """An agent of the user gave no answer to an item. It is recorded for this sample; the others go on."""


class PutOff(WorldError):
    """A request was not sent, because the run is stopping or the answer comes with a batch.

    Nothing has failed: the next call of the same command continues with it."""
