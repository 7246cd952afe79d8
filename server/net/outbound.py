"""The guard of requests to hosts that callers may name; it decides by lists of the configuration, before a request.

A name is resolved once for each connection. Every address of the answer is checked, and one of them is connected to, so
that a name can't be another one between the check and the use.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from server.fairness.shares import FairShares, Share
from server.net.plain_http import is_loopback

LONGEST_URL: Final = 2048
"""Characters of an address."""

RESOLVING: Final = Share("names that are looked up", 8, 2, waiting=1024, waiting_each=64, seconds=5.0)
"""Names of hosts that are looked up at the same time, each in a thread of its own."""

RESOLVE_SECONDS: Final = 5.0
"""Limit of the time to look up one name."""

USUAL_PORTS: Final = {"http": 80, "https": 443}
"""The schemes of addresses, with their ports."""

_TEXT: Final = re.compile(r"[!-\[\]^-~]+")
"""Visible characters of ASCII but the backslash, which parsers read differently."""

_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_NEVER: Final = tuple(
    map(
        ip_network,
        ("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128"),
    )
)
"""Addresses of clouds that give out credentials, and that lie outside of the link-local networks."""

_HIDING: Final = tuple(
    map(
        ip_network,
        ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10", "::ffff:0:0:0/96"),
    )
)
"""Networks of IPv6 whose addresses stand for others of IPv4, or are private without being called so."""

Address: TypeAlias = IPv4Address | IPv6Address
Endpoint: TypeAlias = tuple[str, int]
"""A host in lower case, and a port."""

Lookup: TypeAlias = Callable[[str, int], list[str]]
"""Returns the addresses of a name; raises OSError. It runs in a thread."""


class Unreachable(Exception):
    """Raised for an address that is not reached; the message is a sentence that holds no more of it than its host."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The hosts that requests may go to.

    `hosts` are those that callers may name. `plain` are those that may be reached over http, and `private` those that
    may have private addresses. An address of a metadata service, a link-local one and the like is reached only where
    `private` holds the address itself.
    """

    hosts: frozenset[Endpoint] = frozenset()
    plain: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()

    def with_endpoints(self, urls: Iterable[str]) -> Reach:
        """Return this with the endpoints that the configuration itself names, such as `http://localhost:8000/mcp`."""
        found = [parsed(url) for url in urls]
        here = frozenset(host for url in found if is_loopback(host := str(url.host)))
        return Reach(self.hosts | {_endpoint(url) for url in found}, self.plain | here, self.private | here)

    def checked(self, text: str) -> URL:
        """Return the address if it may be reached, as far as it says itself; raises Unreachable."""
        url = parsed(text)
        host, port = _endpoint(url)
        if (host, port) not in self.hosts:
            raise Unreachable(f"`{host}:{port}` is not among the hosts that this server calls tools at")
        if url.scheme == "http" and host not in self.plain:
            raise Unreachable(f"`{host}` is reached over `https://` only")
        if _is_address(host):
            self.check_address(host, host)
        return url

    def check_address(self, host: str, text: str) -> None:
        """Raise Unreachable unless the host may be reached at this address of it."""
        address = _plain_form(text)
        if address is not None and _is_public(address):
            return
        if address is not None and (
            _is_listed(address, self.private) or (host in self.private and _is_private(address))
        ):
            return
        raise Unreachable(f"`{host}` has an address that this server does not connect to")


def parsed(text: str) -> URL:
    """Return an http or https address in its one meaning; raises Unreachable for one that parsers may differ on."""
    if len(text) > LONGEST_URL or not _TEXT.fullmatch(text):
        raise Unreachable(f"the address is not made of at most {LONGEST_URL} visible characters of ASCII, without `\\`")
    try:
        url = URL(text)
        host, port = (url.host or "").lower(), url.port
    except ValueError:
        raise Unreachable("the address is no URL") from None
    if url.scheme not in USUAL_PORTS or not port or not text.lower().startswith(f"{url.scheme}://"):
        raise Unreachable("the address is no `https://` URL")
    if url.user is not None or "@" in re.split(r"[/?#]", text, maxsplit=3)[2]:
        raise Unreachable("the address has a user name or a password in it; use `authorization`")
    if "#" in text:
        raise Unreachable("the address has a fragment")
    if not _is_address(host) and not _is_name(host):
        raise Unreachable("the address has a host that is neither a name nor an address in its usual form")
    return url


def _endpoint(url: URL) -> Endpoint:
    return (url.host or "").lower(), url.port or USUAL_PORTS[url.scheme]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_name(host: str) -> bool:
    """Return whether a host is a name: one that ends in a number is an address in another notation."""
    return len(host) <= 253 and bool(_NAME.fullmatch(host)) and not _NUMBER.fullmatch(host.rpartition(".")[2])


def _plain_form(text: str) -> Address | None:
    """Return an address, in IPv4 where IPv6 only wraps it; None for what is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _is_public(address: Address) -> bool:
    if any(address in network for network in (*_NEVER, *_HIDING)):
        return False
    others = (
        address.is_multicast,
        address.is_reserved,
        address.is_unspecified,
        address.is_private,
        address.is_link_local,
    )
    return address.is_global and not any(others)


def _is_private(address: Address) -> bool:
    """Return whether an address is of this machine or of a private network, and nothing worse."""
    worse = (address.is_link_local, address.is_multicast, address.is_unspecified, address.is_reserved)
    if any(worse) or any(address in network for network in (*_NEVER, *_HIDING)):
        return address == IPv6Address("::1")
    return address.is_loopback or address.is_private or not address.is_global


def _is_listed(address: Address, listed: Collection[str]) -> bool:
    return any(_is_address(host) and _plain_form(host) == address for host in listed)


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses that the system's resolver has for a name; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [*dict.fromkeys(str(address[0]) for *_, address in found)]


class GuardedResolver(AbstractResolver):
    """Looks names up for the connections of one session, and gives out no address before all of the name's are checked.

    Belongs to one event loop.
    """

    def __init__(self, reach: Reach, lookup: Lookup = look_up) -> None:
        self._reach = reach
        self._lookup = lookup
        self._turns = FairShares(RESOLVING)
        self._threads = ThreadPoolExecutor(RESOLVING.capacity, "names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raises Unreachable, OSError where there are none, and NoRoom."""
        turn = await self._turns.take()
        looked = asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        # The thread goes on when it is not waited for any more, and keeps its turn until then.
        looked.add_done_callback(partial(_over, turn.end))
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.shield(looked)
        for address in found:
            self._reach.check_address(host, address)
        return [_result(host, address, port) for address in found]

    async def close(self) -> None:
        """Look nothing up any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _over(end: Callable[[], None], looked: asyncio.Future[list[str]]) -> None:
    end()
    if not looked.cancelled():
        looked.exception()  # it is told to who waits, if anything does


def _result(host: str, address: str, port: int) -> ResolveResult:
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=kind,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
