"""Whose address counts: the connection's, or what proxies say that are trusted, and nobody else's word."""

from __future__ import annotations

import time

import pytest

from server.net.client_address import MOST_HOPS, ClientAddresses

PROXIES = ClientAddresses(["10.0.0.0/8", "192.0.2.7", "2001:db8:aa::/48"])

NONSENSE = (
    "",
    ",",
    "unknown",
    "_hidden",
    "_hidden:80",
    "unknown:80",
    "unix:",
    "203.0.113.05",
    "203.0.113.5:",
    "203.0.113.5:65536",
    "203.0.113.5:port",
    "203.0.113.5:-1",
    "203.0.113.5:80:80",
    "203.0.113.5:\xb2",
    "203.0.113.5/32",
    "203.0.113",
    "[203.0.113.5]",
    "[203.0.113.5]:80",
    "[2001:db8::1",
    "2001:db8::1]",
    "[2001:db8::1]443",
    "[2001:db8::1]:99999",
    "[fe80::1%]",
    "[]",
    '"203.0.113.5',
    '"',
    '""',
    '""203.0.113.5""',
    "for=203.0.113.5",
    "1" * 5000,
    "203.0.113.5:" + "1" * 5000,
)
"""What says nothing of a caller; the proxy that wrote it counts."""


