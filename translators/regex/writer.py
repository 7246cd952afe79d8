"""From a settled tree to a pattern for OPA's engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from translators.regex.codepoints import Ranges
from translators.regex.refusal import Untranslatable
from translators.regex.spelling import char_class
from translators.regex.tree import Anchor, At, Chars, Choice, Node, Repeat, Sequence

LONGEST_TEXT: Final = 65_536
"""Longest translation of a pattern, in characters, all its tests together."""

MOST_STATES: Final = 20_000
"""Most characters to match or decide about, repetitions written out: the engine's work grows with them."""

MOST_REPEATS: Final = 1000
"""The engine's own limit for one repetition and for the product of nested ones."""

_ANCHORS: Final = {
    Anchor.START: r"\A",
    Anchor.LINE_START: r"(?m:^)",
    Anchor.END: r"(?:\n?\z)",
    Anchor.LINE_END: r"(?m:$)",
    Anchor.FINISH: r"\z",
    Anchor.BOUNDARY: r"\b",
    Anchor.NOT_BOUNDARY: r"\B",
}


class _Binding(IntEnum):
    """The binding strength of a text, from loosest to tightest."""

    CHOICE = 0
    SEQUENCE = 1
    ATOM = 2


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text, the product of the nested repetitions in it, and its size in states."""

    text: str
    binding: _Binding
    product: int
    states: int

    def bound(self, binding: _Binding) -> str:
        """Return the text, in a group if it doesn't hold together as `binding` demands."""
        return self.text if self.binding >= binding else f"(?:{self.text})"


def write(sequence: Sequence) -> str:
    r"""Return the pattern `\A(?:…)` for a tree that `settle` has made; refuses one that gets too large."""
    items = sequence.items
    while items and isinstance(items[0], At) and items[0].anchor is Anchor.START:
        items = items[1:]
    piece = _piece(Sequence(items))
    return rf"\A(?:{piece.text})"


def _piece(node: Node) -> _Piece:
    match node:
        case Chars(ranges):
            return _char_piece(ranges)
        case At(anchor):
            return _Piece(_ANCHORS[anchor], _Binding.SEQUENCE, 1, 1)
        case Sequence(items):
            pieces = [_piece(item) for item in items]
            if len(pieces) == 1:
                return pieces[0]
            return _joined(pieces, "", _Binding.SEQUENCE)
        case Choice(branches):
            return _joined([_piece(branch) for branch in branches], "|", _Binding.CHOICE)
        case Repeat(body, least, most, position):
            return _repeat(_piece(body), least, most, position)
        case _:
            raise AssertionError(node)


@lru_cache(maxsize=4096)
def _char_piece(ranges: Ranges) -> _Piece:
    return _Piece(char_class(ranges), _Binding.ATOM, 1, 1)


def _joined(pieces: list[_Piece], separator: str, binding: _Binding) -> _Piece:
    text = separator.join(piece.bound(binding) for piece in pieces)
    states = 1 + sum(piece.states for piece in pieces)
    if len(text) > LONGEST_TEXT or states > MOST_STATES:
        raise Untranslatable("a pattern that becomes too large")
    return _Piece(text, binding, max((piece.product for piece in pieces), default=1), states)


def _repeat(body: _Piece, least: int, most: int | None, position: int | None) -> _Piece:
    if most == 0:
        return _Piece("", _Binding.SEQUENCE, 1, 1)
    copies = (max(least, 1) if most is None else most) * body.states + 1
    if copies > MOST_STATES:
        raise Untranslatable("a repetition that becomes too large", position)
    if (least, most) == (1, 1):
        return body
    # Chunks keep within the engine's limits; as languages, `a{1500}` and `a{1000}a{500}` are the same.
    parts = _parts(least, most, max(MOST_REPEATS // body.product, 1))
    atom = body.bound(_Binding.ATOM)
    if len(parts) * len(atom) > LONGEST_TEXT:
        raise Untranslatable("a repetition that becomes too large", position)
    text = "".join(body.bound(_Binding.SEQUENCE) if part == (1, 1) else atom + _quantifier(*part) for part in parts)
    widest = max(low if high is None else high for low, high in parts)
    product = body.product * (widest if widest > 1 else 1)
    return _Piece(text, _Binding.SEQUENCE, product, copies)


def _parts(least: int, most: int | None, chunk: int) -> list[tuple[int, int | None]]:
    """Return the bounds, none above `chunk`, of repetitions that one after the other come to `least` to `most`."""
    if least <= chunk and (most is None or most <= chunk):
        return [(least, most)]
    needed: list[tuple[int, int | None]] = [(size, size) for size in _chunks(least, chunk)]
    if most is None:
        return [*needed[:-1], (needed[-1][0], None)]
    return needed + [(0, size) for size in _chunks(most - least, chunk)]


def _chunks(count: int, size: int) -> list[int]:
    full, rest = divmod(count, size)
    return [size] * full + ([rest] if rest else [])


def _quantifier(low: int, high: int | None) -> str:
    match low, high:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case 1, 1:
            return ""
        case _, None:
            return f"{{{low},}}"
        case _:
            return f"{{{low}}}" if low == high else f"{{{low},{high}}}"
