"""Servers of tools that are programs: what they get, what they may send, and when they end."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import NoRoom
from server.mcp import session as session_module
from server.mcp import wire as wire_module
from server.mcp.faults import McpFailed
from server.mcp.programs import program_address
from server.mcp.session import Session
from server.mcp.sessions import Sessions
from server.mcp.wire import Server
from tests.support import mcp_program
from tests.support.mcp_client import ALICE, BOB
from tests.support.mcp_programs import call, gone, is_there, run
from tests.support.patience import PATIENCE


def test_a_program_lists_its_tools_and_answers_calls() -> None:
    async def course(sessions: Sessions) -> None:
        async with sessions.using(ALICE, Server(program_address("one"), {})) as session:
            assert [tool["name"] for tool in (await session.tools()).tools] == [*mcp_program.NAMES]
            found = await asyncio.gather(*(session.call("echo", {"text": str(number)}) for number in range(20)))
            assert [each.text for each in found] == [str(number) for number in range(20)]
            assert (await session.call("fails", {})).is_error
            assert (await session.call("words", {"text": "a\nb"})).text == "a\nb"

    run(course)


def test_a_program_sees_what_is_configured_for_it_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")

    async def course(sessions: Sessions) -> None:
        found = json.loads(await call(sessions, "environment"))
        assert found.keys() - {"LC_CTYPE"} == {"PATH", "TOKEN"}
        assert found["TOKEN"] == "word"

    run(course)


def test_no_two_callers_share_a_process() -> None:
    async def course(sessions: Sessions) -> None:
        first, again = await call(sessions, "process"), await call(sessions, "process")
        assert first == again
        others = [await call(sessions, "process", owner=owner) for owner in (BOB, None, None)]
        assert len({first, *others, await call(sessions, "process", "two")}) == 5
        # A caller without a token has one for each use.
        await gone(*map(int, others[1:]))
        assert is_there(int(first))

    run(course)


def test_the_memory_of_a_program_is_bounded() -> None:
    async def course(sessions: Sessions) -> None:
        for group, size, said in (("small", 50, "52428800"), ("small", 300, "no memory"), ("one", 300, "314572800")):
            assert await call(sessions, "fills", group, text=str(size * 1024 * 1024)) == said

    run(course)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("large", "more than 4194304 bytes"), ("half", "has ended"), ("asks", "asked more than 16 questions")],
)
def test_what_a_program_does_wrong_fails_the_call_and_ends_it(name: str, sentence: str) -> None:
    async def course(sessions: Sessions) -> None:
        pid = int(await call(sessions, "process"))
        with pytest.raises(McpFailed, match=sentence):
            await call(sessions, name)
        assert await call(sessions, "echo", text="x") == "x"
        await gone(pid)

    run(course)


def test_a_program_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CALL_SECONDS", 0.3)

    async def course(sessions: Sessions) -> None:
        with pytest.raises(McpFailed, match="did not answer within"):
            await call(sessions, "never")
        assert await call(sessions, "echo", text="x") == "x"
        # One that reads nothing any more is given up as well, however much it is sent.
        for text in ("", "x" * 1_000_000):
            with pytest.raises(McpFailed, match="did not answer within"):
                await call(sessions, "deaf", text=text)

    run(course)


@pytest.mark.parametrize("group", ["gone", "mute"])
def test_a_program_that_does_not_begin_to_speak_leaves_nothing(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "GREETING_SECONDS", 0.3)

    async def course(sessions: Sessions) -> None:
        with pytest.raises(McpFailed):
            await call(sessions, "echo", group)

    run(course)


def test_programs_are_bounded_and_unused_ones_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "PROGRAMS", replace(wire_module.PROGRAMS, capacity=2, each=1, seconds=30.0))

    async def course(sessions: Sessions) -> None:
        others = await call(sessions, "process", owner=BOB)
        first = int(await call(sessions, "process"))
        # The caller's own, and then, as all places are taken, another one's.
        await call(sessions, "process", "two")
        await gone(first)
        assert await call(sessions, "process", owner=BOB) == others
        third: Caller = ("principal", "https://issuer", "carol")
        assert await call(sessions, "echo", owner=third, text="x") == "x"

    run(course)


def test_a_program_makes_way_at_once_unless_a_call_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "PROGRAMS", replace(wire_module.PROGRAMS, capacity=2, each=1, seconds=30.0))
    third: Caller = ("principal", "https://issuer", "carol")

    async def course(sessions: Sessions) -> None:
        async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
            held = list[tuple[Caller, Session]]()
            for owner in (ALICE, BOB):
                # As a response holds them while its model is asked.
                CURRENT.set(owner)
                using = sessions.using(owner, Server(program_address("one"), {}))
                held.append((owner, await stack.enter_async_context(using)))
                await held[-1][1].tools()
            assert await call(sessions, "echo", owner=third, text="x") == "x"
            for owner, session in held:
                CURRENT.set(owner)
                assert (await session.call("echo", {"text": "again"})).text == "again"
            under_way = [asyncio.create_task(call(sessions, "never", owner=owner)) for owner in (ALICE, BOB)]
            await asyncio.sleep(0.1)
            waiting = asyncio.create_task(call(sessions, "echo", owner=third, text="y"))
            assert not (await asyncio.wait([waiting], timeout=0.3))[0]
            under_way[0].cancel()
            assert await waiting == "y"
            under_way[1].cancel()
            await asyncio.wait(under_way)

    run(course)


def test_calls_without_end_in_several_programs_keep_no_other_caller_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "PROGRAMS", replace(wire_module.PROGRAMS, capacity=4, each=2))
    monkeypatch.setattr(wire_module, "FURTHER", replace(wire_module.FURTHER, capacity=1, each=1))
    third: Caller = ("principal", "https://issuer", "carol")

    async def course(sessions: Sessions) -> None:
        greedy = [(owner, group) for group in ("one", "two") for owner in (ALICE, BOB)]
        under_way = [asyncio.create_task(call(sessions, "never", group, owner)) for owner, group in greedy]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE):
            assert await call(sessions, "echo", owner=third, text="x") == "x"
        # No call of the others was cut.
        assert not any(each.done() for each in under_way)
        for each in under_way:
            each.cancel()
        await asyncio.wait(under_way)

    run(course)


def test_a_place_that_is_waited_for_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "PROGRAMS", replace(wire_module.PROGRAMS, capacity=1, each=1, seconds=0.3))

    async def course(sessions: Sessions) -> None:
        await call(sessions, "echo")
        under_way = asyncio.create_task(call(sessions, "never"))
        await asyncio.sleep(0.05)
        with pytest.raises(NoRoom):
            await call(sessions, "echo", owner=BOB)
        under_way.cancel()
        await asyncio.wait([under_way])

    run(course)


@pytest.mark.alone
def test_lines_that_are_no_messages_cost_little_more_than_to_find_them() -> None:
    """They come by the thousand in one turn of the event loop."""
    piece = b"\n" * 16 * 1024

    async def course(sessions: Sessions) -> None:
        await call(sessions, "process")
        ratios = list[float]()
        for _ in range(5):
            began = time.thread_time()
            for _ in range(400_000 // len(piece)):
                assert not [line for line in piece.split(b"\n") if line.lstrip().startswith(b"{")]
            found = time.thread_time()
            assert await call(sessions, "blank", text="\n")
            ratios.append((time.thread_time() - found) / (found - began))
        assert min(ratios) < 2

    run(course)


def test_no_address_names_a_program() -> None:
    async def course(sessions: Sessions) -> None:
        for url in ("stdio:other", "stdio://one", "STDIO:one"):
            with pytest.raises(McpFailed):
                async with sessions.using(ALICE, Server(url, {})):
                    pass

    run(course)
