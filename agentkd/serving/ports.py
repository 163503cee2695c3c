"""Addresses and ports that a server can listen on."""

import errno
import socket

from agentkd.errors import AgentkdError, UserError, WorldError

LOOPBACK = "127.0.0.1"


def check_port(host: str, port: int) -> None:
    """Check that this machine can listen on `host` and `port`. Raises as `take_port` does."""
    take_port(host, port).close()


def take_port(host: str, port: int) -> socket.socket:
    """Take an address, and port 0 for a free one; nobody is answered there before `listen`.

    Raises UserError for a host that is not this machine's, WorldError for a port that is not free."""
    taken: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not block it
        taken.bind(address)
        return taken
    except OSError as error:
        if taken is not None:
            taken.close()
        raise _port_error(host, port, error) from None


def _port_error(host: str, port: int, error: OSError) -> AgentkdError:
    if isinstance(error, PermissionError):
        return WorldError(f"only root may listen on port {port}: choose one above 1023 with --port")
    if error.errno == errno.EADDRINUSE:
        return WorldError(f"port {port} of {host} is taken by another program: choose another with --port, 0 finds one")
    return UserError(
        f"cannot listen on host {host!r} ({error.strerror}): give an address of this machine, or 0.0.0.0 for all"
    )


def local_address(host: str) -> str:
    """The address at which this machine itself reaches a server that listens on `host`."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)


def bracket_ipv6(host: str) -> str:
    """Write a host as URLs do: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def find_free_port() -> int:
    """Find a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
