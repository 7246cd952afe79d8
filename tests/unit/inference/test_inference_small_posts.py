"""Small requests that are written by hand: the same to the provider as those of aiohttp, and the same to the reader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest
from yarl import URL

from server.inference.providers.connections import CleanConnector, Connector, cut
from server.inference.providers.small_posts import MOST_ADDRESSES, SmallPosts

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer key", "traceparent": "00-1-2-01"}
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Provider:
    """Notes each head and body, and sends `answer` for each."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def connections(self) -> int:
        return len(self.writers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


Use = Callable[[SmallPosts, aiohttp.ClientSession, URL], Awaitable[None]]


def with_provider(answer: bytes, use: Use) -> Provider:
    provider = Provider(answer)

    async def run() -> None:
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?version=a%20b")
        connector: CleanConnector = Connector(limit=0)
        session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": "ostiary", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=5.0),
        )
        async with session, asyncio.timeout(5):
            await use(SmallPosts(session, connector, 65536), session, url)
        server.close()
        await provider.close()

    asyncio.run(run())
    return provider


def test_the_provider_reads_what_aiohttp_would_have_sent() -> None:
    async def use(posts: SmallPosts, session: aiohttp.ClientSession, url: URL) -> None:
        for headers in (HEADERS, HEADERS, {**HEADERS, "Authorization": "Bearer other"}, {"user-agent": "its own"}):
            answer = await posts.post(url, headers, b'{"model":"m"}')
            assert await answer.content.read() == b"{}"
            async with session.post(url, headers=headers, data=b'{"model":"m"}') as usual:
                assert (answer.status, answer.content_length) == (usual.status, usual.content_length)
                assert await usual.read() == b"{}"

    provider = with_provider(PLAIN, use)
    lines = [sorted(head.lower().split(b"\r\n")) for head in provider.heads]
    # aiohttp tells the type of bytes where nothing else does.
    lines[-1].remove(b"content-type: application/octet-stream")
    assert lines[::2] == lines[1::2]
    assert {*provider.bodies} == {b'{"model":"m"}'}
    assert provider.connections == 1


@pytest.mark.parametrize(
    "progress", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 2]
)
def test_heads_that_tell_of_progress_are_no_answer(progress: bytes) -> None:
    async def use(posts: SmallPosts, _session: aiohttp.ClientSession, url: URL) -> None:
        for _ in range(2):
            answer = await posts.post(url, HEADERS, b"{}")
            assert (answer.status, await answer.content.read()) == (200, b"{}")

    assert with_provider(progress + PLAIN, use).connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
    ],
    ids=["switched", "closed", "not whole"],
)
def test_a_connection_that_is_not_free_is_not_used_again(answer: bytes) -> None:
    async def use(posts: SmallPosts, _session: aiohttp.ClientSession, url: URL) -> None:
        for _ in range(2):
            found = await posts.post(url, HEADERS, b"{}")
            if found.status == 200:
                assert await found.content.read(2) == b"{}"
            cut(found)
            cut(found)

    assert with_provider(answer, use).connections == 2


def test_what_reads_a_body_fails_when_the_answer_is_cut() -> None:
    async def use(posts: SmallPosts, _session: aiohttp.ClientSession, url: URL) -> None:
        answer = await posts.post(url, HEADERS, b"{}")
        reading = asyncio.create_task(answer.content.read(1))
        await asyncio.sleep(0)
        cut(answer)
        with pytest.raises(aiohttp.ClientError):
            await reading

    with_provider(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", use)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 two hundred\r\n\r\n", b"\x00\x00\r\n\r\n", b"HTTP/1.1 200 OK\r\nA\r\n\r\n"]
)
def test_an_answer_that_is_no_http_is_a_failure_of_the_client(answer: bytes) -> None:
    async def use(posts: SmallPosts, _session: aiohttp.ClientSession, url: URL) -> None:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientError):
                await posts.post(url, HEADERS, b"{}")

    assert with_provider(answer, use).connections == 2


@pytest.mark.parametrize("value", ["key\r\nHost: other", "key\nA: b", "key\x00"])
def test_no_header_ends_its_line(value: str) -> None:
    async def use(posts: SmallPosts, _session: aiohttp.ClientSession, url: URL) -> None:
        with pytest.raises(ValueError, match="end of a line"):
            await posts.post(url, {"Authorization": value}, b"{}")

    assert with_provider(PLAIN, use).heads == []


def test_heads_of_few_addresses_are_kept() -> None:
    async def use(posts: SmallPosts, _session: aiohttp.ClientSession, url: URL) -> None:
        for number in range(2 * MOST_ADDRESSES):
            answer = await posts.post(url.with_query(number=number), HEADERS, b"{}")
            await answer.content.read()
            assert len(posts._addresses) <= MOST_ADDRESSES

    targets = [head.split(b" ")[1] for head in with_provider(PLAIN, use).heads]
    assert targets == [b"/v1/chat?number=%d" % number for number in range(2 * MOST_ADDRESSES)]
