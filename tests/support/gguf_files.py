"""GGUF files that a test makes: a head alone, or the first layers of a real model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from struct import calcsize, pack, unpack_from

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


class _Reading:
    """The head of a real file, taken apart into the bytes of its entries and the tensors."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 4
        self.version = self.number("<I")
        tensors, entries = self.number("<Q"), self.number("<Q")
        self.entries = [self.entry() for _ in range(entries)]
        self.tensors = [self.tensor() for _ in range(tensors)]
        self.data = -(-self.place // 32) * 32

    def number(self, form: str) -> int:
        [found] = unpack_from(form, self.content, self.place)
        self.place += calcsize(form)
        return int(found)

    def text(self) -> bytes:
        size = self.number("<Q")
        self.place += size
        return self.content[self.place - size : self.place]

    def entry(self) -> tuple[str, bytes]:
        name, start = self.text().decode(), self.place
        self.skip(self.number("<I"))
        return name, self.content[start : self.place]

    def skip(self, kind: int) -> None:
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, count = self.number("<I"), self.number("<Q")
            for _ in range(count):
                self.skip(inner)
        else:
            self.place += {0: 1, 1: 1, 2: 2, 3: 2, 7: 1, 10: 8, 11: 8, 12: 8}.get(kind, 4)

    def tensor(self) -> tuple[str, bytes, int]:
        name, start = self.text().decode(), self.place
        dimensions = self.number("<I")
        self.place += 8 * dimensions + 4
        return name, self.content[start : self.place], self.number("<Q")


def shallow(content: bytes, layers: int) -> bytes:
    """A model of the first few layers of another one: it is quick, and what it says means nothing."""
    real = _Reading(content)
    ends = dict(pairwise([*sorted(place for *_, place in real.tensors), len(content) - real.data]))
    kept = [each for each in real.tensors if not each[0].startswith("blk.") or int(each[0].split(".")[1]) < layers]
    made = b"GGUF" + pack("<IQQ", real.version, len(kept), len(real.entries))
    for name, value in real.entries:
        made += text(name) + (pack("<II", 4, layers) if name.endswith(".block_count") else value)
    data = b""
    for name, shape, place in kept:
        made += text(name) + shape + pack("<Q", len(data))
        data += content[real.data + place : real.data + ends[place]]
        data += bytes(-len(data) % 32)
    return made + bytes(-len(made) % 32) + data
