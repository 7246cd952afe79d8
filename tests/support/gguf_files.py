"""GGUF files that a test writes for itself: a head, and as many bytes behind it as the test wants."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack

FLOATS = 0
"""The type of tensors with 32-bit numbers."""


def text(value: str) -> bytes:
    """A text, with its length before it."""
    return pack("<Q", len(value.encode())) + value.encode()


def entry(name: str, value: int | str | list[str]) -> bytes:
    """An entry of the head."""
    match value:
        case int():
            return text(name) + pack("<II", 4, value)
        case str():
            return text(name) + pack("<I", 8) + text(value)
        case _:
            return text(name) + pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))


def head(
    values: Mapping[str, int | str | list[str]],
    tensors: Mapping[str, int] | None = None,
    version: int = 3,
) -> bytes:
    """The head of a file with these entries and tensors of so many 32-bit numbers, one behind the other."""
    listed = tensors or {}
    made = b"GGUF" + pack("<IQQ", version, len(listed), len(values))
    made += b"".join(entry(name, value) for name, value in values.items())
    offset = 0
    for name, numbers in listed.items():
        made += text(name) + pack("<IQIQ", 1, numbers, FLOATS, offset)
        offset += -(-numbers * 4 // 32) * 32
    return made + bytes(-len(made) % 32)
