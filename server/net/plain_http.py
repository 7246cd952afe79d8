"""Checks for addresses that may be reached without encryption."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_exposed(url: str) -> bool:
    """Return whether data sent to `url` travels unencrypted to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_allowed(url: str, allowed: Collection[str]) -> bool:
    """Return whether `url` is encrypted, on this machine, or on a host that exactly equals an allowed one."""
    return not is_exposed(url) or urlsplit(url).hostname in {host.lower() for host in allowed}
