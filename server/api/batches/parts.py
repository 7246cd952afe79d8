"""The parts of a batch that is not over: the list of its lines, and the results that have come.

All of them are gone once the files of the batch are made. They count with the owner of the batch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

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

MOST_READ: Final = 64
"""Lists of lines that a process remembers; those that were read first are forgotten first."""

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

    async def line(self, record: Record, place: int) -> Line:
        """Return the line at that place, from 0 on."""
        key = record.id, place // LINES_OF_A_PART + 1
        listed = self._read.get(key)
        if listed is None:
            found = await self.parts.get(record, key[1])
            listed = self._read[key] = [] if found is None else [Line(*line) for line in found["lines"]]
            while len(self._read) > MOST_READ:
                self._read.popitem(last=False)
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
