"""One server's address: its proxy, its requests in flight, and its rest after a failure."""

from __future__ import annotations

import random
import time
import urllib.request
from urllib.parse import unquote, urlencode, urlsplit

from agentkd.credentials import basic_login, find_access, take_secrets

FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds of rest after a failure, doubled at each further one
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Address:
    """One server: what its requests carry, how many are in flight, and whether it rests after a failure.

    `url` is printed and kept, so it holds no password. Raises UserError for a key that cannot be sent."""

    def __init__(self, url: str, *, insecure: bool = False) -> None:
        base, _, query = take_secrets(url).partition("?")
        self.base = base.rstrip("/")
        self.url = f"{self.base}?{query}" if query else self.base
        self.access = find_access(self.url, insecure=insecure)
        self.query = "&".join(part for part in (query, urlencode(self.access.query)) if part)
        self.proxy, login = find_proxy(self.url)
        secure = self.url.startswith("https:")  # then the proxy opens a tunnel; else it reads the request itself
        self.headers = self.access.headers | ({} if secure else login or {})
        self.proxy_headers = login if secure else None
        self.in_flight = self.sent = self.failures = 0
        self.rest_until = 0.0
        self.probed = False

    def target(self, path: str) -> str:
        """The whole URL of a path, with the query that the user gave (Azure's `api-version`)."""
        return f"{self.base}{path}?{self.query}" if self.query else f"{self.base}{path}"

    def is_ready(self, now: float) -> bool:
        """Whether it works, or its rest is over and no request is probing it yet."""
        return not self.failures or (now >= self.rest_until and not self.probed)

    def mark_failed(self, wait: float) -> None:
        """Start a rest, longer each time, of at least `wait` seconds. Requests that fail together count once."""
        now = time.monotonic()
        self.probed = False
        if now >= self.rest_until:
            rest = min(FIRST_REST * 2**self.failures, LONGEST_REST) * random.uniform(0.5, 1.5)
            self.rest_until = now + max(rest, wait)
            self.failures += 1

    def mark_working(self) -> None:
        """End the rest: a request was answered."""
        self.failures, self.rest_until, self.probed = 0, 0.0, False


def find_proxy(url: str) -> tuple[str | None, dict[str, str] | None]:
    """Find the proxy that the environment names for a host, and its login as a header.

    Both are None for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in LOOPBACK or urllib.request.proxy_bypass(host):
        return None, None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy:
        return None, None
    login = urlsplit(proxy)
    if login.username is None:
        return proxy, None
    bare = proxy.replace(f"{login.netloc.rpartition('@')[0]}@", "", 1)
    return bare, {"Proxy-Authorization": basic_login(f"{unquote(login.username)}:{unquote(login.password or '')}")}
