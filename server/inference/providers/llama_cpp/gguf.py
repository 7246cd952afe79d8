"""The head of a GGUF file: what its model is, and the bytes that a whole file of it has.

The process that loads the model imports this module, so it imports the standard library alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

MAGIC: Final = b"GGUF"
"""The first bytes of each file."""

Scalar = int | float | bool | str

_MOST_ENTRIES: Final = 1_000_000
_MOST_TENSORS: Final = 1_000_000
_MOST_DIMENSIONS: Final = 8
_LONGEST_TEXT: Final = 16 * 1024 * 1024
_LONGEST_KEPT: Final = 256
_ALIGNMENT: Final = 32
_VERSIONS: Final = (2, 3)
_CACHE_BYTES: Final = 2  # of each number in the cache

_NUMBERS: Final[Mapping[int, Struct]] = {
    kind: Struct(f"<{code}")
    for kind, code in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_TEXT: Final = 8
_LIST: Final = 9
_COUNT: Final = Struct("<Q")
_WORD: Final = Struct("<I")

_BLOCKS: Final[Mapping[int, tuple[int, int]]] = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}
"""Numbers in one block of each type of tensor, and its bytes. Of a type that is missing here only the place counts."""


class NotGguf(Exception):
    """The file is no GGUF file, or one of a kind that is not known."""


class CutShort(Exception):
    """The file ends before its model does; `needed` are the bytes that it would have, as far as that is known."""

    def __init__(self, needed: int | None = None) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A model as its file describes it; `values` are the single values of the file's head, `size` its bytes."""

    size: int
    values: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def context(self) -> int | None:
        """Tokens that the model was trained for."""
        return self._number("context_length")

    @property
    def parts(self) -> int:
        """Files that the model is divided into."""
        found = self.values.get("split.count")
        return found if type(found) is int and found > 0 else 1

    def cache(self, tokens: int) -> int:
        """Return the bytes that the model's cache takes for so many tokens; 0 where the file doesn't tell."""
        layers, width, heads = (
            self._number(name) for name in ("block_count", "embedding_length", "attention.head_count")
        )
        if not layers or not width or not heads:
            return 0
        each = width // heads
        keys, values = self._number("attention.key_length") or each, self._number("attention.value_length") or each
        return tokens * layers * (self._number("attention.head_count_kv") or heads) * (keys + values) * _CACHE_BYTES

    def _number(self, name: str) -> int | None:
        found = self.values.get(f"{self.values.get('general.architecture')}.{name}")
        return found if type(found) is int and found > 0 else None


def read_gguf(path: Path) -> GgufModel:
    """Return the model in a file; raises NotGguf, CutShort and OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotGguf  # to open a pipe would wait for its other end
    with path.open("rb") as file:
        return _Head(file).model()


class _Head:
    """Reads the head of a file from its beginning to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def model(self) -> GgufModel:
        if self._file.read(len(MAGIC)) != MAGIC or self._next(_WORD) not in _VERSIONS:
            raise NotGguf
        tensors, entries = self._count(_MOST_TENSORS), self._count(_MOST_ENTRIES)
        values: dict[str, Scalar] = {}
        for _ in range(entries):
            name, value = self._text(), self._value(self._next(_WORD))
            if value is not None:
                values[name] = value
        end = max((self._tensor() for _ in range(tensors)), default=0)
        alignment = values.get("general.alignment")
        step = alignment if type(alignment) is int and alignment > 0 else _ALIGNMENT
        needed = -(-self._file.tell() // step) * step + end
        if needed > self._size:
            raise CutShort(needed)
        return GgufModel(self._size, values)

    def _tensor(self) -> int:
        """Return the byte, behind the head, at which a tensor ends."""
        self._text()
        numbers = 1
        for _ in range(self._next(_WORD, _MOST_DIMENSIONS)):
            numbers *= self._next(_COUNT)
        block, size = _BLOCKS.get(self._next(_WORD), (1, 0))
        return self._next(_COUNT) + numbers // block * size

    def _value(self, kind: int) -> Scalar | None:
        """Return a single value; None for a list, and for a text that is long."""
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            self._skip_list()
            return None
        if kind not in _NUMBERS:
            raise NotGguf
        [number] = _NUMBERS[kind].unpack(self._read(_NUMBERS[kind].size))
        found: Scalar = number
        return found

    def _skip_list(self) -> None:
        kind, count = self._next(_WORD), self._next(_COUNT)
        if kind in _NUMBERS:
            self._skip(count * _NUMBERS[kind].size)
        elif kind == _TEXT:
            for _ in range(count):
                self._skip(self._next(_COUNT))
        else:
            raise NotGguf

    def _text(self) -> str:
        length = self._next(_COUNT, _LONGEST_TEXT)
        if length > _LONGEST_KEPT:
            self._skip(length)
            return ""
        return self._read(length).decode(errors="replace")

    def _count(self, most: int) -> int:
        return self._next(_COUNT, most)

    def _next(self, form: Struct, most: int | None = None) -> int:
        [number] = form.unpack(self._read(form.size))
        found: int = number
        if most is not None and found > most:
            raise NotGguf
        return found

    def _read(self, size: int) -> bytes:
        found = self._file.read(size)
        if len(found) < size:
            raise CutShort
        return found

    def _skip(self, size: int) -> None:
        if self._file.tell() + size > self._size:
            raise CutShort
        self._file.seek(size, os.SEEK_CUR)
