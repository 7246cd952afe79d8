"""Stored events of responses: written in batches before they go out, and read by any number of clients, on any server.

A batch is a part of its response, whose number tells that of its last event. So the events of a response count with its
owner and go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import loads
from typing import Final

from policy.vocabulary import Principal
from server.api.responses.item_list import ItemList
from server.api.responses.state import interrupted
from server.fairness.shares import FairShares, Share, Turn
from server.fairness.threads import in_thread
from server.inference.answers.plain import encoded, whole_members
from server.json_input.strict import Json
from server.storage.database.database import Step
from server.storage.records.body import Body
from server.storage.records.parts import RecordParts

MOST_EVENTS: Final = 20_000
"""Events of one response that are stored; what its model says after them is left out, as incomplete."""

MOST_EVENT_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the events of one response that are stored, but for those of its end."""

READ: Final = Share(
    "bytes of stored events that are read",
    128 * 1024 * 1024,
    16 * 1024 * 1024,
    waiting=1024,
    waiting_each=128,
    seconds=10.0,
)
"""Bytes of stored events that a process holds until their readers have them."""

ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""The types of the last event of a response."""

_FIRST: Final = 100
"""The number of the part that event 0 would be alone in; lower ones are other parts of a response."""

_EVENT: Final = b"event: "
_DATA: Final = b"data: "
_OF_ITEMS: Final = frozenset({"response.output_item.added", "response.output_item.done", "response.content_part.added"})
_DROPPED_AT_ONCE: Final = 20
_DROPPED_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are stored together, each as its type and its JSON; `last` is the number of the last one."""

    events: ItemList
    last: int

    @classmethod
    def of_stream(cls, text: bytes, first: int) -> Batch:
        """Return the events of the text of a stream, whose numbers begin with `first`."""
        pairs = list[tuple[str, bytes]]()
        for event in text.split(b"\n\n"):
            if event.startswith(_EVENT):
                kind, data = event.split(b"\n", 1)
                pairs.append((kind[len(_EVENT) :].decode(), data[len(_DATA) :]))
        return cls(ItemList.of(pairs), first + len(pairs) - 1)

    @classmethod
    def of_events(cls, events: Sequence[Json]) -> Batch:
        """Return events that are not written as JSON yet."""
        return cls(ItemList.of([(event["type"], encoded(event)) for event in events]), events[-1]["sequence_number"])

    @property
    def first(self) -> int:
        """The number of the first event."""
        return self.last - len(self.events) + 1

    @property
    def is_end(self) -> bool:
        """True where the last event is that of the response."""
        return self.events.ids[-1] in ENDS

    def told(self, after: int) -> bytes:
        """Return the events behind that number as those of a stream."""
        pairs = self.events.pairs[max(0, after + 1 - self.first) :]
        return b"".join(b"event: %b\ndata: %b\n\n" % (kind.encode(), text) for kind, text in pairs)


class KeptEvents:
    """The events of responses, which are parts of theirs in `parts`."""

    def __init__(self, parts: RecordParts) -> None:
        self._parts = parts
        self._room = FairShares(READ)

    def adding(self, identity: str, batch: Batch, payer: Principal | None) -> Step:
        """Return the step that stores a batch, which counts with `payer`; it raises AlreadyThere, and ParentGone."""
        return self._parts.adding(identity, _FIRST + batch.last, Body(batch.events.encoded()), payer)

    async def next(self, identity: str, after: int) -> tuple[Batch, Turn] | None:
        """Return the batch of the first event behind that number, and the room that it takes until that is ended.

        None while there is none. Raises NoRoom.
        """
        found = await self._parts.numbers(identity, _FIRST + after, 1)
        if not found:
            return None
        turn = await self._room.take(found[0][1])
        try:
            read = await self._parts.next(identity, _FIRST + after)
        except BaseException:
            turn.end()
            raise
        if read is None:
            turn.end()
            return None
        return Batch(ItemList.decoded(read[1]), read[0] - _FIRST), turn

    async def drop(self, identity: str) -> bool:
        """Remove some of the events of a response, and return whether there are more."""
        found = await self._parts.numbers(identity, _FIRST - 1, _DROPPED_AT_ONCE)
        left, steps = _DROPPED_BYTES, list[Step]()
        for number, size in found:
            left -= size
            if steps and left < 0:
                break
            steps.append(self._parts.removing(identity, number))
        if steps:
            await self._parts.records.database.write(*steps)
        return len(found) == _DROPPED_AT_ONCE or len(steps) < len(found)

    async def output(self, identity: str) -> list[Json]:
        """Return the items of a response as far as its stored events tell them; those under way are incomplete,
        and calls of this server's tools have failed."""
        told, after = _Told(), -1
        while (found := await self.next(identity, after)) is not None:
            batch, turn = found
            try:
                await in_thread(told.read, batch)
            finally:
                turn.end()
            after = batch.last
        return told.output()


class _Told:
    """The items of a response while its events are read."""

    def __init__(self) -> None:
        self._items: dict[int, Json] = {}
        self._open: dict[int, dict[int, tuple[Json, list[str]]]] = {}

    def read(self, batch: Batch) -> None:
        """Take in the events of a batch."""
        for kind, text in batch.events.pairs:
            if kind in _OF_ITEMS or kind.endswith(".delta"):
                self._take(kind, loads(text))

    def _take(self, kind: str, event: Json) -> None:
        place = event["output_index"]
        match kind:
            case "response.output_item.added":
                self._items[place], self._open[place] = event["item"], {}
            case "response.output_item.done":
                self._items[place] = event["item"]
                self._open.pop(place, None)
            case "response.content_part.added":
                self._open[place][event["content_index"]] = event["part"], []
            case _:
                part = self._open.get(place, {}).get(event.get("content_index", -1))
                if part is not None:
                    part[1].append(event["delta"])

    def output(self) -> list[Json]:
        """Return the items in their order."""
        for place, parts in self._open.items():
            item = self._items[place] = interrupted(self._items[place])
            if "content" in item:
                item["content"] = [_with_text(*parts[index]) for index in sorted(parts)]
        return [self._items[place] for place in sorted(self._items)]


def _with_text(part: Json, pieces: Sequence[str]) -> Json:
    name = "refusal" if part["type"] == "refusal" else "text"
    return whole_members({**part, name: "".join(pieces)})