def seen(addresses: ClientAddresses, peer: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    client = None if peer is None else (peer, 50_000)
    return addresses.of({"type": "http", "client": client, "headers": headers})


@pytest.mark.parametrize("peer", ["203.0.113.5", "192.0.2.8", "11.0.0.1", "::ffff:203.0.113.5"])
def test_who_is_no_proxy_is_believed_nothing(peer: str) -> None:
    own = peer.removeprefix("::ffff:")
    for forwarded in ("198.51.100.1", "10.0.0.1", "127.0.0.1", "198.51.100.1, 10.0.0.1", "x"):
        assert seen(PROXIES, peer, forwarded) == own
        assert seen(ClientAddresses([]), peer, forwarded) == own


@pytest.mark.parametrize("peer", ["10.1.2.3", "192.0.2.7", "::ffff:10.1.2.3", "2001:db8:aa::1"])
def test_a_proxy_is_believed_as_far_back_as_proxies_wrote(peer: str) -> None:
    assert seen(PROXIES, peer, "203.0.113.5") == "203.0.113.5"
    assert seen(PROXIES, peer, "6.6.6.6, 203.0.113.5, 10.9.9.9") == "203.0.113.5"
    assert seen(PROXIES, peer, "6.6.6.6", "203.0.113.5", "10.9.9.9") == "203.0.113.5"
    assert seen(PROXIES, peer, "6.6.6.6, 203.0.113.5,10.9.9.9 , 2001:db8:aa::5") == "203.0.113.5"


def test_where_every_hop_is_a_proxy_the_farthest_counts_and_nonsense_ends_the_search() -> None:
    assert seen(PROXIES, "10.1.2.3", "10.0.0.9, 10.0.0.8") == "10.0.0.9"
    assert seen(PROXIES, "10.1.2.3", "203.0.113.5, nonsense, 10.0.0.8") == "10.0.0.8"
    for nonsense in NONSENSE:
        assert seen(PROXIES, "10.1.2.3", nonsense) == "10.1.2.3", nonsense
        assert seen(PROXIES, "10.1.2.3", f"203.0.113.5, {nonsense}") == "10.1.2.3", nonsense
        assert seen(PROXIES, "10.1.2.3", f"203.0.113.5, {nonsense}, 10.0.0.8:90") == "10.0.0.8", nonsense


@pytest.mark.parametrize(
    ("written", "caller"),
    [
        ("198.51.100.3:50001", "198.51.100.3"),
        ("198.51.100.3:0", "198.51.100.3"),
        ("198.51.100.3:65535", "198.51.100.3"),
        ('"198.51.100.3"', "198.51.100.3"),
        ('"198.51.100.3:50001"', "198.51.100.3"),
        ("198.51.100.3\t", "198.51.100.3"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"),
        ('"[2001:db8:1:2::1]:443"', "2001:db8:1:2::/64"),
        ('"2001:DB8:1:2::1"', "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.3", "198.51.100.3"),
        ("[::ffff:198.51.100.3]:443", "198.51.100.3"),
        ("[::ffff:c633:6403]", "198.51.100.3"),
        ("fe80::1%eth0", "fe80::/64"),
        ("[fe80::1%eth0]:443", "fe80::/64"),
    ],
)
def test_a_caller_is_its_address_however_a_proxy_writes_it(written: str, caller: str) -> None:
    assert seen(PROXIES, "10.1.2.3", written) == caller
    assert seen(PROXIES, "10.1.2.3", f"6.6.6.6:1, {written}, 10.9.9.9:4711") == caller
    assert seen(PROXIES, "10.1.2.3", "6.6.6.6:1", written, "[2001:db8:aa::5]:443") == caller


def test_callers_behind_one_proxy_with_other_ports_or_zones_are_told_apart_by_address_alone() -> None:
    ports = {seen(PROXIES, "10.1.2.3", f"198.51.100.3:{port}") for port in (1, 50_001, 65_535)}
    assert ports == {"198.51.100.3"}
    others = {seen(PROXIES, "10.1.2.3", f"198.51.100.{host}:50001") for host in (3, 4)}
    assert others == {"198.51.100.3", "198.51.100.4"}
    zones = {seen(PROXIES, "10.1.2.3", f"[fe80::1%{zone}]:80") for zone in ("eth0", "1", "x" * 20)}
    assert zones == {seen(PROXIES, "fe80::1%lo")} == {"fe80::/64"}


def test_a_proxy_is_known_by_its_zoned_or_mapped_address_too() -> None:
    addresses = ClientAddresses(["fe80::/10", "::ffff:192.0.2.0/120"])
    for proxy in ("fe80::9%eth0", "192.0.2.7", "::ffff:192.0.2.7"):
        assert seen(addresses, proxy, "198.51.100.3:80") == "198.51.100.3"
    assert seen(addresses, "192.0.3.7", "198.51.100.3") == "192.0.3.7"


def test_other_headers_say_nothing() -> None:
    headers = [(b"forwarded", b"for=198.51.100.1"), (b"x-real-ip", b"198.51.100.1"), (b"x-forwarded-host", b"x")]
    assert PROXIES.of({"type": "http", "client": ("10.1.2.3", 1), "headers": headers}) == "10.1.2.3"


def test_an_ipv6_caller_is_its_network_and_who_has_no_address_is_one_caller() -> None:
    nobody = ClientAddresses([])
    assert seen(nobody, "2001:db8:1:2::1") == seen(nobody, "2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert seen(nobody, "2001:db8:1:3::1") != seen(nobody, "2001:db8:1:2::1")
    assert seen(nobody, None) == seen(PROXIES, None, "203.0.113.5") == "unknown"


@pytest.mark.parametrize("lines", [1, MOST_HOPS + 1])
def test_no_more_than_the_last_hops_are_looked_at(lines: int) -> None:
    """A client behind a trusted address may send a head that is full of them."""
    most = ["198.51.100.1", *["10.0.0.9"] * (MOST_HOPS - 1)]
    more = ["198.51.100.1", "10.0.0.8", *["10.0.0.9"] * (MOST_HOPS - 1)]
    for hops, address in ((most, "198.51.100.1"), (more, "10.0.0.8")):
        forwarded = [",".join(hops)] if lines == 1 else hops
        assert seen(PROXIES, "10.0.0.1", *forwarded) == address


def test_an_element_that_is_longer_than_any_address_ends_the_search() -> None:
    zone = "x" * 5000
    assert seen(PROXIES, "10.0.0.1", f"198.51.100.1, [fe80::1%{zone}]") == "10.0.0.1"


@pytest.mark.alone
@pytest.mark.parametrize("hop", ["10.0.0.9", "2001:db8:aa::", "", "[2001:db8:aa::]:1"])
def test_a_head_full_of_proxies_takes_no_time(hop: str) -> None:
    """One read of a connection brings heads of 256 KB, which are looked at before any turn is taken."""
    forwarded = ",".join([hop] * (256 * 1024 // (len(hop) + 1)))
    began = time.process_time()
    seen(PROXIES, "10.0.0.1", forwarded)
    assert time.process_time() - began < 0.01
