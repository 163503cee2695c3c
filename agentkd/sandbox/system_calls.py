"""The system calls that the filter refuses, with their numbers. Standard library only.

Numbers are on x86-64 (asm/unistd_64.h) and AArch64 (asm-generic/unistd.h); None where a machine has no such call. The
choice follows Docker's default profile, as a list of what is refused, and systemd's RestrictSUIDSGID for the modes.
"""

from __future__ import annotations

import stat

Numbers = tuple[int | None, int | None]

LAST = 462  # mseal (Linux 6.10): calls above it are newer than this table, and absent (ENOSYS)

FORBIDDEN: dict[str, Numbers] = {  # EPERM
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # attributes of files, which Landlock leaves to their owner; shutil does without
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    # the kernel and the machine
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "personality": (135, 92),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
}
ABSENT: dict[str, Numbers] = {  # ENOSYS: callers then take another way
    # memory that belongs to no process
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # System V's and POSIX's memory, queues and semaphores, which have names or keys that other programs use, too
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184),
    "mq_getsetattr": (245, 185),
    # handles of processes; asyncio waits in a thread instead
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    # a way past the filter
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # what they are told stands in memory, out of a filter's sight; libc goes on with clone and openat
    "clone3": (435, 435),
    "openat2": (437, 437),
    # tell what others do with files; Landlock does not look at them
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
}
# Calls that name a process, and the place of that argument: only 0, the caller itself, is let through.
ONLY_ITSELF: dict[str, tuple[Numbers, int]] = {
    "prlimit64": ((302, 261), 0),
    "sched_setaffinity": ((203, 122), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setparam": ((142, 118), 0),
    "sched_setattr": ((314, 274), 0),
    "get_robust_list": ((274, 100), 0),
    "migrate_pages": ((256, 238), 0),
    "move_pages": ((279, 239), 0),
    "setpriority": ((141, 140), 1),
    "getpriority": ((140, 141), 1),
    "ioprio_set": ((251, 30), 1),
    "ioprio_get": ((252, 31), 1),
}
# Values that an argument must not have.
REFUSED_VALUES: dict[str, tuple[Numbers, int, tuple[int, ...]]] = {
    "setpriority": ((141, 140), 0, (1, 2)),  # PRIO_PGRP and PRIO_USER: all processes of a group, of a user
    "getpriority": ((140, 141), 0, (1, 2)),
    "ioprio_set": ((251, 30), 0, (2, 3)),  # IOPRIO_WHO_PGRP, IOPRIO_WHO_USER
    "ioprio_get": ((252, 31), 0, (2, 3)),
    "fcntl": ((72, 25), 1, (8, 15)),  # F_SETOWN, F_SETOWN_EX: who gets SIGIO
    "ioctl": ((16, 29), 1, (0x5412, 0x541C, 0x8901, 0x8902)),  # TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
    "prctl": ((157, 167), 0, (62,)),  # PR_SCHED_CORE
}
# Bits that an argument must not have. clone: CLONE_NEW*.
REFUSED_BITS: dict[str, tuple[Numbers, int, int]] = {
    "clone": ((56, 220), 0, 0x7E020000),
    "chmod": ((90, None), 1, stat.S_ISUID | stat.S_ISGID),
    "fchmod": ((91, 52), 1, stat.S_ISUID | stat.S_ISGID),
    "fchmodat": ((268, 53), 2, stat.S_ISUID | stat.S_ISGID),
    "fchmodat2": ((452, 452), 2, stat.S_ISUID | stat.S_ISGID),
    "creat": ((85, None), 1, stat.S_ISUID | stat.S_ISGID),
    "mknod": ((133, None), 1, stat.S_ISUID | stat.S_ISGID),
    "mknodat": ((259, 33), 2, stat.S_ISUID | stat.S_ISGID),
}
# Calls that open files, and the places of their flags and mode, which counts only for a new file.
OPENS: dict[str, tuple[Numbers, int, int]] = {"open": ((2, None), 1, 2), "openat": ((257, 56), 2, 3)}
NEW_FILE = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE
SOCKET: Numbers = (41, 198)
# The type of a pair of sockets, and the bit that SOCK_DGRAM and SOCK_RAW have: one of a pair can send to any address.
PAIR: tuple[Numbers, int, int] = ((53, 199), 1, 2)
