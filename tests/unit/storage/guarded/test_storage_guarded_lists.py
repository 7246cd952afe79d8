"""Lists of the guarded store: pages are full, bounded, and hold what may be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request

from server.fairness.shares import FairShares
from server.http.errors import ClientGone
from server.http.pagination import list_query, page_of
from server.http.request_state import RequestState
from server.storage.records import list_steps
from server.storage.records.list_steps import ListTooLong
from server.storage.records.record import Draft, Page
from tests.support.guarded_things import EVEN, Work, World


def test_pages_are_full_where_only_questions_tell(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        permit = await world.things.permit_create(world.gate())
        # What may be read lies far behind what may not.
        names = [*(f"x{n}" for n in range(1, 1_001, 2)), *(f"y{n}" for n in range(0, 14, 2)), "z1"]
        await world.things.create_all(permit, [Draft(name, {}) for name in names])
        readable = [name for name in names if name.startswith("y")]
        for newest_first in (False, True):
            expected = readable[::-1] if newest_first else readable
            for limit in (1, 3, 6, 7, 8):
                before = world.pdp.questions
                page = await world.things.page(world.gate(EVEN), Page(limit, newest_first=newest_first))
                assert [record.id for record in page.records] == expected[:limit]
                assert page.has_more is (limit < len(expected))
                assert world.pdp.questions - before < 2 * len(names)
            last = await world.records.find(expected[-1])
            assert last is not None
            page = await world.things.page(world.gate(EVEN), Page(3, before=last.record, newest_first=newest_first))
            assert ([record.id for record in page.records], page.has_more) == (expected[-4:-1], True)

    run(work)


def test_what_comes_and_goes_between_pages_moves_nothing_else(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        for number in range(10):
            await world.add(f"a{number}")
        first = await world.things.page(world.gate(), Page(4))
        await world.add("new")
        for gone in ("a9", "a5"):
            await world.things.delete(world.gate(), gone)
        second = await world.things.page(world.gate(), Page(4, after=first.records[-1]))
        assert [record.id for record in first.records] == ["a9", "a8", "a7", "a6"]
        assert ([record.id for record in second.records], second.has_more) == (["a4", "a3", "a2", "a1"], True)

    run(work)


def test_a_list_that_passes_over_too_many_is_refused_and_shows_nothing_wrong(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: World) -> None:
        permit = await world.things.permit_create(world.gate())
        await world.things.create_all(permit, [Draft(f"a{n}{'2' if n == 30 else '1'}", {}) for n in range(300)])
        for newest_first in (True, False):
            whole = Page(2, newest_first=newest_first)
            found = await world.things.page(world.gate(EVEN), whole)
            assert ([record.id for record in found.records], found.has_more) == (["a302"], False)
        with monkeypatch.context() as bounded:
            bounded.setattr(list_steps, "MOST_PASSED", 100)
            # A page of one needs to know whether there is another one.
            for limit in (1, 2):
                with pytest.raises(ListTooLong, match=r"passed over 1\d\d records"):
                    await world.things.page(world.gate(EVEN), Page(limit))
            one_of_mine = await world.things.page(world.gate(), Page(3))
            assert len(one_of_mine.records) == 3
        with monkeypatch.context() as bounded:
            bounded.setattr(list_steps, "MOST_ASKED", 100)
            with pytest.raises(ListTooLong):
                await world.things.page(world.gate(EVEN), Page(2))

    run(work)


def test_a_list_whose_client_has_gone_waits_for_no_turn(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.add("a")
        database: Any = world.records.database
        shares: FairShares = database._lists
        turns = [shares.take_now(1, ("other", str(number))) for number in range(shares.share.capacity)]
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        state = RequestState("req_1", 0.0, no_send, world.gate())
        request = Request({"type": "http", "query_string": b"", "headers": [], "ostiary.call": state}, receive)
        listing = asyncio.create_task(page_of(request, world.things, list_query(request)))
        await asyncio.sleep(0.1)
        assert (shares.waiting, listing.done()) == (1, False)
        gone.set()
        with pytest.raises(ClientGone):
            await listing
        assert shares.waiting == 0
        for turn in turns:
            assert turn is not None
            turn.end()

    run(work)


async def no_send(_message: Any) -> None:
    """Nothing is sent."""


def test_lists_are_narrowed_by_facet_and_metadata(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        permit = await world.things.permit_create(world.gate())
        odd = {"a'b": 'x"y', "é😀": "%_", "a.b[0]": "?1", "": "$1"}
        drafts = [
            Draft("a", {"metadata": odd, "text": "\0"}, facet="one"),
            Draft("b", {"metadata": {"a'b": "other"}}, facet="one"),
            Draft("c", {"metadata": {}, "a'b": 'x"y'}, facet="two"),
            Draft("d", {"text": '{"metadata": {"a\'b": "x\\"y"}}'}, facet="two"),
        ]
        await world.things.create_all(permit, drafts)

        async def ids(**narrowed: object) -> list[str]:
            page = Page(10, newest_first=False, **narrowed)  # type: ignore[arg-type]
            return [record.id for record in (await world.things.page(world.gate(), page)).records]

        assert await ids(facet="one") == ["a", "b"]
        assert await ids(facet="") == []
        for name, value in odd.items():
            assert await ids(matching=((name, value),)) == ["a"]
            assert await ids(matching=((name, value + "x"),)) == []
        assert await ids(matching=tuple(odd.items()), facet="one") == ["a"]
        await world.things.update(world.gate(), "b", lambda record: replace(record, body={"metadata": {"n": "1"}}))
        assert (await ids(matching=(("n", "1"),)), await ids(matching=(("a'b", "other"),))) == (["b"], [])

    run(work)
