"""The validation of the input file of a batch: every line is checked before any is answered.

Worker processes read the lines (`server.api.batches.line_checks`), some hundred kilobytes at a time, so that the event
loop never parses any, and no more than one line and one piece of the file is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from server.api.batches.line_checks import INVALID_LINE, LONGEST_LINE, look_at_lines, too_long
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.json_input.reader import LARGE, READS, Reader
from server.json_input.strict import InvalidJson, Json

MOST_LINES: Final = 50_000
"""Lines of an input file."""

MOST_BYTES: Final = 200 * 1024 * 1024
"""Bytes of an input file."""

MOST_ERRORS: Final = 100
"""Errors that are told of one file; what comes behind them is not read."""

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class CheckedLine:
    """One request: its body is in the file from the byte `start` on, up to `end`. Lines are numbered from 1.

    `streams` is true where the body asks for a stream, which has no place in a file.
    """

    number: int
    custom_id: str
    start: int
    end: int
    streams: bool


@dataclass(frozen=True, slots=True)
class LineError:
    """A fault of a file, for its owner; `line` is None where it is of the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as an item of the `errors` of a batch."""
        return {"code": self.code, "message": self.message, "param": self.param, "line": self.line}


class InvalidInput(Exception):
    """Raised for a file whose batch fails; `errors` are at least one, in the order of the lines."""

    def __init__(self, errors: Sequence[LineError]) -> None:
        super().__init__(errors[0].message)
        self.errors = tuple(errors)


Keep = Callable[[Sequence[CheckedLine]], Awaitable[None]]
"""Called with lines in the order of the file, some hundred at a time, as long as there is no error."""


async def check_lines(reader: Reader, pieces: AsyncIterable[bytes], size: int, endpoint: str, keep: Keep) -> str | None:
    """Check the lines of a file of `size` bytes, which are requests to `endpoint`, in turns of the current caller.

    Return the model of all lines, None if they ask for several. Raises InvalidInput, and NoRoom where it may be tried
    again; the lines that `keep` was given are worth nothing then.
    """
    if size > MOST_BYTES:
        raise InvalidInput([LineError("file_too_large", f"the file is larger than {MOST_BYTES} bytes; send several")])
    with reader.room.share(CURRENT.get()) as hold:
        return await _File(reader, endpoint, keep, hold).check(pieces)


class _File:
    """The state of one validation: lines and bytes that were read, and what the lines before said."""

    def __init__(self, reader: Reader, endpoint: str, keep: Keep, hold: Callable[[int], None]) -> None:
        self._reader = reader
        self._head = f"{endpoint}\n".encode()
        self._keep = keep
        self._hold = hold
        self._held = 0
        self._place = 0
        self._number = 1
        self._blank: int | None = None
        self._seen: dict[bytes, int] = {}
        self._models: set[str] = set()
        self._total = 0
        self._errors: list[LineError] = []

    async def check(self, pieces: AsyncIterable[bytes]) -> str | None:
        parts, size = [self._head], 0
        async for piece in pieces:
            end = piece.rfind(b"\n") + 1
            if not end:
                parts.append(piece)
                size += len(piece)
                self._make_room(size)
                if size > LONGEST_LINE:
                    self._fail(self._number, too_long())
                    break
                continue
            whole = b"".join([*parts, piece[:end]])
            parts, size = [self._head, piece[end:]], len(piece) - end
            await self._look(whole)
            if self._is_over():
                break
        else:
            await self._look(b"".join(parts))
        if not (self._total or self._errors):
            self._errors.append(LineError("empty_file", "the file has no lines; write one request on each"))
        if self._errors:
            raise InvalidInput(sorted(self._errors, key=lambda error: error.line or 0)[:MOST_ERRORS])
        return self._models.pop() if len(self._models) == 1 else None

    def _make_room(self, size: int) -> None:
        """Count a long line among the large bodies that are in memory; raises NoRoom."""
        if size > max(self._held, LARGE):
            self._hold(size - self._held)
            self._held = size

    def _is_over(self) -> bool:
        return self._total > MOST_LINES or len(self._errors) >= MOST_ERRORS

    async def _look(self, lines: bytes) -> None:
        """Check the whole lines behind the head; the last one of a file may have no end."""
        begin = len(self._head)
        if self._place == 0 and lines.startswith(_BOM, begin):
            self._place = len(_BOM)
            lines = self._head + lines[begin + len(_BOM) :]
        while len(lines) > begin and not self._is_over():
            try:
                found = await self._reader.look_at_text(lines, look_at_lines)
            except InvalidJson:
                # A line that can't be read is among the errors: this is about the process that reads it.
                raise NoRoom(READS.name, of_caller=False) from None
            await self._note(found)
            lines = self._head + lines[begin + found["size"] :]

    async def _note(self, found: Json) -> None:
        """Take in what a worker process has found; its numbers and places are counted from the first of its lines."""
        number, place = self._number, self._place
        lines = [
            CheckedLine(number + at, name, place + start, place + end, *rest)
            for at, name, start, end, *rest in found["lines"]
        ]
        numbers = sorted([line.number for line in lines] + [number + at for at, *_ in found["errors"]])
        self._note_blanks(found["blank"], found["ends"])
        for at, code, message, param in found["errors"]:
            self._fail(number + at, InvalidJson(message, param, code))
        self._note_names(lines)
        if len(self._models) < 2:
            self._models.update(found["models"])
        if self._total + len(numbers) > MOST_LINES:
            self._end_at(numbers[MOST_LINES - self._total])
        self._total += len(numbers)
        self._place += found["size"]
        self._number += found["count"]
        if lines and not self._errors:
            await self._keep(lines)

    def _end_at(self, number: int) -> None:
        """Refuse the first line that is too many, and forget what is behind it."""
        before = [error for error in self._errors if (error.line or 0) < number]
        sentence = f"the file has more than {MOST_LINES} lines; send several batches"
        self._errors = [*before[: MOST_ERRORS - 1], LineError("too_many_tasks", sentence, number)]

    def _note_blanks(self, blanks: list[int], ends: int) -> None:
        """Refuse blank lines, except those at the end of the file."""
        if self._blank is not None and ends >= 0:
            self._fail(self._blank, InvalidJson("the line is empty", code=INVALID_LINE))
            self._blank = None
        for at in blanks:
            if at < ends:
                self._fail(self._number + at, InvalidJson("the line is empty", code=INVALID_LINE))
            elif self._blank is None:
                self._blank = self._number + at

    def _note_names(self, lines: list[CheckedLine]) -> None:
        for line in lines:
            key = blake2b(line.custom_id.encode(), digest_size=16).digest()
            first = self._seen.setdefault(key, line.number)
            if first != line.number:
                sentence = f"`custom_id` is that of line {first}; give each line its own"
                self._fail(line.number, InvalidJson(sentence, "custom_id", "duplicate_custom_id"))

    def _fail(self, number: int, fault: InvalidJson) -> None:
        self._errors.append(LineError(fault.code or INVALID_LINE, fault.message, number, fault.param))
