"""Where a request comes from: the connection's other end, or whom a trusted proxy forwards for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from starlette.types import Scope

_IPV6_HOST_BITS: Final = 64
_REMEMBERED: Final = 4096
_UNKNOWN: Final = "unknown"


class ClientAddresses:
    """Finds the caller's address. `X-Forwarded-For` is read only where the connection comes from a trusted proxy, and
    only as far back as trusted proxies wrote it: what is to the left of them anybody could have written.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        """`trusted` holds addresses and networks; raises ValueError for one that is neither."""
        self._trusted = tuple(ip_network(network) for network in trusted)
        self._direct = lru_cache(_REMEMBERED)(lambda host: _shown(_parsed(host)))

    def of(self, scope: Scope) -> str:
        """The address: of an IPv6 caller the network of 64 bits, which is one household or machine.

        `unknown` where there is none, as on a Unix socket; all of those count as one caller.
        """
        client = scope.get("client")
        if client and not self._trusted:
            return self._direct(client[0])
        address = _parsed(client[0]) if client else None
        if address is None or not self._is_trusted(address):
            return _shown(address)
        for hop in reversed(_forwarded(scope)):
            found = _parsed(hop)
            if found is None:
                break
            address = found
            if not self._is_trusted(address):
                break
        return _shown(address)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded(scope: Scope) -> list[str]:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for line in lines for hop in line.split(",")]


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _shown(address: IPv4Address | IPv6Address | None) -> str:
    if address is None:
        return _UNKNOWN
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 128 - _IPV6_HOST_BITS), strict=False))
    return str(address)
