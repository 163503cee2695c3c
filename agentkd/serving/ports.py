"""Addresses and ports that a server can listen on."""

import errno
import socket

from agentkd.errors import UserError, WorldError

LOOPBACK = "127.0.0.1"


def check_port(host: str, port: int) -> None:
    """Check that this machine can listen on `host` and `port`.

    Raises UserError for a host that is not this machine's, WorldError for a port that is not free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not block it
            probe.bind(address)
    except PermissionError:
        raise WorldError(f"only root may listen on port {port}: choose one above 1023 with --port") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise WorldError(
                f"port {port} of {host} is taken by another program: choose another with --port, 0 finds one"
            ) from None
        raise UserError(
            f"cannot listen on host {host!r} ({error.strerror}): give an address of this machine, or 0.0.0.0 for all"
        ) from None


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
