"""The scene of attacks on a sandbox: a run's work folder among things that are none of the code's business.

Everything that can be attacked belongs to the scene: files, listeners on loopback, processes, queues and memory with
System V keys, a terminal. Nothing of the machine is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "sesame-4711"

# Stands for agentkd. It has keys in its environment, a secret in its memory (at the address that it prints) and one in
# a file that it has opened as descriptor 7.
VICTIM = f"""
import ctypes, os, time
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: where Yama guards all, let any
kept = ctypes.create_string_buffer(b"{SECRET}")
os.dup2(os.open("secret", os.O_RDONLY), 7)
print(ctypes.addressof(kept), flush=True)
time.sleep(600)
"""
FILES = (
    "home/.ssh/id",
    "competition/private/labels.csv",
    "competition/data/train.csv",
    "competition/data/test.csv",
    "runs/other/traces.jsonl",
    "outside/secret",
    "outside/file",
)
SLEEPERS = ("kill", "pidfd", "sigio", "tuned")  # processes that attacks end or change, by name

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Scene:
    """A run of ours in the folder `root`, among other things."""

    root: Path
    received: list[bytes] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Scene:
        for path in FILES:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("id\n" if "/data/" in path else SECRET)
        self.work.mkdir(parents=True)
        environment = {"OPENAI_API_KEY": SECRET, "KAGGLE_KEY": SECRET}
        command = [sys.executable, "-I", "-S", "-c", VICTIM]
        self.victim = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=self.root / "outside")
        self.sleepers = {name: subprocess.Popen(["sleep", "600"]) for name in SLEEPERS}
        outside = os.open(self.root / "outside", os.O_RDONLY)  # the socket's own path may be too long
        self._sockets = [
            self._listen("tcp", socket.SOCK_STREAM, self._accept),
            self._listen("udp", socket.SOCK_DGRAM, self._collect),
            self._listen("dns", socket.SOCK_DGRAM, self._resolve),
            self._listen("abstract", socket.SOCK_STREAM, self._accept, f"\0agentkd-{os.getpid()}-{id(self)}"),
            self._listen("datagrams", socket.SOCK_DGRAM, self._collect, f"/proc/self/fd/{outside}/datagrams"),
            self._listen("local", socket.SOCK_STREAM, self._accept, f"/proc/self/fd/{outside}/socket"),
        ]
        os.close(outside)
        self._terminal, terminal = pty.openpty()
        self.values |= {
            "root": self.root,
            "secret": SECRET,
            "pid": self.victim.pid,
            "tty": os.ttyname(terminal),
            "shared": self._share(),
            "queue": f"/agentkd-{os.getpid()}-{id(self)}",
            **{name: process.pid for name, process in self.sleepers.items()},
        }
        self._terminal_end = terminal
        assert self.victim.stdout is not None
        self.values["address"] = int(self.victim.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._sockets:
            listener.close()
        for process in (self.victim, *self.sleepers.values()):
            process.kill()
            process.communicate()
        for terminal in (self._terminal, self._terminal_end):
            os.close(terminal)
        _libc.shmctl(self.values["shared"], 0, None)  # IPC_RMID
        _libc.mq_unlink(self.values["queue"].encode())

    @property
    def work(self) -> Path:
        return self.root / "runs/this/work"

    def fill(self, script: str) -> str:
        """Put the scene's values in the place of <names> in a script."""
        for name, value in self.values.items():
            script = script.replace(f"<{name}>", str(value))
        return script

    def remove_shared_file(self) -> bool:
        """Whether a file was left in /dev/shm; it is removed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/dev/shm" + self.values["queue"])
            return True
        return False

    def shown(self) -> bytes:
        """What was written to the terminal."""
        os.set_blocking(self._terminal, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._terminal, 1000)
        return b""

    def _share(self) -> int:
        """Shared memory with the secret; returns its id. Only its owner can use it."""
        found = _libc.shmget(0, 4096, 0o1600)  # IPC_PRIVATE, IPC_CREAT
        _libc.shmat.restype = ctypes.c_void_p
        at = _libc.shmat(found, None, 0)
        ctypes.memmove(at, SECRET.encode(), len(SECRET))
        _libc.shmdt(ctypes.c_void_p(at))
        return int(found)

    def shared(self) -> bytes:
        """What is in the shared memory now."""
        at = _libc.shmat(self.values["shared"], None, 0)
        content = ctypes.string_at(at, len(SECRET))
        _libc.shmdt(ctypes.c_void_p(at))
        return content

    def has_queue(self) -> bool:
        """Whether somebody has made the message queue."""
        opened = _libc.mq_open(self.values["queue"].encode(), os.O_RDONLY)
        if opened >= 0:
            os.close(opened)
        return bool(opened >= 0)

    def _listen(self, name: str, kind: int, serve: Callable[[socket.socket], None], path: str = "") -> socket.socket:
        listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET, kind)
        listener.bind(path or ("127.0.0.1", 0))
        self.values[name] = path.strip("\0") if path else listener.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            listener.listen()
        listener.settimeout(60)
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
