"""Starts bubblewrap as root so that the code in it is an unprivileged user's. Standard library only.

bwrap itself can only map the user that it is run by. So this process, which then becomes bwrap, makes the user
namespace (its one user is nobody's outside) and shows it the run's folders as that user's.
"""

from __future__ import annotations

import ctypes
import os
import sys

from agentkd.sandbox.helper import read_plan, set_limits, tell
from agentkd.sandbox.mounts import make_user_namespace
from agentkd.sandbox.unprivileged import Refused, become, open_paths, take_back

INSIDE = 1000  # the user's number in the sandbox


def main() -> None:
    """Become the plan's `binary`, with its `argv`, or tell why not."""
    plan = read_plan()
    user: int = plan["user"]
    handed: list[str] = []
    try:
        handed = open_paths(user, plan["read"], plan["write"])
        users = make_user_namespace(INSIDE, user)
        set_limits(plan["limits"])
        become(user)  # bwrap too: a process whose parent has another user id does not die with it
    except (Refused, OSError) as error:
        take_back(handed, user)
        tell(plan["status"], {"refused": str(error)})
        sys.exit(125)
    os.dup2(users, plan["users"])  # bwrap inherits it
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != plan["parent"]:
        sys.exit(125)
    tell(plan["status"], {"handed": handed})
    os.close(plan["status"])
    os.execv(plan["binary"], plan["argv"])
