"""Plain text and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from server.extraction.incoming import Incoming
from server.extraction.texts import decoded


def texts(file: Incoming, notes: dict[str, int]) -> Iterator[str]:
    """Return the text of a file; raises Unreadable."""
    del notes
    return decoded(file.blocks())
