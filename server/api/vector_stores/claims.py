"""Claims on documents: what keeps two requests from changing the chunks of one document at the same time.

A claim is on the links of all documents that a request puts chunks into, and has a note of the chunks that are to come.
They count with the transaction that ends the claim. Whatever else ends it, the note has them removed: so a request that
fails at any point, or whose process is killed, changes nothing of what was there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from policy.vocabulary import Principal
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.links import MOST_LINKS, Link, NewLink, Status, Strategy
from server.api.vector_stores.purges import Ordinals, PurgeNotes
from server.api.vector_stores.store import VectorStores
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database.database import AlreadyThere, Overtaken, ParentGone, Step
from server.storage.records.body import Body
from server.storage.records.guarded import Contended, NotFound
from server.storage.records.record import Json, Record
from server.storage.records.usage import having_at_most

CLAIM_SECONDS: Final = 90
"""Seconds for which a request keeps others from changing a document; a change waits for a purge for less."""

WAIT_SECONDS: Final = 10.0
"""Seconds that a request waits for another one that changes the same document."""

MOST_STRAY: Final = 4000
"""Chunks of one document that are known to be on their way out of the index."""

_PAUSE: Final = 0.05
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """The links of the documents that one request changes, and the note of the chunks that it puts in."""

    store: Record
    links: Mapping[str, Link]
    note: Record

    def check(self) -> None:
        """Raise Contended where others may change the documents again."""
        if any(link.record.body["busy_until"] <= time.time() for link in self.links.values()):
            raise Contended

    def first(self, document: str) -> int:
        """Return the ordinal of the first chunk that the request puts into a document."""
        first: int = self.links[document].record.body["first"]
        return first

    @property
    def stray(self) -> Ordinals:
        """The chunks that don't count and may still be in the index, by their parts."""
        found = {link.part: link.record.body["stray"] for link in self.links.values()}
        return {part: ordinals for part, ordinals in found.items() if ordinals}


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a document by a request: how many chunks come and how many go, with the bytes that they take, and
    which ones are to be removed. `attributes` are those of the document then, None for those that the claim gave it.
    """

    chunks: int
    bytes: int
    going: int
    going_bytes: int
    removed: Sequence[int]
    attributes: Mapping[str, Any] | None


class Claims:
    """Claims on the documents of stores; their notes are among `notes`."""

    def __init__(self, stores: VectorStores, notes: PurgeNotes) -> None:
        self._stores = stores
        self._notes = notes

    async def claim(
        self,
        store: Record,
        owner: Principal | None,
        limit: StorageLimit | None,
        documents: Mapping[str, Sequence[NewChunk]],
    ) -> Claim:
        """Return the claim on these documents of the caller; raises Contended after a while, TooManyParts,
        StorageExceeded, and NotFound for a store that is gone.

        The attributes of a document are what the chunks share with those that were there before, from now on.
        """
        new = [_new(name, chunks, owner) for name, chunks in documents.items()]
        end = time.monotonic() + WAIT_SECONDS
        while True:
            there = await self._stores.links_by_id([each.id(store) for each in new])
            with suppress(AlreadyThere, Overtaken):
                if all((link.record.body.get("busy_until") or 0) <= time.time() for link in there.values()):
                    return await self._claimed(store, owner, limit, new, there, documents)
            if time.monotonic() > end:
                raise Contended
            await asyncio.sleep(_PAUSE)

    async def _claimed(
        self,
        store: Record,
        owner: Principal | None,
        limit: StorageLimit | None,
        new: Sequence[NewLink],
        there: Mapping[str, Link],
        documents: Mapping[str, Sequence[NewChunk]],
    ) -> Claim:
        links = self._stores.links
        claimed, steps, missing = dict[str, Link](), list[Step](), 0
        # In one order, so that two requests for the same documents don't wait for each other.
        for each in sorted(new, key=lambda one: one.id(store)):
            name = each.document or ""
            link, count = there.get(each.id(store)), len(documents[name])
            if link is None:
                draft = replace(each.draft(store), facet=Status.COMPLETED.value)
                record = draft.owned_by(owner)
                record = replace(record, body=Body.of({**record.body, **_claim({}, count)}))
                steps.append(links.inserting(record))
                claimed[name], missing = Link(record), missing + 1
            else:
                common = {"attributes": common_attributes([link.attributes, each.attributes])}
                step, claimed[name] = self._changing(link, {**_claim(link.record.body, count), **common})
                steps.append(step)
        coming = {link.part: [*range(link.record.body["first"], link.record.body["next"])] for link in claimed.values()}
        note = self._notes.coming(store, coming, CLAIM_SECONDS)
        steps.append(self._notes.records.inserting(note))
        if missing:
            steps = [
                self._stores.records.holding(store.id),
                *steps,
                having_at_most(MOST_LINKS, links.name, store.id),
            ]
        try:
            await self._stores.records.write(limit if missing else None, owner, Stored(missing, 1), *steps)
        except ParentGone:
            raise NotFound(store.id) from None
        return Claim(store, claimed, note)

    async def reserve(self, claim: Claim, limit: StorageLimit, more: Mapping[str, int]) -> Claim:
        """Return the claim, whose owner keeps `more` bytes for the documents from now on; raises StorageExceeded, and
        Contended.
        """
        steps, links = list[Step](), dict[str, Link]()
        for name, link in claim.links.items():
            size = more.get(name, 0)
            step, links[name] = self._changing(link, {"bytes": link.usage_bytes + size, "reserved": size})
            steps.append(step)
        owner = next(iter(links.values())).owner
        try:
            await self._stores.records.write(limit, owner, Stored(0, sum(more.values())), *steps)
        except Overtaken:
            raise Contended from None
        return replace(claim, links=links)

    async def complete(self, claim: Claim, changes: Mapping[str, Change]) -> None:
        """Count the chunks that have come and gone, and end the claim; what has gone is removed by the claim's note.

        Raises Contended where the claim was over, and NotFound for a document that is gone.
        """
        gone = {claim.links[name].part: [*change.removed] for name, change in changes.items() if change.removed}

        def completed(name: str, body: Mapping[str, Any]) -> Json:
            change = changes[name]
            members: Json = {
                "chunks": body["chunks"] - change.going + change.chunks,
                "bytes": body["bytes"] - body["reserved"] - change.going_bytes + change.bytes,
                "stray": [*change.removed],
            }
            if change.attributes is not None:
                members["attributes"] = dict(change.attributes)
            return {**members, **_FREE}

        with suppress(_Ended):
            await self._end(claim, completed, self._notes.come(claim.note, gone))

    async def release(self, claim: Claim, *, has_begun: bool) -> None:
        """Let others change the documents, and give room back that was reserved; what came is removed.

        Nothing happens where the claim has ended all the same, and the answer of the database was lost.
        """

        def released(_name: str, body: Mapping[str, Any]) -> Json:
            came = range(body["first"], body["next"]) if has_begun else ()
            return {"bytes": body["bytes"] - body["reserved"], "stray": [*body["stray"], *came][-MOST_STRAY:], **_FREE}

        coming = self._notes.chunks_of(claim.note) if has_begun else {}
        try:
            await self._end(claim, released)
        except _Ended:
            return
        except (Contended, NotFound):
            pass  # what came goes all the same
        await self._notes.records.database.write(*self._notes.not_come(claim.store, claim.note, coming))

    async def _end(self, claim: Claim, members: Callable[[str, Mapping[str, Any]], Json], *steps: Step) -> None:
        """Change the links; raises _Ended where that is done, Contended where others have claimed one of them, and
        NotFound.
        """
        links = claim.links
        for _ in range(_TRIES):
            changing = [self._changing(link, members(name, link.record.body))[0] for name, link in links.items()]
            try:
                await self._stores.links.database.write(*changing, *steps)
            except Overtaken:
                links = await self._refreshed(claim)
            else:
                return
        raise Contended

    async def _refreshed(self, claim: Claim) -> Mapping[str, Link]:
        there = await self._stores.links_by_id([link.id for link in claim.links.values()])
        found = {name: there.get(link.id) for name, link in claim.links.items()}
        links = {name: link for name, link in found.items() if link is not None}
        if len(links) < len(found) or any(
            link.record.ordering != claim.links[name].record.ordering for name, link in links.items()
        ):
            raise NotFound(claim.store.id)
        if any(link.record.body["first"] != claim.first(name) for name, link in links.items()):
            raise Contended
        if all(link.record.body["busy_until"] is None for link in links.values()):
            raise _Ended
        return links

    def _changing(self, link: Link, members: Json) -> tuple[Step, Link]:
        record = link.record
        body = Body.of({**record.body, **members})
        step = self._stores.links.changing(record, body, Status.COMPLETED.value, None)
        return step, Link(replace(record, body=body, version=record.version + 1))


class _Ended(Exception):
    """The claim has ended before."""


_FREE: Final = {"busy_until": None, "reserved": 0}
"""The members of a link that no request claims."""


def _claim(body: Mapping[str, Any], count: int) -> Json:
    """Return the members of a link that a request claims, to put so many chunks into its document.

    A claim that was not ended before is that of a process that was killed, or is too slow: its chunks are removed.
    """
    start, stray = body.get("next", 0), body.get("stray", [])
    if body.get("busy_until") is not None:
        stray = [*stray, *range(body.get("first", start), start)]
    return {
        "busy_until": int(time.time()) + CLAIM_SECONDS,
        "first": start,
        "next": start + count,
        "bytes": body.get("bytes", 0) - body.get("reserved", 0),
        "reserved": 0,
        "stray": stray[-MOST_STRAY:],
    }


def _new(name: str, chunks: Sequence[NewChunk], owner: Principal | None) -> NewLink:
    return NewLink("", shared_attributes(chunks), Strategy.OTHER, document=name, writer=owner)


def shared_attributes(chunks: Sequence[NewChunk]) -> dict[str, Any]:
    """Return the attributes that all of these chunks have with the same value."""
    return common_attributes([chunk.attributes for chunk in chunks])


def common_attributes(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all of these have with the same value."""
    first, *others = attributes
    return {
        name: value
        for name, value in first.items()
        if all(name in other and type(other[name]) is type(value) and other[name] == value for other in others)
    }
