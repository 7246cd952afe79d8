"""Calls that wait for an approval: each is used once, by its owner, in its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.storage import approvals as subject
from server.storage.approvals import LIFETIME, ApprovalTable, Waiting
from tests.support.databases import Make, opened

CALL = Waiting("d" * 64, "t" * 64)


def in_table(make: Make, work: Callable[[ApprovalTable], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            table = ApprovalTable(database, "waiting")
            await table.prepare()
            await table.prepare()
            await work(table)

    asyncio.run(worked())


def test_a_call_is_used_once_by_its_owner(make: Make) -> None:
    async def work(table: ApprovalTable) -> None:
        await table.add("a", "ann", CALL, 1000)
        assert (await table.find("a", "bob", 1000), await table.use("a", "bob", 1000)) == (None, False)
        assert (await table.find("b", "ann", 1000), await table.use("b", "ann", 1000)) == (None, False)
        assert await table.find("a", "ann", 1000) == CALL
        assert sorted(await asyncio.gather(*(table.use("a", "ann", 1000) for _ in range(5)))) == [False] * 4 + [True]
        assert await table.find("a", "ann", 1000) is None

    in_table(make, work)


def test_a_call_ends_by_itself(make: Make) -> None:
    async def work(table: ApprovalTable) -> None:
        await table.add("a", "ann", CALL, 1000)
        assert await table.find("a", "ann", 1000 + LIFETIME) == CALL
        after = 1001 + LIFETIME
        assert (await table.find("a", "ann", after), await table.use("a", "ann", after)) == (None, False)
        await table.add("b", "bob", CALL, after)
        assert await table.database.read("SELECT id FROM waiting") == [("b",)]

    in_table(make, work)


def test_the_oldest_calls_of_one_owner_give_way(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST_WAITING", 3)

    async def work(table: ApprovalTable) -> None:
        await table.add("b", "bob", CALL, 1000)
        for number in range(5):
            await table.add(f"a{number}", "ann", CALL, 1001 + number)
        found = await table.database.read("SELECT id FROM waiting ORDER BY id")
        assert [row[0] for row in found] == ["a2", "a3", "a4", "b"]

    in_table(make, work)
