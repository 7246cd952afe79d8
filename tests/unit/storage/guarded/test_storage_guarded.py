"""Records in the guarded store with a real OPA: their owners, what it takes to reach one, and what refusals tell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Resource, Route
from server.authz.permit import AccessDenied, Permit
from server.authz.request_authorization import Gate
from server.authz.request_context import RequestContext
from server.storage.database.database import AlreadyThere
from server.storage.records import permitted
from server.storage.records.guarded import Creation, GuardedStore, NotFound
from server.storage.records.list_steps import ListTooLong
from server.storage.records.record import Draft, Page
from tests.support.guarded_things import ANN, BEN, EVEN, KIND, READER, Work, World


def test_a_record_is_whose_the_decision_says(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        made = await world.add("a")
        assert made.owner == ANN
        assert (await world.things.get(world.gate(), "a")) == made
        with pytest.raises(AccessDenied):
            await world.things.permit_create(world.gate(READER))
        with pytest.raises(AlreadyThere):
            await world.add("a", BEN)
        assert (await world.things.get(world.gate(), "a")).owner == ANN

    run(work)


def test_a_permit_is_for_what_it_was_asked_for(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        elsewhere = GuardedStore(world.records, "sql_record::others")
        with pytest.raises(ValueError, match="for something else"):
            await elsewhere.create(await world.things.permit_create(world.gate()), Draft("a", {}))
        await world.add("a")
        read = await world.gate().permit(Action.READ, Resource(KIND, ("a",), ANN))
        with pytest.raises(ValueError, match="for something else"):
            await world.things.create(Creation(read, None), Draft("b", {}))
        with pytest.raises(ValueError, match="for something else"):
            await world.things.create(await world.things.permit_create(world.gate(), "c"), Draft("d", {}))
        assert await world.records.find_all(["b", "c", "d"]) == []

    run(work)


def test_several_are_made_in_their_order_or_none(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        permit = await world.things.permit_create(world.gate())
        made = await world.things.create_all(permit, [Draft(f"a{n}", {}) for n in range(5)])
        assert [record.ordering for record in made] == sorted({record.ordering for record in made})
        with pytest.raises(AlreadyThere):
            await world.things.create_all(permit, [Draft("b", {}), Draft("a3", {}), Draft("c", {})])
        listed = await world.things.page(world.gate(), Page(10, newest_first=False))
        assert [record.id for record in listed.records] == [f"a{n}" for n in range(5)]

    run(work)


@pytest.mark.parametrize("action", [Action.READ, Action.UPDATE, Action.DELETE])
def test_what_is_missing_takes_as_many_questions_as_what_is_hidden(run: Callable[[Work], None], action: Action) -> None:
    async def work(world: World) -> None:
        await world.add("a")
        for first in (True, False):
            asked = []
            for identity in ("a", "b", "\0"):
                gate = world.gate(BEN)
                if not first:
                    await gate.enter()
                before = world.pdp.questions
                with pytest.raises(NotFound) as missing:
                    await world.things.permit(gate, identity, action)
                assert missing.value.identity == identity
                asked.append(world.pdp.questions - before)
            assert len(set(asked)) == 1, asked

    run(work)


def test_who_may_read_learns_that_more_is_denied(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.add("a", text="x")
        assert (await world.things.get(world.gate(READER), "a")).body == {"text": "x"}
        with pytest.raises(AccessDenied):
            await world.things.update(world.gate(READER), "a", lambda record: replace(record, body={}))
        with pytest.raises(AccessDenied):
            await world.things.delete(world.gate(READER), "a")
        with pytest.raises(NotFound):
            await world.things.delete(world.gate(BEN), "a")
        assert (await world.things.get(world.gate(), "a")).version == 1

    run(work)


def test_several_are_read_as_each_of_them_would_be(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        for identity, owner in (("a", ANN), ("b", BEN), ("c", ANN)):
            await world.add(identity, owner)
        found = await world.things.readable(world.gate(), ["c", "b", "nothing", "a", "a", "\0"])
        assert [*found] == ["c", "a"]
        assert await world.things.readable(world.gate(), []) == {}

    run(work)


def test_those_of_many_that_may_be_read_are_logged_as_one_list(run: Callable[[Work], None], tmp_path: Path) -> None:
    async def work(world: World) -> None:
        permit = await world.things.permit_create(world.gate())
        names = [f"x{number}" for number in range(2_500)]
        await world.things.create_all(permit, [Draft(name, {"text": "t"}) for name in names])
        found = await world.things.readable_among(world.gate(EVEN), [*names, "missing"])
        assert found == {name for name in names if int(name[1:]) % 2 == 0}
        await world.things.delete(world.gate(), "x2")
        expired = Draft("x0e0", {}, lifetime=-1)
        await world.records.database.write(world.records.inserting(expired.owned_by(ANN)))
        assert await world.things.readable_among(world.gate(EVEN), ["x2", "x0e0", "x4"]) == {"x4"}
        assert [*await world.things.known(["x4", "x2", "x0e0"])] == ["x4"]

    run(work)
    kinds = Counter(json.loads(line)["kind"] for line in (tmp_path / "decisions.jsonl").read_text().splitlines())
    assert kinds["list"] == 2
    assert kinds.total() < 10, kinds


def test_too_many_that_need_a_question_are_refused(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(world: World) -> None:
        names = ["x1", "x2", "x3"]
        for name in names:
            await world.add(name)
        assert await world.things.readable_among(world.gate(EVEN), names[:2]) == {"x2"}
        with pytest.raises(ListTooLong):
            await world.things.readable_among(world.gate(EVEN), names)

    monkeypatch.setattr(permitted, "MOST_ASKED", 2)
    run(work)


class CountingGate(Gate):
    """The gate, and how many questions each request for readable resources asked."""

    __slots__ = ("counts",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.counts: list[int] = []

    async def readable(self, resources: Sequence[Resource]) -> list[Permit]:
        """Ask the policy."""
        self.counts.append(len(resources))
        return await super().readable(resources)


def test_the_number_of_questions_does_not_tell_foreign_from_missing(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        for name in ("a", "b", "c"):
            await world.add(name, BEN)
        await world.add("mine")
        for names in (["a", "b", "c"], ["x", "y", "z"], ["a", "x", "y"], ["mine", "a", "x"]):
            gate = CountingGate(
                world.pep, RequestContext("req_1", ANN), Route("GET", "/v1/things"), requires_token=False
            )
            assert [*await world.things.readable(gate, names)] == [name for name in names if name == "mine"]
            assert gate.counts == [3]

    run(work)
