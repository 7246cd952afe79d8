"""The child process: it reads one file of one caller, sends the pieces of its text, and ends.

It runs in an interpreter of its own. What it needs is imported, and the tokenizer loaded, before the walls are built;
the file comes in afterwards.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from typing import Any, Final, Protocol

from server.extraction.confinement import confine, die_with, limit
from server.extraction.cutter import Cutter
from server.extraction.frames import (
    BATCH_BYTES,
    BATCH_PIECES,
    END,
    FAULT,
    HEAD,
    ORDER_SIZE,
    PIECES,
    UNREADABLE,
    WALLS,
    Order,
    packed_json,
    packed_pieces,
)
from server.extraction.incoming import Incoming, Notes
from server.extraction.kinds import Kind
from server.extraction.limits import MEMORY, MOST_CHARACTERS
from server.extraction.pieces import Chunking, Code, Piece, Unreadable
from server.extraction.tokens import BytesCounter, Counter, TokenCounter

_IN: Final = 0
_OUT: Final = 1
_UTF_8: Final = "utf-8"
_UNPACKED: Final = frozenset((Kind.OFFICE, Kind.PDF))


class Format(Protocol):
    """A module of `server.extraction.formats`."""

    def texts(self, file: Incoming, notes: Notes) -> Iterator[str]:
        """Return the text of a file in parts; raises Unreadable. `notes` is filled on the way."""
        ...


def main() -> None:
    """Read the order and then the file, and answer."""
    order = Order(**json.loads(_exactly(ORDER_SIZE.unpack(_exactly(ORDER_SIZE.size))[0])))
    die_with(order.parent)
    limit(order.cpu_seconds)
    sys.path += order.packages
    kind = Kind(order.kind)
    reader: Any = import_module(f"server.extraction.formats.{kind}")
    if order.charset not in (None, _UTF_8):
        import_module("server.extraction.charsets")  # no decoder can be loaded once the walls stand
    counter: Counter = BytesCounter() if order.tokenizer is None else TokenCounter(order.tokenizer)
    _send(WALLS, packed_json({"walls": confine(order.parent)}))
    try:
        cutter = Cutter(Chunking(order.size, order.overlap), counter)
        file = Incoming(_IN, order.filename, order.charset)
        _answer(reader, file, cutter, MOST_CHARACTERS if kind in _UNPACKED else None)
    except OSError:
        os._exit(1)  # the server has closed its end
    except Exception as fault:  # noqa: BLE001 - a fault of ours is told to the server's log, without the file's text
        _send(FAULT, packed_json({"fault": _place_of(fault)}))
    os._exit(0)  # without the time that freeing the memory would take


def _answer(reader: Format, file: Incoming, cutter: Cutter, most: int | None) -> None:
    notes = Notes()
    try:
        _send_pieces(_pieces(reader.texts(file, notes), notes, cutter, most))
    except Unreadable as fault:
        refusal = fault
    except MemoryError:
        sentence = f"to read the file takes more than {MEMORY // (1024 * 1024)} MB of memory"
        refusal = Unreadable(Code.INVALID_FILE, sentence)
    except RecursionError:
        refusal = Unreadable(Code.INVALID_FILE, "the file is nested too deeply")
    else:
        _send(END, packed_json(asdict(notes)))
        return
    _send(UNREADABLE, packed_json({"code": refusal.code, "message": refusal.message}))


def _pieces(texts: Iterator[str], notes: Notes, cutter: Cutter, most: int | None) -> Iterator[Piece]:
    length = 0
    for text in texts:
        length += len(text)
        if most is not None and length > most:
            raise Unreadable(Code.INVALID_FILE, f"the file has more than {most:,} characters of text")
        cutter.rows = notes.rows
        yield from cutter.feed(text)
    yield from cutter.finish()


def _send_pieces(pieces: Iterator[Piece]) -> None:
    """Send all pieces in batches; raises Unreadable if there are none."""
    found = False
    batch = list[Piece]()
    size = 0
    for piece in pieces:
        found = True
        batch.append(piece)
        size += len(piece.text) if piece.text.isascii() else len(piece.text.encode())
        if len(batch) == BATCH_PIECES or size >= BATCH_BYTES:
            _send(PIECES, packed_pieces(batch))
            batch, size = [], 0
    if batch:
        _send(PIECES, packed_pieces(batch))
    if not found:
        raise Unreadable(Code.INVALID_FILE, "no text was found in the file")


def _send(letter: bytes, content: bytes) -> None:
    left = memoryview(HEAD.pack(letter, len(content)) + content)
    while left:
        left = left[os.write(_OUT, left) :]


def _place_of(fault: Exception) -> str:
    """Return the kind of a fault and the line of code that raised it, but not its message, which may quote the file."""
    innermost = fault.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    place = "" if innermost is None else f" at {innermost.tb_frame.f_code.co_filename}:{innermost.tb_lineno}"
    return f"{type(fault).__name__}{place}"


def _exactly(size: int) -> bytes:
    read = b""
    while len(read) < size:
        part = os.read(_IN, size - len(read))
        if not part:
            os._exit(1)  # the server has gone
        read += part
    return read
