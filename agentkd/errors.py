"""Errors that a user can meet, and their exit codes.

`UserError`: the input is wrong, and the user can correct it (exit 2). `WorldError`: a server, the network or the disk
failed (exit 3). Both carry one line that names the problem, with the value, and the remedy.
"""


class AgentkdError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = 1


class UserError(AgentkdError):
    """Wrong input: an unknown task, a missing file, a malformed line."""

    exit_code = 2


class WorldError(AgentkdError):
    """The world failed: a refused server, no network, a full disk.

    `retry`: whether the same request may succeed later (429, 5xx, refused connection) or is not worth paying for again.
    """

    exit_code = 3

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


class PutOff(WorldError):
    """A request was not sent, because the run is stopping or the answer comes with a batch.

    Nothing has failed: the next call of the same command continues with it."""
