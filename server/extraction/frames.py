"""The messages between the server and the child process that reads a file.

The server sends an order, and then the bytes of the file until it closes its end. The child answers with frames: the
walls around it, pieces in batches, and at last the end, or why there is no text, or a fault of its own. A frame is a
letter, the number of its bytes, and these.

This module runs on both sides, so it imports the standard library and modules of this package alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception
from typing import Any, Final

from server.extraction.pieces import Piece

BLOCK: Final = 256 * 1024
"""Bytes of a file that are sent at once."""

BATCH_PIECES: Final = 64
"""Pieces of one batch at most."""

BATCH_BYTES: Final = 256 * 1024
"""Bytes of texts after which a batch is sent."""

LONGEST_FRAME: Final = 512 * 1024
"""Bytes of a frame at most: a batch, and the piece with which it became full."""

HEAD: Final = Struct(">cI")
"""A frame's letter, and its bytes."""

ORDER_SIZE: Final = Struct(">I")
"""Bytes of the order."""

WALLS: Final = b"W"
PIECES: Final = b"P"
UNREADABLE: Final = b"U"
END: Final = b"E"
FAULT: Final = b"F"

_PIECE: Final = Struct(">QQII")


class BadFrame(Exception):
    """The child breaks the protocol."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order to the child about the file that follows. `parent` is the process that it belongs to.

    `charset` is Python's name of the charset that a text is said to be in.
    """

    kind: str
    filename: str
    charset: str | None
    size: int
    overlap: int
    cpu_seconds: int
    parent: int
    tokenizer: str | None
    packages: Sequence[str]


def packed_order(order: Order) -> bytes:
    """Return an order as the child reads it."""
    text = json.dumps(asdict(order)).encode()
    return ORDER_SIZE.pack(len(text)) + text


def packed_pieces(pieces: Sequence[Piece]) -> bytes:
    """Return a batch."""
    parts = []
    for piece in pieces:
        text = piece.text.encode()
        parts += [_PIECE.pack(piece.start, piece.end, piece.tokens, len(text)), text]
    return b"".join(parts)


def unpacked_pieces(batch: bytes, most_tokens: int) -> list[Piece]:
    """Return the pieces of a batch; raises BadFrame where they aren't what they must be."""
    pieces = list[Piece]()
    place = 0
    try:
        while place < len(batch):
            start, end, tokens, size = _PIECE.unpack_from(batch, place)
            place += _PIECE.size + size
            text = batch[place - size : place].decode()
            if place > len(batch) or end - start != len(text) or not 0 < tokens <= most_tokens:
                raise BadFrame("a piece is not what it must be")
            pieces.append(Piece(text, tokens, start, end))
    except (StructError, ValueError):
        raise BadFrame("a batch can't be read") from None
    if not 0 < len(pieces) <= BATCH_PIECES:
        raise BadFrame("a batch has no pieces, or too many")
    return pieces


def packed_json(told: dict[str, Any]) -> bytes:
    """Return the content of a frame that is no batch."""
    return json.dumps(told).encode()


def unpacked_json(content: bytes) -> dict[str, Any]:
    """Return the content of a frame that is no batch; raises BadFrame."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise BadFrame("a frame can't be read") from None
    if type(told) is not dict:
        raise BadFrame("a frame is no object")
    return told
