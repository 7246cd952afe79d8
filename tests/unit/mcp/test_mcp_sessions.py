"""Sessions with servers of tools: whose they are, how long they last, and what is listed in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import NoRoom
from server.mcp import session as session_module
from server.mcp import sessions as sessions_module
from server.mcp.faults import McpFailed, SessionLost
from server.mcp.messages import LONGEST_CURSOR
from server.mcp.sessions import SESSIONS, Sessions
from server.mcp.wire import Server
from tests.support.mcp_client import ALICE, BOB, client
from tests.support.mcp_server import McpStub, mcp_server, tool
from tests.support.patience import PATIENCE


@pytest.fixture
def stub() -> Iterator[McpStub]:
    with mcp_server() as running:
        yield running


async def call(sessions: Sessions, owner: Caller | None, server: Server) -> str:
    async with sessions.using(owner, server) as session:
        return (await session.call("echo", {"text": "x"})).text


def test_the_same_owner_goes_on_in_the_same_session(stub: McpStub) -> None:
    async def course() -> None:
        async with client(stub) as sessions:
            for _ in range(3):
                await call(sessions, ALICE, Server(stub.url, {}))

    asyncio.run(course())
    assert len(stub.sessions) == 1
    assert stub.deleted == ["session-0"]


@pytest.mark.parametrize(
    ("owner", "headers"),
    [(BOB, {}), (None, {}), (ALICE, {"Authorization": "Bearer other"}), (("principal", "https://other", "alice"), {})],
    ids=["another principal", "no principal", "other credentials", "another issuer"],
)
def test_no_session_is_shared(stub: McpStub, owner: Caller | None, headers: dict[str, str]) -> None:
    async def course() -> None:
        async with client(stub) as sessions:
            await asyncio.gather(
                call(sessions, ALICE, Server(stub.url, {})), call(sessions, owner, Server(stub.url, headers))
            )

    asyncio.run(course())
    assert len(stub.sessions) == 2


def test_one_who_leaves_cancels_nothing_of_another(stub: McpStub) -> None:
    async def slow(_: object) -> dict[str, object]:
        await asyncio.sleep(0.2)
        return {"content": [{"type": "text", "text": "done"}]}

    stub.results["echo"] = slow

    async def course() -> str:
        async with client(stub) as sessions:
            alice = asyncio.create_task(call(sessions, ALICE, Server(stub.url, {})))
            bob = asyncio.create_task(call(sessions, BOB, Server(stub.url, {})))
            await asyncio.to_thread(stub.came.wait, PATIENCE)
            bob.cancel()
            return await alice

    assert asyncio.run(course()) == "done"


def test_a_session_ends_when_it_is_unused(stub: McpStub) -> None:
    async def course() -> None:
        async with client(stub, kept_seconds=0.02) as sessions:
            await call(sessions, ALICE, Server(stub.url, {}))
            async with asyncio.timeout(PATIENCE):
                while not stub.deleted:  # noqa: ASYNC110 - the server is in another thread
                    await asyncio.sleep(0.01)

    asyncio.run(course())
    assert stub.deleted == ["session-0"]


def test_a_forgotten_session_fails_the_call_once_and_is_opened_anew(stub: McpStub) -> None:
    async def course() -> str:
        async with client(stub) as sessions:
            await call(sessions, ALICE, Server(stub.url, {}))
            stub.forgets = True
            with pytest.raises(SessionLost):
                await call(sessions, ALICE, Server(stub.url, {}))
            stub.forgets = False
            return await call(sessions, ALICE, Server(stub.url, {}))

    assert asyncio.run(course()) == "x"
    assert len(stub.asked("tools/call")) == 3
    assert len(stub.sessions) == 2


def test_a_session_that_was_idle_is_asked_for_before_a_call(stub: McpStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "ASKED_SECONDS", 0.0)

    async def course() -> str:
        async with client(stub) as sessions:
            await call(sessions, ALICE, Server(stub.url, {}))
            stub.sessions.clear()
            return await call(sessions, ALICE, Server(stub.url, {}))

    assert asyncio.run(course()) == "x"
    assert len(stub.calls()) == 2


def test_a_server_that_can_not_be_reached_leaves_no_session(stub: McpStub) -> None:
    stub.wants = "Bearer x"

    async def course() -> str:
        async with client(stub) as sessions:
            with pytest.raises(McpFailed):
                await call(sessions, ALICE, Server(stub.url, {}))
            stub.wants = None
            return await call(sessions, ALICE, Server(stub.url, {}))

    assert asyncio.run(course()) == "x"


def test_a_caller_gives_up_its_own_oldest_session(stub: McpStub) -> None:
    async def course() -> None:
        async with client(stub) as sessions:
            CURRENT.set(BOB)
            await call(sessions, BOB, Server(stub.url, {}))
            CURRENT.set(ALICE)
            for number in range(SESSIONS.each + 1):
                async with sessions.using(ALICE, Server(stub.url, {"X-Number": str(number)})):
                    pass
            await asyncio.sleep(0.1)
            assert stub.deleted == ["session-1"]

    asyncio.run(course())


def test_sessions_in_use_are_not_given_up(stub: McpStub) -> None:
    async def hold(sessions: Sessions, number: int, until: asyncio.Event) -> None:
        async with sessions.using(ALICE, Server(stub.url, {"X-Number": str(number)})):
            await until.wait()

    async def course() -> None:
        async with client(stub) as sessions:
            until = asyncio.Event()
            holding = [asyncio.create_task(hold(sessions, number, until)) for number in range(SESSIONS.each)]
            await asyncio.sleep(0)
            with pytest.raises(NoRoom):
                await call(sessions, ALICE, Server(stub.url, {}))
            until.set()
            await asyncio.gather(*holding)

    asyncio.run(course())


async def listed(sessions: Sessions, stub: McpStub) -> list[str]:
    async with sessions.using(ALICE, Server(stub.url, {})) as session:
        return [each["name"] for each in (await session.tools(anew=False)).tools]


def test_tools_are_listed_again_only_when_they_have_changed(stub: McpStub) -> None:
    stub.as_events = True

    async def course() -> list[list[str]]:
        async with client(stub) as sessions:
            found = [await listed(sessions, stub), await listed(sessions, stub)]
            stub.pages = [[tool("other")]]
            stub.before = [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
            await call(sessions, ALICE, Server(stub.url, {}))
            return [*found, await listed(sessions, stub)]

    assert asyncio.run(course()) == [["echo", "look"], ["echo", "look"], ["other"]]
    assert len(stub.asked("tools/list")) == 2


def test_many_that_want_a_new_list_at_once_share_it(stub: McpStub) -> None:
    async def course() -> None:
        async with client(stub) as sessions, sessions.using(ALICE, Server(stub.url, {})) as session:
            await asyncio.gather(*(session.tools() for _ in range(12)))
            assert len(stub.asked("tools/list")) == 2
            await session.tools()
            assert len(stub.asked("tools/list")) == 3

    asyncio.run(course())


def test_all_pages_are_listed(stub: McpStub) -> None:
    stub.pages = [[tool("a")], [], [tool("b")]]

    async def course() -> list[str]:
        async with client(stub) as sessions:
            return await listed(sessions, stub)

    assert asyncio.run(course()) == ["a", "b"]


@pytest.mark.parametrize(
    ("pages", "cursors", "reason"),
    [
        ([[tool("a")], [tool("b")]], ["again", "again"], "a page comes again"),
        ([[] for _ in range(40)], None, "more than 32 pages"),
        ([[tool("a")], [tool("b")]], ["x" * (LONGEST_CURSOR + 1)], "cursor of the next page"),
        ([[tool(f"t{number}") for number in range(600)]], None, "more than 512 tools"),
        ([[tool(f"t{n}-{m}") for n in range(300)] for m in range(2)], None, "more than 512 tools"),
        ([[tool("a", description="x" * 300_000)]], None, "more than 262144 bytes"),
        ([[tool("a", description="x" * 200_000)], [tool("b", description="x" * 200_000)]], None, "262144 bytes"),
        ([[tool("a")], [tool("a")]], None, "two tools of one name"),
        ([[{"name": "", "inputSchema": {}}]], None, "whose name"),
        ([[{"name": "a", "inputSchema": []}]], None, "another type"),
    ],
)
def test_a_list_without_bounds_or_sense_is_refused(
    stub: McpStub, pages: list[list[dict[str, object]]], cursors: list[str] | None, reason: str
) -> None:
    stub.pages, stub.cursors = pages, cursors

    async def course() -> None:
        async with client(stub) as sessions:
            with pytest.raises(McpFailed, match=reason):
                await listed(sessions, stub)

    asyncio.run(course())


def test_a_list_has_one_limit_of_time_for_all_pages(stub: McpStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LIST_SECONDS", 0.0)

    async def course() -> None:
        async with client(stub) as sessions:
            with pytest.raises(McpFailed, match="did not list all"):
                await listed(sessions, stub)

    asyncio.run(course())
