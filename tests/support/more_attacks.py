"""More attacks: by process ids, keys and queues; through /proc, /sys and devices; by what is left behind."""

from __future__ import annotations

import os
import platform
import resource
import stat
from collections.abc import Callable

from agentkd.sandbox import system_calls
from agentkd.sandbox.limits import Limits
from tests.support.attacks import FIRST, Attack, arrived, dead, done, exists, reads, told
from tests.support.scene import Scene

_NUMBERS = {
    **system_calls.FORBIDDEN,
    **system_calls.ABSENT,
    **{name: numbers for name, (numbers, _) in system_calls.ONLY_ITSELF.items()},
    "open_tree_attr": (467, 467),
}


def syscall(name: str, arguments: str) -> str:
    """A call that libc may have no function for; the line prints when it has worked."""
    number = _NUMBERS[name][platform.machine() == "aarch64"]
    return f"result = call(libc.syscall, {number}, {arguments}); print('it is done')\n"


def tuned(look: Callable[[int], bool]) -> Callable[[Scene, str], bool]:
    """The process that attacks change has been changed."""
    return lambda scene, said: look(scene.sleepers["tuned"].pid)


def adjusted(pid: int) -> bool:
    with open(f"/proc/{pid}/oom_score_adj") as file:
        return file.read() == "333\n"


def has_mode(*names: str) -> Callable[[Scene, str], bool]:
    """A file in the work folder has a set-user-ID or set-group-ID bit."""

    def look(scene: Scene, said: str) -> bool:
        modes = [os.lstat(scene.work / name).st_mode for name in names if os.path.lexists(scene.work / name)]
        return any(mode & (stat.S_ISUID | stat.S_ISGID) for mode in modes)

    return look


def is_changed(scene: Scene, said: str) -> bool:
    found = os.stat(scene.root / "outside/file")
    return found.st_mode & 0o777 == 0o666 or found.st_mtime == 0


