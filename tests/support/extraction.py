"""Files and their pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from server.extraction.cutter import Cutter
from server.extraction.extractor import Extractor
from server.extraction.pieces import Chunking, Code, Piece, Unreadable
from server.extraction.tokens import BytesCounter, Counter


@dataclass(frozen=True)
class Extracted:
    """What came of one file: its pieces, or why there are none."""

    pieces: Sequence[Piece]
    refusal: Unreadable | None
    sandboxed: bool

    @property
    def text(self) -> str:
        """The text of a file that is cut without overlap."""
        assert self.refusal is None, self.refusal
        return "\n".join(piece.text for piece in self.pieces)

    @property
    def refused(self) -> tuple[Code, str]:
        """Why there is no text."""
        assert self.refusal is not None, [piece.text[:100] for piece in self.pieces[:3]]
        return self.refusal.code, self.refusal.message


async def blocks(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Return a file as it is read from a store."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def extract(
    data: bytes,
    name: str = "a.txt",
    *,
    media_type: str = "application/octet-stream",
    charset: str | None = None,
    chunking: Chunking | None = None,
    tokenizer: Path | None = None,
) -> Extracted:
    """Return what comes of a file, by a child process of its own."""
    extractor = Extractor()
    pieces = list[Piece]()
    refusal = None
    try:
        async for batch in extractor.pieces(
            blocks(data), len(data), name, media_type, chunking or Chunking(4096, 0), tokenizer, charset
        ):
            pieces += batch
    except Unreadable as fault:
        refusal = fault
    assert not extractor._children
    return Extracted(pieces, refusal, extractor.sandboxed)


def extracted(data: bytes, name: str = "a.txt", **more: Chunking | Path | str | None) -> Extracted:
    """Return what comes of a file; see `extract`."""
    return asyncio.run(extract(data, name, **more))  # type: ignore[arg-type] # names and types are those of `extract`


def cut(
    text: str, chunking: Chunking, *, counter: Counter | None = None, rows: bool = False, block: int = 65536
) -> list[Piece]:
    """Return the pieces of a text that comes in blocks, after what holds for the pieces of every text."""
    cutter = Cutter(chunking, counter or BytesCounter(), rows=rows)
    pieces = [piece for start in range(0, len(text), block) for piece in cutter.feed(text[start : start + block])]
    pieces += cutter.finish()
    covered, before = 0, None
    for piece in pieces:
        assert piece.text == text[piece.start : piece.end]
        assert piece.text.strip() == piece.text != ""
        assert 0 < piece.tokens <= chunking.size
        assert before is None or (piece.start > before.start and piece.end > before.end)
        assert not text[covered : piece.start].replace("\u200b", "").strip(), "something is in no piece"
        covered, before = piece.end, piece
    assert not text[covered:].replace("\u200b", "").strip(), "something is in no piece"
    return pieces


def tokenizer_file() -> Path:
    """Return the tokenizer that the package `wordllama` carries."""
    spec = find_spec("wordllama")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("tokenizers/*.json"))
