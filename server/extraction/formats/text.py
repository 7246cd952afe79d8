"""Plain text and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from server.extraction.incoming import Incoming, Notes
from server.extraction.texts import decoded


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Return the text of a file; raises Unreadable."""
    del notes
    return decoded(file.blocks(), file.charset)
