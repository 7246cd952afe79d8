"""The guard of hosts that callers name: disguised addresses, names that change, servers that point elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from server.mcp.faults import McpFailed
from server.mcp.wire import Server
from server.net.outbound import Reach, Unreachable
from tests.support.mcp_client import ALICE, client
from tests.support.mcp_server import McpStub, mcp_server

HOSTS = ("tools.example.com", "169.254.169.254", "127.0.0.1", "10.0.0.1", "::ffff:a9fe:a9fe", "localhost", "0.0.0.0")  # noqa: S104 - an address to refuse
EVERY = Reach(hosts=frozenset((host, port) for host in HOSTS for port in (80, 443)), plain=frozenset(HOSTS))
"""All of these hosts are listed, so that a refusal is about their addresses."""


@pytest.fixture
def stub() -> Iterator[McpStub]:
    with mcp_server() as running:
        yield running


@pytest.mark.parametrize(
    "url",
    [
        *("http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://0/"),
        *("http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://127.1/", "http://127.0.0.1/", "http://0.0.0.0/"),
        *("https://localhost./", "https://tools.example.com./", "https://10.0.0.1/", "https://[fe80::1%25eth0]/"),
        *("file:///etc/passwd", "gopher://tools.example.com/", "//tools.example.com/", "https:tools.example.com"),
        *("https://tools.example.com@127.0.0.1/", "https://a:b@tools.example.com/", "https://@tools.example.com/"),
        *("https://tools.example.com\\@127.0.0.1/", "https://tools.example.com\t/", "https://tools.example.com/\n"),
        *("https://tools.example.com/#a", "https://t\u00f6ols.example.com/", "https://tools.example.com:8181/", ""),
        *("https://127.0.0.1%2f@tools.example.com/", "https://tools.example.com%00/", "https://tools.example.com:0/"),
        *("https://evil-tools.example.com/", "https://example.com/", "https://" + "a" * 3000),
    ],
)
def test_an_address_that_is_not_certainly_meant_is_refused(url: str) -> None:
    with pytest.raises(Unreachable):
        EVERY.checked(url)


@pytest.mark.parametrize(
    "url", ["https://tools.example.com/mcp?key=1", "HTTPS://Tools.Example.COM:443/", "http://tools.example.com/"]
)
def test_a_listed_host_is_reached(url: str) -> None:
    assert EVERY.checked(url).host == "tools.example.com"


def test_http_is_only_for_hosts_that_are_listed_for_it() -> None:
    with pytest.raises(Unreachable, match="over `https://` only"):
        Reach(hosts=frozenset({("tools.example.com", 80)})).checked("http://tools.example.com/")


PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8")
PRIVATE = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "::1", "fd00::1", "100.64.0.1", "::ffff:10.0.0.1")
NEVER = (
    *("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.1.1", "ff02::1"),  # noqa: S104 - as above
    *("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "255.255.255.255", "240.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::", "::127.0.0.1", "fec0::1"),
)


@pytest.mark.parametrize(
    ("addresses", "plainly", "as_private"), [(PUBLIC, True, True), (PRIVATE, False, True), (NEVER, False, False)]
)
def test_addresses_of_names(addresses: tuple[str, ...], plainly: bool, as_private: bool) -> None:
    for address in addresses:
        for reach, expected in ((Reach(), plainly), (Reach(private=frozenset({"tools"})), as_private)):
            try:
                reach.check_address("tools", address)
                reached = True
            except Unreachable:
                reached = False
            assert reached is expected, address


def test_an_address_that_is_listed_itself_is_reached() -> None:
    reach = Reach(private=frozenset({"169.254.10.1"}))
    reach.check_address("tools", "169.254.10.1")
    with pytest.raises(Unreachable):
        reach.check_address("tools", "169.254.169.254")


def test_an_endpoint_of_the_configuration_is_reached_on_this_machine_alone() -> None:
    reach = Reach().with_endpoints(["http://localhost:8000/mcp", "https://tools.example.com/mcp"])
    assert reach.checked("http://localhost:8000/mcp")
    reach.check_address("localhost", "127.0.0.1")
    with pytest.raises(Unreachable):
        reach.checked("http://localhost:8181/v1/data")
    with pytest.raises(Unreachable):
        reach.check_address("tools.example.com", "10.0.0.1")


def _reach(stub: McpStub, *, private: bool) -> tuple[Reach, str]:
    """A name for the server, which resolves as a test says."""
    port = int(stub.url.rpartition(":")[2].split("/")[0])
    names = frozenset({"tools.example.com"})
    reach = Reach(frozenset({("tools.example.com", port)}), names, names if private else frozenset())
    return reach, f"http://tools.example.com:{port}/mcp"


async def _listed(stub: McpStub, answers: list[list[str]], times: int = 1, *, private: bool = True) -> int:
    """The number of tools that are listed `times` times, with a new connection each, by a name with these answers."""
    reach, url = _reach(stub, private=private)
    number = 0
    for _ in range(times):
        opening = client(stub, reach, lambda _host, _port: answers.pop(0))
        async with opening as sessions, sessions.using(ALICE, Server(url, {})) as session:
            number += len((await session.tools()).tools)
    return number


def test_the_address_that_was_checked_is_connected_to(stub: McpStub) -> None:
    # The second answer would be a refusal, and it is never asked for: one connection, one answer.
    assert asyncio.run(_listed(stub, [["127.0.0.1"]])) == 2
    assert stub.headers[0]["host"].startswith("tools.example.com:")


def test_a_name_that_turns_to_a_private_address_is_refused(stub: McpStub) -> None:
    with pytest.raises(McpFailed, match="does not connect to"):
        asyncio.run(_listed(stub, [["127.0.0.1"]], private=False))
    with pytest.raises(McpFailed, match="does not connect to"):
        asyncio.run(_listed(stub, [["127.0.0.1"], ["169.254.169.254"]], times=2))
    assert len(stub.asked("initialize")) == 1


def test_one_bad_address_among_good_ones_refuses_the_name(stub: McpStub) -> None:
    with pytest.raises(McpFailed, match="does not connect to"):
        asyncio.run(_listed(stub, [["127.0.0.1", "169.254.169.254"]]))
    assert not stub.headers


def _fails(stub: McpStub, headers: dict[str, str]) -> McpFailed:
    async def course() -> McpFailed:
        async with client(stub) as sessions:
            with pytest.raises(McpFailed) as failed:
                async with sessions.using(ALICE, Server(stub.url, headers)):
                    pass
            return failed.value

    return asyncio.run(course())


def test_nothing_that_a_server_points_to_is_fetched(stub: McpStub) -> None:
    with mcp_server() as inside:
        stub.points_to = inside.url
        stub.redirects = True
        assert "not followed" in str(_fails(stub, {"Authorization": "Bearer secret"}))
        stub.redirects, stub.wants = False, "Bearer other"
        assert "asks for another" in str(_fails(stub, {"Authorization": "Bearer secret"}))
        stub.wants, stub.older = None, True
        _fails(stub, {"Authorization": "Bearer secret"})
        assert not inside.headers and not inside.others
    assert not stub.others


@pytest.mark.parametrize(
    "to", ["//127.0.0.1:1/messages", "http://127.0.0.1:1/", "https://tools.example.com/", "file:///etc"]
)
def test_an_older_server_can_not_send_messages_elsewhere(stub: McpStub, to: str) -> None:
    stub.older, stub.points_to = True, to
    _fails(stub, {})
    assert not stub.posted
