"""The texts of files, found by child processes that can reach nothing, one for each file."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final

from server.background.ends import to_its_end
from server.extraction.charsets import charset_named
from server.extraction.child_process import ChildProcess, Gone
from server.extraction.confinement import WALLS, cpu_limit
from server.extraction.frames import END, FAULT, PIECES, UNREADABLE, BadFrame, Order, unpacked_json, unpacked_pieces
from server.extraction.frames import WALLS as WALLS_FRAME
from server.extraction.kinds import HEAD, TEXTS, Kind, charset_of_xml, kind_of
from server.extraction.limits import MOST_PIECES, PATIENCE
from server.extraction.pieces import Chunking, Code, Piece, Unreadable

_LONGEST_NAME: Final = 1024
_LONGEST_SENTENCE: Final = 400
_PACKAGES: Final = {Kind.PDF: "pypdf"}

_log: Final = logging.getLogger("ostiary.extraction")


class Extractor:
    """Cuts files into pieces of text. Those who ask limit how many files are read at once."""

    def __init__(self) -> None:
        self._walls: frozenset[str] | None = None
        self._children = set[ChildProcess]()

    @property
    def sandboxed(self) -> bool:
        """True if the last process could reach nothing; False before the first one."""
        return self._walls is not None and not self.reachable

    @property
    def reachable(self) -> tuple[str, ...]:
        """What the last process could have reached: `files`, `network`, `processes`."""
        return tuple(wall for wall in WALLS if self._walls is not None and wall not in self._walls)

    async def check(self) -> None:
        """Start a process only to learn what it can reach; raises Unreadable if none can be started."""
        child = await self._start(Kind.TEXT, "", None, 0, Chunking(), None)
        try:
            async with asyncio.timeout(cpu_limit(0)):
                self._learn(*await child.frame())
        except (TimeoutError, Gone, BadFrame) as fault:
            _log.error("the process that reads files fails: %s", fault)
            raise _broken() from None
        finally:
            await to_its_end(self._end(child))

    async def pieces(
        self,
        source: AsyncIterator[bytes],
        size: int,
        filename: str,
        media_type: str,
        chunking: Chunking,
        tokenizer: Path | None,
        charset: str | None = None,
    ) -> AsyncGenerator[Sequence[Piece], None]:
        """Yield the pieces of a file of `size` bytes in batches; raises Unreadable and what the source raises.

        `charset` is the name of the charset that a text is said to be in. A file that turns out to be unreadable may
        have given pieces before. Tokens are those of `tokenizer`, the
        absolute path of a file of the package `tokenizers`, or four bytes each. Close it where it isn't used up.
        """
        first = await _beginning(source)
        if not first:
            raise Unreadable(Code.INVALID_FILE, "the file is empty")
        kind = kind_of(first[:HEAD], filename, media_type)
        codec = _codec(kind, charset, first[:HEAD])
        child = await self._start(kind, filename, codec, size, chunking, tokenizer)
        feeding = asyncio.create_task(child.feed(first, source), name="feeding of a file")
        try:
            async for batch in self._batches(_Listening(child, feeding, cpu_limit(size)), chunking):
                yield batch
        finally:
            feeding.cancel()
            await to_its_end(self._end(child, feeding))

    async def close(self) -> None:
        """End all processes; files that are still read fail."""
        for child in list(self._children):
            await self._end(child)

    async def _batches(self, listening: _Listening, chunking: Chunking) -> AsyncIterator[list[Piece]]:
        try:
            async for batch in self._answers(listening, chunking):
                yield batch
        except BadFrame as fault:
            _log.error("a process that reads a file breaks the protocol: %s", fault)
            raise _broken() from None

    async def _answers(self, listening: _Listening, chunking: Chunking) -> AsyncIterator[list[Piece]]:
        """Yield the batches that the child sends before its last frame; raises Unreadable and BadFrame."""
        self._learn(*await listening.frame())
        count = 0
        while True:
            letter, content = await listening.frame()
            if letter == PIECES:
                batch = unpacked_pieces(content, chunking.size)
                count += len(batch)
                if count > MOST_PIECES:
                    raise Unreadable(Code.INVALID_FILE, f"the file has more than {MOST_PIECES:,} pieces")
                yield batch
            elif letter == UNREADABLE:
                raise _unreadable(unpacked_json(content))
            elif letter == FAULT:
                _log.error("a process that reads a file failed: %s", _printable(unpacked_json(content).get("fault")))
                raise _broken()
            elif letter == END and count:
                _log_end(unpacked_json(content))
                return
            else:
                raise BadFrame("a frame is out of place")

    async def _start(
        self,
        kind: Kind,
        filename: str,
        charset: str | None,
        size: int,
        chunking: Chunking,
        tokenizer: Path | None,
    ) -> ChildProcess:
        packages = {_PACKAGES.get(kind), "tokenizers" if tokenizer is not None else None} - {None}
        order = Order(
            kind=kind,
            filename=filename[:_LONGEST_NAME],
            charset=charset,
            size=chunking.size,
            overlap=chunking.overlap,
            cpu_seconds=cpu_limit(size),
            parent=os.getpid(),
            tokenizer=None if tokenizer is None else str(tokenizer),
            packages=sorted({_folder_of(name) for name in packages if name is not None}),
        )
        try:
            child = await ChildProcess.start(order)
        except Gone as fault:
            _log.error("the process that reads a file fails: %s", fault)
            raise _broken() from None
        self._children.add(child)
        return child

    async def _end(self, child: ChildProcess, *feeding: asyncio.Task[None]) -> None:
        if feeding:
            await asyncio.wait(feeding)
        await child.end()
        self._children.discard(child)

    def _learn(self, letter: bytes, content: bytes) -> None:
        """Take what the child says of its walls, which is its first frame."""
        walls = unpacked_json(content).get("walls")
        if letter != WALLS_FRAME or type(walls) is not list:
            raise BadFrame("the first frame doesn't tell of walls")
        known = frozenset(wall for wall in WALLS if wall in walls)
        if known != self._walls and len(known) < len(WALLS):
            _log.warning(
                "the processes that read files are not confined as they should be: they could reach %s",
                ", ".join(wall for wall in WALLS if wall not in known),
            )
        self._walls = known


class _Listening:
    """Waits for the frames of a child, as long as a file may take in all, and for a fault of the file's source."""

    def __init__(self, child: ChildProcess, feeding: asyncio.Task[None], cpu_seconds: int) -> None:
        self._child = child
        self._feeding = feeding
        self._cpu_seconds = cpu_seconds
        self._left = float(cpu_seconds * PATIENCE)

    async def frame(self) -> tuple[bytes, bytes]:
        """Return the next frame; raises Unreadable, BadFrame and what the source raises."""
        reading = asyncio.ensure_future(self._child.frame())
        try:
            while not reading.done():
                await self._wait_for(reading)
            return reading.result()
        except Gone as gone:
            raise self._ended(gone) from None
        finally:
            reading.cancel()

    async def _wait_for(self, reading: asyncio.Future[tuple[bytes, bytes]]) -> None:
        """Wait for the frame, for a fault of the source, or until no time is left; time of the source is free."""
        started, waited = monotonic(), self._child.source_seconds()
        fed = self._feeding.done()
        awaited: set[asyncio.Future[Any]] = {reading} if fed else {reading, self._feeding}
        await asyncio.wait(awaited, timeout=max(0.0, self._left), return_when=asyncio.FIRST_COMPLETED)
        if not fed and self._feeding.done():
            self._feeding.result()
        self._left -= (monotonic() - started) - (self._child.source_seconds() - waited)
        if self._left <= 0 and not reading.done():
            raise Unreadable(Code.SERVER_ERROR, f"the file was not read within {self._cpu_seconds * PATIENCE} s")

    def _ended(self, gone: Gone) -> Unreadable:
        """Return why there is no text, from how the process has ended."""
        if gone.status == -signal.SIGXCPU:
            sentence = f"to read the file takes more than {self._cpu_seconds} s of a processor"
            return Unreadable(Code.INVALID_FILE, sentence)
        _log.error("a process that reads a file ended with status %s", gone.status)
        if gone.status == -signal.SIGKILL:
            return Unreadable(Code.SERVER_ERROR, "the file could not be read; the server's memory may have run out")
        return _broken()


