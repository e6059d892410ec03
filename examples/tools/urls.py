"""Which URLs a tool may ask for: by scheme, and by the hosts that its author lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from interlock import ToolError

PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"(\*|(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\])(:\d{1,5})?")


def check_hosts(hosts: Sequence[str]) -> None:
    """Raises ``ValueError`` for a list of hosts that its author did not mean."""
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(f"http_get: {host!r} is no host; write it in lower case, as in 'example.org' or '*.x.org'")
    if not hosts:
        raise ValueError("http_get: list the hosts it may reach")


@dataclass(frozen=True)
class Target:
    """A URL that may be asked for, read once: what was checked is what is used."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


def target_of(url: str, hosts: Sequence[str]) -> Target:
    """Raises ``ToolError`` for a URL that may not be asked for."""
    if not url.isascii() or not url.isprintable() or re.search(r"[\s\\<>\"^`{|}]", url):
        raise ToolError(f"{shown(url)} holds characters that no URL has; percent-encode them (hosts: xn--…)")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ToolError(f"{shown(url)} is no URL: {error}") from None
    if parts.scheme not in PORTS:
        raise ToolError(f"{shown(url)}: only http and https are allowed")
    if "@" in parts.netloc:
        raise ToolError(f"{shown(url.replace(parts.netloc, '…'))}: a URL with a user or a password is refused")
    host = (parts.hostname or "").removesuffix(".")
    if not any(_matches(pattern, host, port) for pattern in hosts):
        raise ToolError(
            f"host {shown(f'{host}:{port}')} is not allowed. Allowed: {', '.join(hosts)} (ports 80 and 443 "
            "where none is said)"
        )
    return Target(url, parts.scheme, host, port, _path(parts))


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _matches(pattern: str, host: str, port: int) -> bool:
    listed, _, said = pattern.rpartition(":") if re.search(r":\d+$", pattern) else (pattern, "", "")
    if not re.fullmatch(r"[a-z0-9_.:-]+", host) or (port != int(said) if said else port not in PORTS.values()):
        return False
    return listed == "*" or listed.strip("[]") == host or (listed.startswith("*.") and host.endswith(listed[1:]))


def shown(text: str) -> str:
    """What somebody asked for, in a message: in ASCII, and not endless."""
    return ascii(text if len(text) <= 200 else f"{text[:200]}…")
