"""The guarded store of records: every step needs a decision, and the owner comes from the decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from policy.vocabulary import Action, Principal, Resource
from server.authz.permit import AccessDenied, Permit
from server.authz.request_authorization import Gate
from server.quota.storage_limit import StorageExceeded, StorageLimit, Stored
from server.storage.database.database import Database, Overtaken, Step
from server.storage.records.body import Body
from server.storage.records.kind import RecordKind
from server.storage.records.names import RecordNames
from server.storage.records.permitted import PermittedRecords, RecordPage, whole
from server.storage.records.record import Draft, Page, Record
from server.storage.records.removal import Removals
from server.storage.records.table import RecordTable, size_of
from server.storage.records.usage import OverLimit, kept_by, staying_within

_TRIES: Final = 5
"""Retries of a change that another request's change has overtaken."""


class NotFound(Exception):
    """Raised if there is no such record, or the caller may not know of it; the two have one answer."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        self.identity = identity


class Contended(Exception):
    """Raised if concurrent changes keep overtaking this one; the request may be retried."""


@dataclass(frozen=True, slots=True)
class Creation:
    """Leave to create records of one type, and the limit of what their owner may keep; None is no limit."""

    permit: Permit
    limit: StorageLimit | None

    @property
    def owner(self) -> Principal | None:
        """The owner of what is created."""
        return self.permit.owner


class GuardedStore:
    """Records of the resource type `kind`, for callers who pass their gate; they go by their ids unless `names` says
    more. `types` holds every name of a type that has several. `removals` removes records that may have many parts.

    Besides what its methods name, they raise PolicyUnavailable where no decision can be had, DatabaseUnavailable, and
    NoRoom where they return bodies.
    """

    def __init__(
        self,
        records: RecordTable,
        kind: str,
        names: RecordNames | None = None,
        types: tuple[str, ...] = (),
        removals: Removals | None = None,
    ) -> None:
        self._records = records
        self._removals = removals
        self._kind = RecordKind(kind, names, types)
        self._permitted = PermittedRecords(records, self._kind)

    @property
    def table(self) -> str:
        """The table's name."""
        return self._records.name

    def expect_create(self, gate: Gate) -> None:
        """Have the policy asked about a create without names together with what is asked before it, which is next."""
        gate.expect(Action.CREATE, self._kind.new())

    async def permit_create(self, gate: Gate, *names: str, made: Sequence[str] = (), limited: bool = True) -> Creation:
        """Return leave to create a record with these names, the id first; without names, to create one or more records.

        The new records' ids are `made`, for the decision log. They are not `limited` where they take the place of what
        counts already. Raises AccessDenied, and StorageExceeded for a caller that has no room for them.
        """
        permit = await gate.permit(Action.CREATE, self._kind.new(*names), made)
        creation = Creation(permit, gate.storage_limit if limited else None)
        await self.check_room(creation, Stored(max(1, len(made)), 1))
        return creation

    async def check_room(self, creation: Creation, more: Stored) -> None:
        """Raise StorageExceeded if the owner has no room for `more` now; a create that finds less then fails too."""
        if creation.limit is not None:
            await self.check_limit(creation.limit, creation.owner, more)

    async def check_limit(self, limit: StorageLimit | None, owner: Principal | None, more: Stored) -> None:
        """Raise StorageExceeded if the owner has no room within the limit for `more` now."""
        if limit is not None:
            used = await kept_by(self._records.database, owner)
            if (refusal := limit.exceeded_by(used, more)) is not None:
                raise refusal

    async def create(self, creation: Creation, draft: Draft, beside: Sequence[Step] = ()) -> Record:
        """Create the record, owned as the decision says, in one transaction with the steps `beside`.

        Raises AlreadyThere for an id that exists, regardless of its owner, ParentGone, and StorageExceeded.
        """
        record = self._stamped(creation.permit, draft)
        more = Stored(1, size_of(record.body))
        await self.write(creation.limit, creation.owner, more, self._records.inserting(record), *beside)
        return record

    async def create_all(
        self, creation: Creation, drafts: Sequence[Draft], before: Sequence[Step] = (), after: Sequence[Step] = ()
    ) -> list[Record]:
        """Create several records as `create` does, between other steps: all of them, in their order, or none."""
        records = [self._stamped(creation.permit, draft) for draft in drafts]
        more = Stored(len(records), sum(size_of(record.body) for record in records))
        steps = [*before, *map(self._records.inserting, records), *after]
        await self.write(creation.limit, creation.owner, more, *steps)
        return records

    def inserting(self, creation: Creation, draft: Draft) -> Step:
        """Return the step of `create`, for another record's transaction."""
        return self._records.inserting(self._stamped(creation.permit, draft))

    def holding(self, identity: str) -> Step:
        """Return the step of a transaction that adds parts to a record of this store; it raises ParentGone."""
        if self._removals is None:
            raise ValueError("the records of this store have no parts that are removed in steps")
        return self._removals.holding(identity)

    async def write(self, limit: StorageLimit | None, owner: Principal | None, more: Stored, *steps: Step) -> None:
        """Run a transaction that leaves the owner within the limit; `more` is what it adds at least.

        Raises what the steps raise, and StorageExceeded.
        """
        database = self._records.database
        if limit is None:
            await database.write(*steps)
            return
        try:
            await database.write(*steps, staying_within(limit, owner))
        except OverLimit:
            used = await kept_by(database, owner)
            refusal = limit.exceeded_by(used, more)
            raise refusal or StorageExceeded(limit, used, of_bytes=limit.bytes is not None) from None

    def _stamped(self, permit: Permit, draft: Draft) -> Record:
        asked = permit.resource
        is_asked = asked.type == self._kind.type and draft.id in (asked.names or (draft.id,))
        if permit.action is not Action.CREATE or not is_asked:
            raise ValueError("the permit is for something else")
        return draft.owned_by(permit.owner)

    async def get(self, gate: Gate, identity: str, parent: str | None = None, *, whole: bool = True) -> Record:
        """Return the record; raise NotFound where there is none that the caller may read (or none of that parent).

        Unless it is to be `whole`, a large body may be left in the database.
        """
        record, _ = await self._held(gate, identity, parent, Action.READ)
        return await self._whole(record) if whole else record

    async def readable(self, gate: Gate, identities: Sequence[str]) -> dict[str, Record]:
        """Return the existing records that the caller may read, by their ids; their bodies may be left in the
        database.
        """
        found = {stored.id: stored for stored in await self._records.find_all(identities)}
        # As many questions as ids: their number must not reveal which of them exist.
        asked = [
            self._kind.resource(found[identity]) if identity in found else self._kind.missing(identity)
            for identity in identities
        ]
        permits = await gate.readable(asked) if asked else []
        names = [permit.resource.names[0] for permit in permits]
        return {name: found[name].record for name in names if name in found}

    async def readable_among(self, gate: Gate, identities: Sequence[str]) -> set[str]:
        """Return those of these ids under which there are records that the caller may read: what a list of all records
        would hold of them. It is logged as one list.

        Raises ListTooLong where too many need a question of their own, Overlong and NoRoom.
        """
        return await self._permitted.among(gate, identities)

    async def known(self, identities: Sequence[str]) -> dict[str, Record]:
        """Return those of these records that are still there, whose ids `readable_among` has returned.

        Their bodies may be left in the database.
        """
        return {stored.id: stored.record for stored in await self._records.find_all(identities)}

    async def whole(self, records: Sequence[Record], *, held: bool = False) -> list[Record]:
        """Return these records with their bodies, once there is room for them; one that is gone is left out.

        Room that is `held` already is not taken again.
        """
        return await whole(self._records, records, held=held)

    async def _whole(self, record: Record, *, held: bool = False) -> Record:
        read = await self.whole([record], held=held)
        if not read:
            raise NotFound(record.id)
        return read[0]

    async def permit(self, gate: Gate, identity: str, action: Action, *, whole: bool = True) -> Record:
        """Return the record if the caller may read it and do `action` to it; raise NotFound, or AccessDenied where it
        may be read. A large body may be left in the database, as by `get`.
        """
        record, _ = await self._held(gate, identity, None, action)
        return await self._whole(record) if whole else record

    async def permitted(
        self, gate: Gate, identity: str, action: Action, *, shown: bool = True
    ) -> tuple[Record, Permit]:
        """Return the whole record, as `permit` does, and the permit itself.

        With `shown` false the caller need not be one who may read the record, and gets nothing of it.
        """
        record, permit = await self._held(gate, identity, None, action, shown=shown)
        return await self._whole(record), permit

    async def permit_unseen(self, gate: Gate, identity: str, action: Action) -> None:
        """Return if the caller may do `action` to the record, of which it is shown nothing; raise as `permit` does."""
        await self._held(gate, identity, None, action, shown=False)

    async def update(
        self,
        gate: Gate,
        identity: str,
        change: Callable[[Record], Record],
        parent: str | None = None,
        beside: Callable[[Record], Sequence[Step]] = lambda _: (),
    ) -> Record:
        """Return the record after `change`, which may alter its body, facet and end and nothing else.

        The body may be given as its members. The steps that `beside` returns for the record are in the same
        transaction. The caller must be one who may read the record as well, since answers to changes show it.

        Raises NotFound, AccessDenied where the record may be read, Contended, and StorageExceeded if the caller's own
        record would grow beyond what it may keep.
        """
        held = 0
        for _ in range(_TRIES):
            found, _ = await self._held(gate, identity, parent, Action.UPDATE)
            record = await self._whole(found, held=found.body.size <= held)
            held = max(held, found.body.size)
            changed = change(record)
            kept = replace(record, body=Body.of(changed.body), facet=changed.facet, expires_at=changed.expires_at)
            changing = self._records.changing(record, kept.body, kept.facet, kept.expires_at)
            added, more = beside(record), kept.body.size - record.body.size
            # What only shrinks or stays is written however much the owner keeps.
            limit = gate.storage_limit_of(record.owner) if added or more > 0 else None
            with suppress(Overtaken):
                await self.write(limit, record.owner, Stored(0, max(1, more)), changing, *added)
                return replace(kept, version=record.version + 1)
        raise Contended

    async def delete(
        self,
        gate: Gate,
        identity: str,
        parent: str | None = None,
        beside: Callable[[Record], Sequence[Step]] = lambda _: (),
    ) -> Record:
        """Return the deleted record, whose body may not have been read; its parts go with it, and the steps that
        `beside` returns for it run in the same transaction.

        Raises NotFound, and AccessDenied where it may be read.
        """
        record, _ = await self._held(gate, identity, parent, Action.DELETE, shown=False)
        try:
            # The decision was about this record, not about a new one with the same id.
            await self._remove(record, beside(record))
        except Overtaken:
            raise NotFound(identity) from None
        return record

    async def withdraw(self, record: Record, beside: Sequence[Step] = ()) -> None:
        """Remove a record that the same request has created and can't finish, in one transaction with `beside`."""
        with suppress(Overtaken):
            await self._remove(record, beside)

    async def withdraw_all(self, identities: Sequence[str]) -> None:
        """Remove records without parts that the same request has created, as far as they are there, all in one
        transaction.
        """
        await self._records.database.write(*map(self._records.removing, identities))

    async def _remove(self, record: Record, beside: Sequence[Step]) -> None:
        if self._removals is None:
            await self._records.database.write(self._records.removing_this(record), *beside)
        else:
            await self._removals.remove(record, *beside)

    @property
    def database(self) -> Database:
        """The database that the records are in: steps of another store may join a transaction in the same one."""
        return self._records.database

    async def page(self, gate: Gate, page: Page) -> RecordPage:
        """Return a full page of the records that the caller may read; raise ListTooLong, and NoRoom."""
        return await self._permitted.page(gate, page)

    async def _held(
        self, gate: Gate, identity: str, parent: str | None, action: Action, *, shown: bool = True
    ) -> tuple[Record, Permit]:
        """Return the record and leave to do `action` to it; where it is `shown`, the caller may read it too."""
        found = await self._records.find(identity)
        if found is not None and (found.parent != parent or not self._kind.names_of(found)):
            found = None
        # The same questions are asked for a missing record as for another's, so that the time doesn't reveal it.
        resource = self._kind.missing(identity) if found is None else self._kind.resource(found)
        reads = shown and action is not Action.READ
        if reads:
            await _permit_reading(gate, identity, resource)
        try:
            permit = await gate.permit(action, resource)
        except AccessDenied:
            if action is Action.READ or not (reads or await gate.readable([resource])) or found is None:
                raise NotFound(identity) from None
            raise
        if found is None:
            raise NotFound(identity)
        return found.record, permit


async def _permit_reading(gate: Gate, identity: str, resource: Resource) -> None:
    """Return if the caller may read the resource; raise NotFound where it may not."""
    try:
        await gate.permit(Action.READ, resource)
    except AccessDenied:
        raise NotFound(identity) from None
