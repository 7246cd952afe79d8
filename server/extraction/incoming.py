"""The bytes of a file as they come to the child process."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass

from server.extraction.frames import BLOCK
from server.extraction.limits import LARGEST_WHOLE
from server.extraction.pieces import Code, Unreadable


@dataclass(slots=True)
class Notes:
    """Facts about a file besides its text. With `rows`, its lines should be kept whole."""

    rows: bool = False
    pages: int = 0
    pages_without_text: int = 0


class Incoming:
    """A file that comes in on a descriptor until its end. It can be read once.

    `charset` is Python's name of the charset that the file is said to be in, None if nothing is said.
    """

    def __init__(self, descriptor: int, filename: str, charset: str | None = None) -> None:
        self.filename = filename
        self.charset = charset
        self._descriptor = descriptor

    def blocks(self) -> Iterator[bytes]:
        """Yield the file in blocks, of which only the last is shorter than BLOCK; none is empty."""
        while block := self._block():
            yield block

    def whole(self) -> io.BytesIO:
        """Return the file in memory; raises Unreadable if it is too large for that."""
        file = io.BytesIO()
        for block in self.blocks():
            file.write(block)
            if file.tell() > LARGEST_WHOLE:
                most = f"{LARGEST_WHOLE // (1024 * 1024)} MB"
                raise Unreadable(Code.INVALID_FILE, f"the file has more than the {most} that its kind may have")
        file.seek(0)
        return file

    def _block(self) -> bytes:
        parts = list[bytes]()
        left = BLOCK
        while left and (part := os.read(self._descriptor, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
