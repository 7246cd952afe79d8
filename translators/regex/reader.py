"""The reader: the text of a Python pattern becomes a tree whose nodes don't depend on flags.

Python's own parser does the parsing (`policy.expressions`), the only certain authority on a pattern's meaning: octal or
back-reference, `{,2}` or literal braces, which flags hold where. A second parser would differ from it silently
somewhere; an operation that this module doesn't know is refused.

The operations are those of CPython 3.11 to 3.14, and the tests pin them.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Final

from policy.expressions import parse_tree
from policy.regexes import PATTERN_LIMIT
from translators.regex.classes import Item, members
from translators.regex.codepoints import EVERYTHING, NOTHING, Ranges, complement
from translators.regex.places import places
from translators.regex.refusal import Untranslatable
from translators.regex.tree import Anchor, At, Atomic, Chars, Choice, Lookahead, Lookbehind, Node, Repeat, Sequence

DEEPEST: Final = 200
"""Most groups within each other; OPA's engine allows 1,000, and Python's stack must bear it."""

# As plain numbers: `&` of an enum's members costs as much as all else that is done for a character.
_IGNORECASE: Final = int(re.IGNORECASE)
_MULTILINE: Final = int(re.MULTILINE)
_DOTALL: Final = int(re.DOTALL)
_ASCII: Final = int(re.ASCII)
_UNICODE: Final = int(re.UNICODE)
_KNOWN_FLAGS: Final = _IGNORECASE | _MULTILINE | _DOTALL | int(re.VERBOSE) | _ASCII | _UNICODE
_NOT_NEWLINE: Final = complement(((0x0A, 0x0A),))
_SURROGATES: Final = range(0xD800, 0xE000)
_ANCHORS: Final = {
    "AT_BEGINNING": Anchor.START,
    "AT_BEGINNING_STRING": Anchor.START,
    "AT_END": Anchor.END,
    "AT_END_STRING": Anchor.FINISH,
    "AT_BOUNDARY": Anchor.BOUNDARY,
    "AT_NON_BOUNDARY": Anchor.NOT_BOUNDARY,
}
_BY_LINE: Final = {"AT_BEGINNING": Anchor.LINE_START, "AT_END": Anchor.LINE_END}
_BOUNDARIES: Final = {"AT_BOUNDARY": r"\b", "AT_NON_BOUNDARY": r"\B"}
_OF_UNICODE: Final = {"AT_BOUNDARY": Anchor.UNICODE_BOUNDARY, "AT_NON_BOUNDARY": Anchor.NOT_UNICODE_BOUNDARY}
_REPEATS: Final = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}
_REFUSED: Final = {"GROUPREF": "back-reference", "GROUPREF_EXISTS": "conditional group"}


def read(pattern: str) -> Sequence:
    """Return the tree of a pattern; refuse a pattern that Python refuses or that isn't regular."""
    if len(pattern) > PATTERN_LIMIT:
        raise Untranslatable(f"a pattern of more than {PATTERN_LIMIT:,} characters")
    parsed, no_limit = _parse(pattern)
    reader = _Reader(places(pattern), no_limit)
    tree = Sequence(reader.items(parsed, int(parsed.state.flags), 0))
    uncertain = [construct for construct, left in reader.places.items() if left]
    if not uncertain:
        return tree
    # The parser moves the common beginning of branches before them: `(?:$a|$b)` gets one `$`, without a place.
    known = {construct: found for construct, found in places(pattern).items() if construct not in uncertain}
    return Sequence(_Reader(known, no_limit).items(parsed, int(parsed.state.flags), 0))


def _parse(pattern: str) -> tuple[Any, int]:
    """Return Python's parse tree, and the number that stands for "no limit" in it."""
    try:
        parsed = parse_tree(pattern)
    except re.error as error:
        raise Untranslatable(f"a pattern that Python refuses ({error.msg})", error.pos) from None
    except RecursionError:
        raise Untranslatable(f"nesting of more than {DEEPEST} groups") from None
    except Exception as error:  # noqa: BLE001 - CPython fails on some patterns with SystemError, OverflowError and others
        raise Untranslatable(f"a pattern that Python fails on ({error})") from None
    return parsed, int(import_module("re._parser").MAXREPEAT)


