"""Bytes that go to a provider in the middle of a request: they are fetched and encoded while it is sent.

The payload of the request has a mark for each of them, so that it stays small for all who read or translate it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex
from typing import Final, Protocol

from server.fairness.shares import FairShares, Share

SENT: Final = Share("requests with files that are sent", 64, 8, waiting=2048, waiting_each=256, seconds=60.0)
"""Requests with files that are sent to providers at the same time; each has one file open, and a piece in memory."""

SLICE: Final = 64 * 1024
"""Bytes of a payload's own text that are sent at a time."""

_NUMBER: Final = 4
_TRIPLE: Final = 3


class NotSent(Exception):
    """A request could not be sent, since bytes that go with it could not be had; `reason` is why."""

    spent = False

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Source(Protocol):
    """Bytes that can be read again and again; `size` is their number."""

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes in pieces; raises NotSent."""
        ...


@dataclass(frozen=True, slots=True)
class Attachments:
    """The bytes that go with one request, in the order of their marks; `turns` bounds the requests with some.

    No caller knows a mark before its request is sent. It is text of base64, as what stands there in the end.
    """

    sources: Sequence[Source]
    turns: FairShares
    secret: str = field(default_factory=lambda: token_hex(16))

    def mark(self, number: int) -> str:
        """Return the mark of the source of that number."""
        return f"{self.secret}{number:0{_NUMBER}}"

    def in_place(self, payload: bytes) -> Spliced:
        """Return a payload with the sources in the places of their marks.

        Raises ValueError unless each is there once.
        """
        return Spliced([*self._parts(payload)])

    def _parts(self, payload: bytes) -> Iterator[memoryview | Source]:
        view, secret, done = memoryview(payload), self.secret.encode(), 0
        waiting = {self.mark(number).encode(): source for number, source in enumerate(self.sources)}
        while (place := payload.find(secret, done)) >= 0:
            end = place + len(secret) + _NUMBER
            source = waiting.pop(payload[place:end], None)
            if source is None:
                raise ValueError("a payload has the mark of an attachment twice")
            yield view[done:place]
            yield source
            done = end
        yield view[done:]
        if waiting:
            raise ValueError("a payload has lost the mark of an attachment")


class Spliced:
    """A payload with the bytes that belong into it, in base64."""

    def __init__(self, parts: Sequence[memoryview | Source]) -> None:
        self._parts = parts
        self.size = sum(len(part) if isinstance(part, memoryview) else _encoded_size(part.size) for part in parts)

    async def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield the whole in pieces; raises NotSent."""
        for part in self._parts:
            if isinstance(part, memoryview):
                for start in range(0, len(part), SLICE):
                    yield part[start : start + SLICE]
                continue
            async with aclosing(part.pieces()) as found:
                async for piece in _encoded(found):
                    yield piece

    async def digest(self) -> str:
        """Return the SHA-256 of the whole, in hexadecimal; raises NotSent."""
        found = sha256()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                found.update(piece)
        return found.hexdigest()


def _encoded_size(size: int) -> int:
    return -(-size // _TRIPLE) * 4


async def _encoded(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield pieces in base64; only the last one may end with `=`."""
    left = b""
    async for piece in pieces:
        held = left + piece
        whole = len(held) // _TRIPLE * _TRIPLE
        left = held[whole:]
        yield b64encode(memoryview(held)[:whole])
    if left:
        yield b64encode(left)
