"""Whose address counts: the connection's, or what proxies say that are trusted, and nobody else's word."""

from __future__ import annotations

import pytest

from server.addresses import ClientAddresses

PROXIES = ClientAddresses(["10.0.0.0/8", "192.0.2.7", "2001:db8:aa::/48"])


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
    for nonsense in ("", ",", "unknown", "_hidden", "203.0.113.5:80", "[2001:db8::1]", "203.0.113.05", "1" * 5000):
        assert seen(PROXIES, "10.1.2.3", nonsense) == "10.1.2.3"


def test_other_headers_say_nothing() -> None:
    headers = [(b"forwarded", b"for=198.51.100.1"), (b"x-real-ip", b"198.51.100.1"), (b"x-forwarded-host", b"x")]
    assert PROXIES.of({"type": "http", "client": ("10.1.2.3", 1), "headers": headers}) == "10.1.2.3"


def test_an_ipv6_caller_is_its_network_and_who_has_no_address_is_one_caller() -> None:
    nobody = ClientAddresses([])
    assert seen(nobody, "2001:db8:1:2::1") == seen(nobody, "2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert seen(nobody, "2001:db8:1:3::1") != seen(nobody, "2001:db8:1:2::1")
    assert seen(nobody, None) == seen(PROXIES, None, "203.0.113.5") == "unknown"