class _Reader:
    """Walks Python's parse tree. `places` holds, for each kind of construct, the offsets not yet met."""

    def __init__(self, places: dict[str, deque[int]], no_limit: int) -> None:
        self.places = places
        self.no_limit = no_limit

    def items(self, parsed: Any, flags: int, depth: int) -> tuple[Node, ...]:
        """Return the nodes of a parsed sequence under these flags; groups that only group are dissolved."""
        if depth > DEEPEST:
            raise Untranslatable(f"nesting of more than {DEEPEST} groups")
        if flags & ~_KNOWN_FLAGS:
            raise Untranslatable("a flag other than `i`, `m`, `s`, `x`, `a` and `u`")
        nodes: list[Node] = []
        for operation, argument in parsed:
            node = self._node(operation.name, argument, flags, depth + 1)
            if isinstance(node, Sequence):
                nodes.extend(node.items)
            else:
                nodes.append(node)
        return tuple(nodes)

    def _node(self, name: str, argument: Any, flags: int, depth: int) -> Node:
        if name == "LITERAL":
            return _literal(argument, flags & (_IGNORECASE | _ASCII))
        if name in {"NOT_LITERAL", "IN", "ANY", "FAILURE"}:
            return self._chars(name, argument, flags)
        if name == "AT":
            return self._anchor(argument.name, flags)
        if name == "BRANCH":
            return Choice(tuple(Sequence(self.items(branch, flags, depth)) for branch in argument[1]))
        if name == "SUBPATTERN":
            _, added, removed, body = argument
            return Sequence(self.items(body, _combined(flags, added, removed), depth))
        if name in _REPEATS:
            return self._repeat(name, argument, flags, depth)
        if name == "ATOMIC_GROUP":
            position = self._place("atomic group")
            return Atomic(Sequence(self.items(argument, flags, depth)), "atomic group", position)
        if name in {"ASSERT", "ASSERT_NOT"}:
            return self._look(name, argument, flags, depth)
        construct = _REFUSED.get(name, f"`{name.lower()}`, which this version doesn't know,")
        raise Untranslatable(construct, self._place(construct))

    def _chars(self, name: str, argument: Any, flags: int) -> Chars:
        if name == "FAILURE":
            # `(?!)`: Python before 3.13 leaves the empty look-ahead in the tree.
            self._place("look-ahead")
            return Chars(NOTHING)
        if name == "ANY":
            return Chars(EVERYTHING if flags & _DOTALL else _NOT_NEWLINE)
        if name != "IN":
            _refuse_surrogate(argument)
        items: tuple[Item, ...]
        if name == "IN":
            items = tuple((kind.name, getattr(value, "name", value)) for kind, value in argument)
        else:
            items = (("NEGATE", None), ("LITERAL", argument))
        return Chars(_members(items, flags))

    def _anchor(self, name: str, flags: int) -> At:
        if name in _BOUNDARIES:
            anchors = _ANCHORS if flags & _ASCII else _OF_UNICODE
            return At(anchors[name], self._place(_BOUNDARIES[name]))
        position = self._place("$") if name == "AT_END" else None
        anchor = _BY_LINE.get(name) if flags & _MULTILINE else None
        return At(anchor or _ANCHORS[name], position)

    def _repeat(self, name: str, argument: Any, flags: int, depth: int) -> Node:
        least, parsed_most, parsed = argument
        body = Sequence(self.items(parsed, flags, depth))
        most = None if parsed_most == self.no_limit else int(parsed_most)
        position = self._place("repetition")
        if name != "POSSESSIVE_REPEAT":
            return Repeat(body, int(least), most, position)
        # Documented as `(?>x{m,n})`; CPython moreover never tries an earlier round in another way for the sake of a
        # later one, so each round is atomic too. That matters for a body that can match in more than one way.
        possessive = partial(Atomic, construct="possessive quantifier", position=self._place("possessive quantifier"))
        if not all(isinstance(item, Chars | At) for item in body.items):
            body = Sequence((possessive(body),))
        return possessive(Sequence((Repeat(body, int(least), most, position),)))

    def _look(self, name: str, argument: Any, flags: int, depth: int) -> Node:
        direction, parsed = argument
        construct = "look-ahead" if direction > 0 else "look-behind"
        position = self._place(construct)
        body = Sequence(self.items(parsed, flags, depth))
        negative = name == "ASSERT_NOT"
        if direction < 0:
            return Lookbehind(body, negative, position)
        return Chars(NOTHING) if negative and not body.items else Lookahead(body, negative, position)

    def _place(self, construct: str) -> int | None:
        found = self.places.get(construct)
        return found.popleft() if found else None


@lru_cache(maxsize=4096)
def _literal(point: int, flags: int) -> Chars:
    """Return a literal character; each is made once, since patterns consist mostly of them."""
    _refuse_surrogate(point)
    return Chars(_members((("LITERAL", point),), flags))


def _refuse_surrogate(point: int) -> None:
    # No subject contains a surrogate, and text with one can't be written to a file.
    if point in _SURROGATES:
        raise Untranslatable("lone surrogate")


def _combined(flags: int, added: int, removed: int) -> int:
    """Return the flags within a group such as `(?a-i:…)`: of `a` and `u`, the inner one replaces the outer one."""
    types = _ASCII | _UNICODE
    if added & types:
        flags &= ~types
    return (flags | added) & ~removed


def _members(items: tuple[Item, ...], flags: int) -> Ranges:
    return members(items, ignore_case=bool(flags & _IGNORECASE), ascii_only=bool(flags & _ASCII))
