"""Pieces of a file's text, and why a file may have none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_SIZE: Final = 800
"""Tokens of a piece where nothing else is said, as OpenAI's `auto` strategy has it."""

DEFAULT_OVERLAP: Final = 400
"""Tokens that a piece shares with the one before it, as OpenAI's `auto` strategy has it."""


class Code(StrEnum):
    """Why a file could not be taken in, in OpenAI's words."""

    SERVER_ERROR = "server_error"
    UNSUPPORTED_FILE = "unsupported_file"
    INVALID_FILE = "invalid_file"


class Unreadable(Exception):
    """A file gives no text; `message` says why, in one sentence for the one who attached it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Chunking:
    """Tokens of a piece, and tokens that it shares with the one before it, at most half as many."""

    size: int = DEFAULT_SIZE
    overlap: int = DEFAULT_OVERLAP


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text with the number of its tokens, and where it stands, in characters of the whole text."""

    text: str
    tokens: int
    start: int
    end: int
