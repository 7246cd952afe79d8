"""The address of a client: the connection's other end, or the client that a trusted proxy forwards for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import Scope

_IPV6_HOST_BITS: Final = 64
_REMEMBERED: Final = 4096
_UNKNOWN: Final = "unknown"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_LAST_PORT: Final = 65535

MOST_HOPS: Final = 32
"""Elements of `X-Forwarded-For` that are looked at, the last ones: clients write as many as a head has room for."""

_LONGEST_HOP: Final = 256
"""Characters of such an element; a longer one is no address."""

_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]\s]+)?)\]|([0-9.]+))(?::([0-9]{1,5}))?")
"""An address as proxies write it, with a port or without one; IPv6 in brackets."""


class ClientAddresses:
    """Finds the client's address.

    `X-Forwarded-For` is read only where the connection comes from a trusted proxy, and only as far back as trusted
    proxies wrote it: any client could have written the elements to the left of them. An element is an address, quoted
    or not, with a port or without one; the port is no part of the address. An element that is anything else (`unknown`,
    a name of the proxy's own, empty) ends the search, and the proxy that wrote it counts as the client. So does the
    proxy that is the last of `MOST_HOPS`.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        """Parse `trusted`, addresses and networks; raise ValueError for an entry that is neither."""
        self._trusted = tuple(_unmapped(ip_network(network)) for network in trusted)
        self._direct = lru_cache(_REMEMBERED)(lambda host: _shown(_parsed(host)))

    def of(self, scope: Scope) -> str:
        """Return the address; for an IPv6 client the network of 64 bits, which is one household or machine.

        `unknown` where there is none, as on a Unix socket; all of those count as one client.
        """
        client = scope.get("client")
        if client and not self._trusted:
            return self._direct(client[0])
        address = _parsed(client[0]) if client else None
        if address is None or not self._is_trusted(address):
            return _shown(address)
        for hop in _forwarded(scope):
            found = _written(hop)
            if found is None:
                break
            address = found
            if not self._is_trusted(address):
                break
        return _shown(address)

    def shown(self, host: str) -> str:
        """Return the address of a connection from `host`, as `of` does."""
        return self._direct(host)

    def is_proxy(self, host: str) -> bool:
        """Return whether a connection from `host` is that of a trusted proxy."""
        address = _parsed(host) if self._trusted else None
        return address is not None and self._is_trusted(address)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded(scope: Scope) -> list[str]:
    """Return the last elements of `X-Forwarded-For`, the last one first."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(lines[-MOST_HOPS:]).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]
    return [hop.decode("latin-1").strip(" \t") for hop in reversed(hops)]


def _written(hop: str) -> IPv4Address | IPv6Address | None:
    """Return the address in an element of `X-Forwarded-For`; None where there is none."""
    if len(hop) > _LONGEST_HOP:
        return None
    if len(hop) > 1 and hop[0] == hop[-1] == '"':
        hop = hop[1:-1]
    node = _NODE.fullmatch(hop)
    if node is None:
        return _parsed(hop)
    inside, plain, port = node.groups()
    if port is not None and int(port) > _LAST_PORT:
        return None
    address = _parsed(plain if inside is None else inside)
    # An IPv4 address never stands in brackets.
    return address if inside is None or ":" in inside else None


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address without its zone, which means something on one machine only."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the network as `_parsed` gives its addresses."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _shown(address: IPv4Address | IPv6Address | None) -> str:
    if address is None:
        return _UNKNOWN
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 128 - _IPV6_HOST_BITS), strict=False))
    return str(address)
