"""SQL for the sizes and the texts of bodies, so that a statement returns no more of them than is wanted."""

from __future__ import annotations

import sqlite3
from typing import Final

INLINE: Final = 64 * 1024
"""Bytes of a body that is read together with its row, where one row is asked for."""

INLINE_LISTED: Final = 1024
"""Bytes of a body that is read together with its row, where many rows are asked for."""

_SIZE: Final = {
    # The first one tells the size without reading the text.
    "sqlite": "octet_length(body)" if sqlite3.sqlite_version_info >= (3, 43) else "length(CAST(body AS BLOB))",
    "postgresql": "octet_length(body)",
}
_TEXT: Final = {"sqlite": "CAST(body AS BLOB)", "postgresql": "convert_to(body, 'UTF8')"}


def body_columns(kind: str, most: int | None) -> str:
    """Return the columns with the size and the text of a body, NULL for a text of more than `most` bytes."""
    text = _TEXT[kind] if most is None else f"CASE WHEN {_SIZE[kind]} <= {most} THEN {_TEXT[kind]} END"
    return f"{_SIZE[kind]} AS body_size, {text} AS body_text"