PROCESSES = [
    Attack(
        "limits of others",
        "import resource; resource.prlimit(<tuned>, resource.RLIMIT_NOFILE, (77, 77))",
        tuned(lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == 77),
    ),
    Attack(
        "priority of others",
        "os.setpriority(os.PRIO_PROCESS, <tuned>, 15)",
        tuned(lambda pid: os.getpriority(os.PRIO_PROCESS, pid) == 15),
    ),
    Attack(
        "scheduling of others",
        "os.sched_setscheduler(<tuned>, os.SCHED_BATCH, os.sched_param(0))",
        tuned(lambda pid: os.sched_getscheduler(pid) == os.SCHED_BATCH),
    ),
    Attack("cores of others", "os.sched_setaffinity(<tuned>, os.sched_getaffinity(0)); print('it is done')", done),
    Attack("disk priority of others", syscall("ioprio_set", "1, <tuned>, 3 << 13"), done),
    Attack("all of the user's priorities", "print(os.getpriority(os.PRIO_USER, 0), 'it is done')", done),
    Attack(
        "memory of others",
        """
class Part(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t)]
got = ctypes.create_string_buffer(32)
ours, theirs = Part(ctypes.addressof(got), 11), Part(<address>, 11)
call(libc.process_vm_readv, <pid>, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
print(got.value.decode())
""",
        told,
    ),
    Attack(
        "descriptors of others",
        syscall("pidfd_open", "<pid>, 0") + syscall("pidfd_getfd", "result, 7, 0") + "print(os.pread(result, 99, 0))",
        told,
    ),
    Attack("files of others in /proc", reads("/proc/<pid>/fd/7"), told),
    Attack("folder of others in /proc", reads("/proc/<pid>/cwd/secret"), told),
    Attack("root of others in /proc", reads("/proc/<pid>/root/<root>/outside/secret"), told),
    Attack("setting of others in /proc", "open('/proc/<tuned>/oom_score_adj', 'w').write('333')", tuned(adjusted)),
    Attack("comparing others", syscall("kcmp", "<pid>, <pid>, 0, 0, 0"), done),
    Attack(
        "signal by pidfd",
        syscall("pidfd_open", "<pidfd>, 0") + syscall("pidfd_send_signal", "result, 9, None, 0"),
        dead("pidfd"),
        signals=True,
    ),
    Attack(
        "signal by SIGIO",
        """
inner, outer = socket.socketpair()
call(libc.fcntl, inner.fileno(), 8, <sigio>)  # F_SETOWN
fcntl.fcntl(inner, fcntl.F_SETFL, os.O_ASYNC)
outer.send(b"x")
""",
        dead("sigio"),
        signals=True,
    ),
    Attack(
        "namespace of others",
        "call(libc.setns, os.open('/proc/<pid>/ns/uts', os.O_RDONLY), 0); print('it is done')",
        done,
        root=True,
    ),
    Attack(
        "crippled supervisors",  # without descriptors they can neither see nor kill what is left
        """
import resource
if not os.fork():
    os.setsid()
    if not os.fork():
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1), os.dup2(1, 2)
        for boss in bosses:
            try:
                resource.prlimit(boss, resource.RLIMIT_NOFILE, (0, 0))
            except OSError:
                pass
        time.sleep(0.7)
        open("crippled", "w").write("x")
    os._exit(0)
time.sleep(0.3)
""",
        exists("runs/this/work/crippled", patience=1.2),
        alone=True,
    ),
]
KEYS = [
    Attack("shared memory of others", "print(ctypes.string_at(call(libc.shmat, <shared>, None, 0), 11))", told),
    Attack(
        "queue left behind",
        "call(libc.mq_open, b'<queue>', os.O_CREAT | os.O_RDWR, 0o600, None)",
        lambda scene, said: scene.has_queue(),
    ),
    Attack("semaphores", "libc.semctl(call(libc.semget, 0, 1, 0o1600), 0, 0); print('it is done')", done),
    Attack("messages", "libc.msgctl(call(libc.msgget, 0, 0o1600), 0, None); print('it is done')", done),
    Attack(
        "keyring",
        syscall("add_key", "b'user', b'agentkd', b'x', 1, -4") + syscall("keyctl", "9, result, -4"),
        done,
    ),
    Attack(
        "abstract socket",
        "s = socket.socket(socket.AF_UNIX); s.connect('\\0<abstract>'); s.sendall(b'<secret>abstract')",
        arrived("abstract"),
    ),
    Attack(
        "local socket",
        "os.chdir('<root>/outside')\n"
        "s = socket.socket(socket.AF_UNIX); s.connect('socket'); s.sendall(b'<secret>local')",
        arrived("local"),
    ),
    Attack(
        "datagram from a pair of sockets",
        "os.chdir('<root>/outside')\n"
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'<secret>datagram', 'datagrams')",
        arrived("datagram"),
    ),
    Attack("vsock", "socket.socket(40, socket.SOCK_STREAM); print('it is done')", done),
    Attack("packet socket", "socket.socket(17, socket.SOCK_RAW); print('it is done')", done, root=True),
]
KERNEL = [  # settings are opened, never written
    Attack("core_pattern", "open('/proc/sys/kernel/core_pattern', 'r+'); print('it is done')", done, root=True),
    Attack("overcommit", "open('/proc/sys/vm/overcommit_memory', 'r+'); print('it is done')", done, root=True),
    Attack(
        "settings in /proc and /sys",
        """
for top in ("/proc/sys", "/proc/irq", "/proc/acpi", "/proc/bus", "/sys/devices/system", "/sys/kernel"):
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                os.close(os.open(f"{folder}/{name}", os.O_WRONLY))
            except OSError:
                continue
            print("it is done", folder, name)
            raise SystemExit
""",
        done,
        root=True,
    ),
    Attack("io_uring", syscall("io_uring_setup", "8, ctypes.create_string_buffer(256)"), done),
    Attack("memfd", "os.memfd_create('x'); print('it is done')", done),
    Attack("userfaultfd", syscall("userfaultfd", "1"), done),  # 1: UFFD_USER_MODE_ONLY
    Attack("namespaces", "call(libc.unshare, 0x10020000); print('it is done')", done),  # CLONE_NEWUSER, CLONE_NEWNS
    Attack(
        "mount",
        """
libc.unshare(0x10020000)
call(libc.mount, b"none", b"/", None, 1 << 14 | 1 << 18, None)
call(libc.mount, b"tmpfs", b".", b"tmpfs", 0, None)
print("it is done")
""",
        done,
        root=True,
    ),
    Attack("mount by handle", syscall("open_tree", "-100, b'/', 1"), done, root=True),
    Attack("open_tree_attr", syscall("open_tree_attr", "-100, b'/', 0, None, 0"), done),
    Attack("chroot", "os.chroot('.'); print('it is done')", done, root=True),
    Attack(
        "handle of a file",
        """
handle = ctypes.create_string_buffer(b"\\x80", 140)
call(libc.name_to_handle_at, -100, b"<root>/outside/secret", handle, ctypes.byref(ctypes.c_int()), 0)
print(os.read(call(libc.open_by_handle_at, os.open(".", os.O_RDONLY), handle, os.O_RDONLY), 99))
""",
        told,
        root=True,
    ),
    Attack(
        "watching others",
        "call(libc.inotify_add_watch, call(libc.inotify_init1, 0), b'<root>/home/.ssh', 0x20); print('it is done')",
        done,
    ),
    Attack("perf", syscall("perf_event_open", "(ctypes.c_uint32 * 32)(1, 128), 0, -1, -1, 0"), done, root=True),
]
FILES = [
    Attack("set-user-ID by chmod", "open('a', 'w').close(); os.chmod('a', 0o4755)", has_mode("a")),
    Attack("set-group-ID by fchmod", "os.fchmod(os.open('b', os.O_CREAT | os.O_RDWR), 0o2755)", has_mode("b")),
    Attack("set-user-ID by open", "os.open('c', os.O_CREAT | os.O_WRONLY, 0o4755)", has_mode("c")),
    Attack("set-user-ID by mknod", "os.mknod('d', stat.S_IFREG | 0o4755)", has_mode("d")),
    Attack(
        "file capability",
        "open('e', 'w'); os.setxattr('e', 'security.capability', bytes.fromhex('0100000200200000' + '00' * 12))",
        lambda scene, said: bool(os.listxattr(scene.work / "e")),
        root=True,
    ),
    Attack("device", "os.mknod('f', stat.S_IFBLK | 0o600, os.makedev(7, 0))", exists("runs/this/work/f"), root=True),
    Attack("hard link", "os.link('<root>/outside/secret', 'g')", exists("runs/this/work/g")),
    Attack("hard link to data", "os.link('<root>/competition/data/train.csv', 'h')", exists("runs/this/work/h")),
    Attack("renaming what is above", "os.rename('<root>/runs/other', '<root>/runs/gone')", exists("runs/gone")),
    Attack("removing data", "os.unlink('<root>/competition/data/test.csv'); print('it is done')", done),
    Attack("truncating data", "os.truncate('<root>/competition/data/train.csv', 0); print('it is done')", done),
    Attack("modes of others' files", "os.chmod('<root>/outside/file', 0o666)", is_changed, open=True),
    Attack("times of others' files", "os.utime('<root>/outside/file', (0, 0))", is_changed, open=True),
    Attack(
        "attributes of others' files", "os.setxattr('<root>/outside/file', 'user.x', b'y'); print('it is done')", done
    ),
    Attack(
        "/dev/shm left behind",
        "open('/dev/shm<queue>', 'w').write('x')",
        lambda scene, said: scene.remove_shared_file(),
    ),
    Attack(
        "text for the terminal",
        "open('<tty>', 'w').write('\\x1b]0;<secret>\\x07')",
        lambda scene, said: b"\x1b]0;" in scene.shown(),
    ),
    Attack("disks", "os.open(next(glob.iglob('/dev/[vsn]d?')), os.O_RDONLY); print('it is done')", done, root=True),
    Attack(
        "files with holes",
        "for i in range(40): open(f'{i}.hole', 'wb').truncate(900_000)\ntime.sleep(1)\nprint('it is done')",
        done,
        Limits(seconds=30, disk_mb=20),
        "disk",
    ),
]
ATTACKS = [*FIRST, *PROCESSES, *KEYS, *KERNEL, *FILES]