def _broken() -> Unreadable:
    return Unreadable(Code.SERVER_ERROR, "the file could not be read because of a fault of the server")


async def _beginning(source: AsyncIterator[bytes]) -> bytes:
    """Return as much of a file as tells its kind, or all of it."""
    first = bytearray()
    async for part in source:
        first += part
        if len(first) >= HEAD:
            break
    return bytes(first)


def _codec(kind: Kind, told: str | None, head: bytes) -> str | None:
    """Return Python's name of the charset that a text is said to be in, if it is said; raises Unreadable."""
    named = (told or charset_of_xml(head)) if kind in TEXTS else None
    if named is None:
        return None
    codec = charset_named(named)
    if codec is None:
        sentence = f"the file is said to be in the charset `{named}`, which can't be read; save it as UTF-8"
        raise Unreadable(Code.UNSUPPORTED_FILE, sentence)
    return codec


def _folder_of(package: str) -> str:
    """Return the folder that has a package; raises Unreadable where it isn't installed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        _log.error("the package `%s` is not installed", package)
        raise _broken()
    return str(Path(spec.origin).parents[1])


def _unreadable(told: dict[str, Any]) -> Unreadable:
    code, message = told.get("code"), told.get("message")
    if code not in list(Code) or type(message) is not str:
        raise BadFrame("a refusal has no code or no sentence")
    return Unreadable(Code(code), _printable(message))


def _printable(told: object) -> str:
    """Return what a child says as a short text of one line."""
    return "".join([each if each.isprintable() else " " for each in str(told)[:_LONGEST_SENTENCE]])


def _log_end(notes: dict[str, Any]) -> None:
    pages, empty = notes.get("pages"), notes.get("pages_without_text")
    if type(pages) is int and type(empty) is int and empty:
        _log.warning("%d of %d pages of a file have no text", empty, pages)
