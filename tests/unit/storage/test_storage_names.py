"""Records that go by several names, and ids that callers choose: who has a name now, what a rule about one means."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from policy.vocabulary import Action, Anonymous, Decision, Effect, Principal, Resource, StampOwner, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.question import Question
from server.authz.contract.record_filter import (
    Atom,
    Fact,
    NameContains,
    NameIs,
    NameStartsWith,
    RecordFilter,
    Undecided,
)
from server.authz.listing import Listing
from server.authz.permit import MINT, ListPermit, Permit
from server.quota.storage_limit import StorageLimit
from server.storage.database.database import AlreadyThere, Database
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.names import RecordNames, facet_of
from server.storage.records.record import Draft, Page
from server.storage.records.sql_filter import RowVerdict, compile_filter
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened
from tests.support.filter_rows import FACTS, FORBID, PERMIT, clauses, holds, row

ANN, BEN = Principal("ann", "https://a.example"), Principal("ben", "", {"teams": ("infra",), "roles": ("ml",)})
RECORDS = {
    "a": (("a", "b"), ANN),
    "b-1": (("b-1", "ab", "xa"), BEN),
    "c": (("c", "abc"), None),
    "d": (("d",), ANN),
    "B": (("B", "A"), BEN),
}
MANY = 3_000


class Gate:
    """Permits everything to `principal`; calls `between` after each decision, which is when others get their turn."""

    def __init__(self, principal: Principal, between: Callable[[], Awaitable[None]] | None = None) -> None:
        self.principal = principal
        self.asked: list[Resource] = []
        self._between = between
        self.storage_limit: StorageLimit | None = None

    def storage_limit_of(self, _owner: Principal | None) -> StorageLimit | None:
        """None for anybody."""
        return self.storage_limit

    async def enter(self) -> None:
        """Yes."""

    async def permit(self, action: Action, resource: Resource, made: Sequence[str] = ()) -> Permit:
        """Yes, and whoever creates owns."""
        self.asked.append(resource)
        decision = Decision(Verdict.PERMIT, None, None, None, "", "r1", (StampOwner(self.principal),))
        between, self._between = self._between, None
        if between is not None:
            await between()
        return Permit(MINT, self.principal, action, resource, decision, "d")

    @asynccontextmanager
    async def listing(self, action: Action, kind: str, types: tuple[str, ...] = ()) -> AsyncIterator[Listing]:
        """Those whose names begin with `a`; the filter leaves none undecided, so that the policy isn't asked again."""
        where = [(PERMIT, [Atom(NameStartsWith("a"), holds=True)])]
        yield Listing(ListPermit(MINT, Anonymous(), action, kind, clauses(*where), "d"), self._unasked)

    async def listed(self, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """All of them."""
        return await self.readable(resources)

    async def _unasked(self, questions: Sequence[Question]) -> list[Answer]:
        raise AssertionError("the filter leaves nothing undecided")

    async def readable(self, resources: Sequence[Resource]) -> list[Permit]:
        """All of them."""
        return [await self.permit(Action.READ, resource) for resource in resources]


def in_tables(make: Make, work: Callable[[Database, RecordTable, RecordTable], Awaitable[None]]) -> None:
    async def worked() -> None:
        async with opened(make) as database:
            await bring_up_to_date(database, "things")
            await bring_up_to_date(database, "things_names", "things")
            await work(database, RecordTable(database, "things"), RecordTable(database, "things_names"))

    asyncio.run(worked())


async def fill(database: Database, things: RecordTable, names: RecordTable) -> None:
    for identity, (all_names, owner) in RECORDS.items():
        record = Draft(identity, {}, facet=facet_of(all_names)).owned_by(owner)
        named = [Draft(name, {}, parent=identity).owned_by(None) for name in all_names]
        await database.write(things.inserting(record), *map(names.inserting, named))


def test_what_a_rule_says_of_one_name_holds_for_the_record(make: Make) -> None:
    async def compared(database: Database, things: RecordTable, names: RecordTable) -> None:
        await fill(database, things, names)
        chance = random.Random(3)  # noqa: S311 - repeatable on purpose
        facts = [*FACTS, NameIs("ab"), NameIs("xa"), NameStartsWith("x"), NameIs(""), NameIs("nobody's")]
        facts += [
            NameStartsWith(""),
            NameContains("x"),
            NameContains("a\x1fb"),
            NameContains("\x1f"),
            NameIs("a\x1fb"),
            NameStartsWith("a\x1f"),
            NameIs("\x1f"),
            NameStartsWith("b-1\x1fa"),
        ]
        atoms = [Atom(fact, holds) for fact in facts for holds in (True, False)]
        seen = set()
        for _ in range(400):
            counts = [chance.choice([1, 1, 2, 3]) for _ in range(chance.randrange(1, 5))]
            filtered = clauses(*[(chance.choice([PERMIT, FORBID]), chance.sample(atoms, count)) for count in counts])
            found = compile_filter(filtered, database.dialect, names=names.name)
            rows = {record.id: verdict for record, verdict in (await things.page(found, Page(100), 100)).rows}
            for identity, (all_names, owner) in RECORDS.items():
                expected = set(possible(filtered, all_names, owner))
                verdict = rows.get(identity, RowVerdict.DENY)
                seen.add(verdict)
                assert verdict in expected if verdict is not RowVerdict.ASK else True, (filtered, identity)
                assert verdict is RowVerdict.ASK or expected == {verdict}, (filtered, identity, found)
        assert seen == set(RowVerdict)

    in_tables(make, compared)


def possible(filtered: RecordFilter, names: Sequence[str], owner: Principal | None) -> Iterator[RowVerdict]:
    """What the clauses say in plain Python, for every way in which what is undecided may turn out."""
    attributes = {} if owner is None else {name: list(values) for name, values in owner.attributes.items()}
    stored = row(names[0], None if owner is None else owner.id, None if owner is None else owner.issuer, attributes)

    def is_so(fact: Fact, undecided: Iterator[bool]) -> bool:
        if isinstance(fact, NameIs | NameStartsWith | NameContains):
            return any(holds(fact, {**stored, "id": name}, undecided) for name in names)
        return holds(fact, stored, undecided)

    count = sum(isinstance(atom.fact, Undecided) for clause in filtered.clauses for atom in clause.where)
    for answers in itertools.product([True, False], repeat=count):
        undecided = iter(answers)
        met = [
            (clause.effect, [is_so(a.fact, undecided) is a.holds for a in clause.where]) for clause in filtered.clauses
        ]
        applicable = next((effect for effect, tests in met if all(tests)), Effect.FORBID)
        yield RowVerdict.PERMIT if applicable is Effect.PERMIT else RowVerdict.DENY


def test_thousands_of_names_are_one_statement(make: Make) -> None:
    async def listed(database: Database, things: RecordTable, names: RecordTable) -> None:
        await fill(database, things, names)
        many = [(PERMIT if i % 2 else FORBID, [Atom(NameIs(f"n{i}"), holds=True)]) for i in range(MANY)]
        found = compile_filter(
            clauses(*many, (PERMIT, [Atom(NameIs("xa"), holds=True)])), database.dialect, names=names.name
        )
        assert [record.id for record, _ in (await things.page(found, Page(10), 10)).rows] == ["b-1"]

    in_tables(make, listed)


def test_everything_asked_names_all_of_a_record_and_one_without_names_is_missing(make: Make) -> None:
    async def asked(database: Database, things: RecordTable, names: RecordTable) -> None:
        await fill(database, things, names)
        taken = set[str]()
        store = GuardedStore(things, "thing", RecordNames(names.name, lambda given: not taken.isdisjoint(given)))
        gate = Gate(ANN)
        await store.get(gate, "b-1")
        assert gate.asked == [Resource("thing", ("b-1", "ab", "xa"), BEN)]
        assert [record.id for record in (await store.page(gate, Page(9, newest_first=False))).records] == [
            "a",
            "b-1",
            "c",
        ]
        taken.add("xa")
        assert [record.id for record in (await store.page(gate, Page(9, newest_first=False))).records] == ["a", "c"]
        with pytest.raises(NotFound):
            await store.get(gate, "b-1")
        assert gate.asked[-1] == Resource("thing", ("b-1",))

    in_tables(make, asked)


def test_a_decision_to_delete_or_change_is_not_about_the_next_record_of_that_id(make: Make) -> None:
    async def raced(database: Database, things: RecordTable, _names: RecordTable) -> None:
        store = GuardedStore(things, "thing")

        async def made(owner: Principal, identity: str = "mine") -> None:
            await store.create(await store.permit_create(Gate(owner), identity), Draft(identity, {"of": owner.id}))

        async def passed_on() -> None:
            await store.delete(Gate(ANN), "mine")
            await made(BEN)

        await made(ANN)
        with pytest.raises(NotFound):
            await store.delete(Gate(ANN, passed_on), "mine")
        kept = await store.get(Gate(BEN), "mine")
        assert (kept.owner, kept.body) == (BEN, {"of": "ben"})

        await store.delete(Gate(BEN), "mine")
        await made(ANN)
        gate = Gate(ANN, passed_on)
        await store.update(gate, "mine", lambda record: replace(record, body={"of": "ann", "changed": True}))
        # It was asked again about what is there now, and only that decision counted: to change it and to read it.
        assert [resource.owner for resource in gate.asked] == [ANN, ANN, BEN, BEN]

    in_tables(make, raced)


def test_a_permit_to_create_is_for_the_names_that_were_asked_about(make: Make) -> None:
    async def tried(_database: Database, things: RecordTable, _names: RecordTable) -> None:
        store = GuardedStore(things, "thing")
        gate = Gate(ANN)
        permit = await store.permit_create(gate, "a", "alias")
        assert gate.asked == [Resource("thing", ("a", "alias"))]
        with pytest.raises(ValueError, match="something else"):
            await store.create(permit, Draft("b", {}))
        await store.create(permit, Draft("a", {}))
        with pytest.raises(AlreadyThere):
            await store.create(permit, Draft("a", {}))
        with pytest.raises(ValueError, match="something else"):
            await GuardedStore(things, "other").create(permit, Draft("a", {}))

    in_tables(make, tried)
