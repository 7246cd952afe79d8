"""The guarded store with a real OPA: whose a record is, what it takes to reach it, and what that gives away."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from starlette.requests import Request

from policy.vocabulary import Action, Principal, Resource, Route
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint, RequestContext
from server.authz.permit import AccessDenied, Permit
from server.authz.request_authorization import Gate
from server.fairness.outgoing import UNCOUNTED, OutgoingAnswers
from server.fairness.shares import FairShares
from server.http.errors import ClientGone
from server.http.pagination import list_query, page_of
from server.http.request_state import RequestState
from server.storage.database.database import AlreadyThere
from server.storage.database.migrate import bring_up_to_date
from server.storage.records import guarded, list_steps, permitted
from server.storage.records.body_columns import INLINE
from server.storage.records.guarded import Contended, Creation, GuardedStore, NotFound
from server.storage.records.list_steps import ListTooLong
from server.storage.records.record import Draft, Page, Record
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened
from tests.support.opa_engine import OpaServer, compile_config

KIND = "sql_record::things"
POLICY = """
    version: 2
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
        - permit: {actions: [read], resource: "regex:sql_record::things::.*[02468]$"}
          when: user with even in roles
        - forbid: {actions: [create]}
          when: user with reader in roles
        - permit: {actions: [read]}
          when: user with reader in roles
        - permit: {actions: [create, read, update, delete]}
          when: user is owner
"""
ANN, BEN = Principal("ann", "a", {"teams": ("ml",)}), Principal("ben", "a")
READER, EVEN = Principal("reader", "a", {"roles": ("reader",)}), Principal("even", "a", {"roles": ("even",)})


@dataclass(frozen=True)
class World:
    """A store of things, and who decides about them."""

    things: GuardedStore
    records: RecordTable
    pep: PolicyEnforcementPoint
    pdp: PolicyDecisionPoint

    def gate(self, caller: Principal = ANN) -> Gate:
        """The gate of a new request."""
        return Gate(self.pep, RequestContext("req_1", caller), Route("GET", "/v1/things"), requires_token=False)

    async def add(self, identity: str, caller: Principal = ANN, **body: str) -> Record:
        """A new thing of the caller's."""
        return await self.things.create(await self.things.permit_create(self.gate(caller)), Draft(identity, body))


Work = Callable[[World], Awaitable[None]]


@pytest.fixture(scope="module")
def socket(opa_binary: Path) -> Iterator[Path]:
    with OpaServer(opa_binary, compile_config(dedent(POLICY)).archive) as opa:
        yield opa.address


@pytest.fixture
def run(make: Make, socket: Path, tmp_path: Path) -> Callable[[Work], None]:
    """Runs a piece of work in a world of its own."""

    async def worked(work: Work) -> None:
        transport = OpaTransport(UnixAddress(socket), deadline=2.0)
        log = DecisionLog.to_file(tmp_path / "decisions.jsonl")
        pdp = PolicyDecisionPoint(transport, None)
        with ExitStack() as stack:
            stack.callback(transport.close)
            async with opened(make) as database:
                await bring_up_to_date(database, "things")
                records = RecordTable(database, "things")
                await work(World(GuardedStore(records, KIND), records, PolicyEnforcementPoint(pdp, log), pdp))
            await log.close()

    return lambda work: asyncio.run(worked(work))


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


def test_an_update_keeps_everything_that_is_not_its_own(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        made = await world.add("a", text="old")

        def change(record: Record) -> Record:
            return replace(record, body={"text": "new"}, owner=BEN, created_at=1, id="b", parent="c", version=99)

        changed = await world.things.update(world.gate(), "a", change)
        assert changed == replace(made, body={"text": "new"}, version=2) == await world.things.get(world.gate(), "a")

    run(work)


def test_updates_at_the_same_time_are_one_after_the_other(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.add("a", count="0")

        def counted(record: Record) -> Record:
            return replace(record, body={"count": str(int(record.body["count"]) + 1)})

        updates = [world.things.update(world.gate(), "a", counted) for _ in range(6)]
        done = [each for each in await asyncio.gather(*updates, return_exceptions=True) if isinstance(each, Record)]
        kept = await world.things.get(world.gate(), "a")
        assert (kept.version, kept.body) == (1 + len(done), {"count": str(len(done))})
        assert done

    run(work)


def test_the_body_of_a_later_record_with_the_same_id_is_not_shown(run: Callable[[Work], None]) -> None:
    async def work(world: World) -> None:
        await world.add("a", text="x" * INLINE)
        [judged] = (await world.things.readable(world.gate(), ["a"])).values()
        await world.things.delete(world.gate(), "a")
        await world.add("a", BEN, text="y" * INLINE)
        assert await world.things.whole([judged]) == []

    run(work)


def test_who_is_always_overtaken_is_told_so(run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(world: World) -> None:
        size = (await world.add("a", text="x" * UNCOUNTED)).body.size
        tries = 0

        def overtaken(record: Record) -> Record:
            nonlocal tries
            tries += 1
            # Somebody else's change comes between the reading and the writing, every time.
            stale = replace(record, version=record.version - 1)
            object.__setattr__(record, "version", stale.version)
            return record

        outgoing = OutgoingAnswers()
        with pytest.raises(Contended), outgoing.answer():
            try:
                await world.things.update(world.gate(), "a", overtaken)
            finally:
                assert outgoing.shares.used == size  # however often it is read
        assert tries == guarded._TRIES

    run(work)


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
