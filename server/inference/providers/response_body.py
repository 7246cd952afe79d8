"""Bodies of providers' answers, unpacked where a provider packs them against our wish."""

from __future__ import annotations

import zlib
from typing import Final

import aiohttp

from server.fairness.outgoing import UNCOUNTED, hold_in_all
from server.fairness.shares import NoRoom

READ_AHEAD: Final = 64 * 1024
"""Bytes that are read, or unpacked, at once."""

ROOM_STEP: Final = 1024 * 1024
"""Bytes for which room is taken at once, where the length of an answer isn't known."""

_PLAIN: Final = frozenset({"", "identity", "none"})
_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_KNOWN: Final = _PLAIN | _PACKED
_EITHER: Final = 32 + zlib.MAX_WBITS
"""zlib finds out by itself whether it is gzip or zlib."""


class UnknownCoding(Exception):
    """An answer is packed in a way that was not asked for and is not known here."""


class BrokenCoding(Exception):
    """A packed answer is broken, or ends in the middle."""


class ResponseBody:
    """The body of a response, read piece by piece; raises UnknownCoding for one that can't be unpacked."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding not in _KNOWN:
            raise UnknownCoding
        self._content = response.content
        self._length = response.content_length if coding in _PLAIN else None
        self._room = UNCOUNTED
        self._packer = None if coding in _PLAIN else zlib.decompressobj(_EITHER)
        self._is_begun = False
        self._has_more = False

    @property
    def length(self) -> int | None:
        """The bytes of the whole body, as far as its head says so."""
        return self._length

    async def hold(self, size: int) -> None:
        """Take room for an answer of which `size` bytes are read; raises NoRoom, since the provider has worked."""
        if size <= self._room:
            return
        self._room = size + ROOM_STEP if self._length is None else max(size, self._length)
        try:
            await hold_in_all(self._room)
        except NoRoom as full:
            full.spent = True
            raise

    def read_now(self) -> bytes:
        """Return what has come of a body that is not packed, as `read` would; nothing where `read` has to wait."""
        return b"" if self._packer is not None else self._content.read_nowait(READ_AHEAD)

    async def read(self) -> bytes:
        """Return the next piece, at most `READ_AHEAD` bytes; nothing at the end. Raises BrokenCoding."""
        if self._packer is None:
            return await self._content.read(READ_AHEAD)
        while not self._packer.eof:
            packed = self._packer.unconsumed_tail
            if not packed and not self._has_more:
                packed = await self._content.read(READ_AHEAD)
                if not packed:
                    raise BrokenCoding
            piece = self._unpacked(packed)
            # What fills a piece to the brim may have left more behind.
            self._has_more = len(piece) == READ_AHEAD
            if piece:
                return piece
        return b""

    def _unpacked(self, packed: bytes) -> bytes:
        try:
            piece = self._unpacker.decompress(packed, READ_AHEAD)
        except zlib.error:
            if self._is_begun:
                raise BrokenCoding from None
            # Some servers call it `deflate` and leave the frame of zlib out.
            self._packer = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                piece = self._unpacker.decompress(packed, READ_AHEAD)
            except zlib.error:
                raise BrokenCoding from None
        self._is_begun = True
        return piece

    @property
    def _unpacker(self) -> zlib._Decompress:
        if self._packer is None:
            raise RuntimeError("a plain body is not unpacked")
        return self._packer
