"""Who may ask a server on the user's machine: programs, and its own pages, but no other web page.

A web page that the user has open can send requests to a server on the user's machine: under a name of its own that it
lets resolve to 127.0.0.1 (DNS rebinding), or as a form, for which browsers ask nobody. So a request must name this
server as its host, and may come from no other page.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")


class Visitors:
    """The rule for a server that listens on `host`; `names` are further host names of it."""

    def __init__(self, host: str, names: Collection[str] = ()) -> None:
        self.host = host
        self._names = {*LOOPBACK_NAMES, host.lower(), *(name.lower() for name in names)}
        if host in EVERYWHERE:
            self._names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}

    def why_not(self, request: web.Request) -> str:
        """Why a request is refused, in one line; "" for one that is not."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            named = ", ".join(hosts)[:80]
            return f"{named!r} is not this server: ask for localhost, or start it with --allow-host NAME"
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
            return f"the page {origin[:80]!r} may not ask: a model answers programs, not other web pages"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "another web page may not ask: a model answers programs, not other web pages"
        return ""

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server. An address is no name that a stranger could let resolve to us."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            urlsplit(f"//{host}").port  # noqa: B018  raises where it is no number
        except ValueError:
            return False
        if name in self._names:
            return True
        if self.host not in EVERYWHERE:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
