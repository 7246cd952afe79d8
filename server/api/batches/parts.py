"""The parts of a batch that is not over: the list of its lines, the results that have come, and room for its end.

All of them are gone once the files of the batch are made. They count with the owner of the batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from policy.vocabulary import Principal
from server.storage.database.database import Step
from server.storage.records.body import Body
from server.storage.records.parts import RecordParts
from server.storage.records.record import Record
from server.storage.records.removal import STEP_BYTES

LINES_OF_A_PART: Final = 500
"""Lines that one part lists."""

OUTPUTS: Final = 1_000_000
ERRORS: Final = 500_000_000
"""The numbers behind which the parts are that hold results: of lines that were answered, and of all others."""

ROOM: Final = 900_000
"""The number behind which the parts are that keep room for what comes at the end of a batch."""

ROOMS: Final = {"output_file": 208, "error_file": 208, "errors": 400, "end": 320}
"""Bytes that a batch keeps from its beginning for the records of the two files that it makes, for the first of its
errors, and for what it tells once it is over.
"""

MOST_READ: Final = 64
"""Lists of lines that a process remembers; those that it has not looked at for longest are forgotten first."""

REMOVED_AT_ONCE: Final = 20
"""Parts that one transaction removes, at most; of large ones, `STEP_BYTES`."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its body is in the input file from the byte `start` on, up to `end`; it `streams` if it asks for that."""

    custom_id: str
    start: int
    end: int
    streams: bool

    @property
    def size(self) -> int:
        """Bytes of its body."""
        return self.end - self.start


class BatchParts:
    """The parts of batches, each of them in a row beside its batch."""

    def __init__(self, parts: RecordParts) -> None:
        self.parts = parts
        self._read = OrderedDict[tuple[str, int], list[Line]]()

    def listing(self, record: Record, number: int, lines: Sequence[Line]) -> Step:
        """Return the step that adds the list of some lines, the part of that number from 1 on."""
        body = {"lines": [[line.custom_id, line.start, line.end, line.streams] for line in lines]}
        return self.parts.adding(record.id, number, body, record.owner)

    def output(self, record: Record, number: int, text: bytes) -> Step:
        """Return the step that adds results of lines that were answered, the part of that number from 1 on."""
        return self.parts.adding(record.id, OUTPUTS + number, _listed(text), record.owner)

    def error(self, record: Record, number: int, text: bytes) -> Step:
        """Return the step that adds results of lines that were not answered."""
        return self.parts.adding(record.id, ERRORS + number, _listed(text), record.owner)

    def keeping_room(self, identity: str, owner: Principal | None) -> list[Step]:
        """Return the steps that keep room for the end of a batch, which count with its owner."""
        return [
            self.parts.adding(identity, ROOM + number, {"room": "x" * size}, owner)
            for number, size in enumerate(ROOMS.values(), 1)
        ]

    def giving_room(self, record: Record, *names: str) -> list[Step]:
        """Return the steps that give room of those names, in the transaction that takes it."""
        kept = [*ROOMS]
        return [self.parts.removing(record.id, ROOM + kept.index(name) + 1) for name in names]

    async def line(self, record: Record, place: int) -> Line:
        """Return the line at that place, from 0 on."""
        key = record.id, place // LINES_OF_A_PART + 1
        listed = self._read.get(key)
        if listed is None:
            found = await self.parts.get(record, key[1])
            listed = self._read[key] = [] if found is None else [Line(*line) for line in found["lines"]]
            while len(self._read) > MOST_READ:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(key)
        return listed[place % LINES_OF_A_PART]

    async def result(self, record: Record, behind: int) -> bytes:
        """Return the lines of the first part behind that number; none where there is no such part."""
        found = await self.parts.next(record.id, behind)
        return b"" if found is None else _lines(found[1])

    async def removing(self, record: Record) -> list[Step]:
        """Return the steps that remove the first parts that are left, as many as one transaction should; none where no
        part is left. Raises DatabaseUnavailable and NoRoom.
        """
        left = await self.parts.numbers(record.id, 0, REMOVED_AT_ONCE)
        sizes = accumulate(size for _, size in left)
        few = max(1, sum(size <= STEP_BYTES for size in sizes))
        return [self.parts.removing(record.id, number) for number, _ in left[:few]]


def _listed(lines: bytes) -> Body:
    """Return lines of JSON as a list, which they must be to be stored; no end of a line is inside of one."""
    return Body(b"[%b]" % lines[:-1].replace(b"\n", b",\n"))


def _lines(listed: bytes) -> bytes:
    return b"%b\n" % listed[1:-1].replace(b",\n", b"\n")
