"""Regular expressions that are matched in a time which grows with the text alone.

Python's own engine may take for ever on a text that a stranger chooses. The pattern is read by Python's parser, so that
it means the same; it becomes a machine that is in many states at once and never goes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Final

from policy.expressions import parse_tree

MOST_STATES: Final = 1_000
"""States of one machine, which bound what a character costs."""

_ALPHABET: Final = tuple(map(chr, range(256)))
_CHARACTERS: Final = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
_STARTS: Final = frozenset({"AT_BEGINNING", "AT_BEGINNING_STRING"})
_ENDS: Final = frozenset({"AT_END", "AT_END_STRING"})
_ODD_FLAGS: Final = int(re.MULTILINE)
_ODD_IN_GROUPS: Final = int(re.MULTILINE | re.ASCII | re.UNICODE)


class NotLinear(ValueError):
    """The pattern has a construct that no such machine matches; the message names it."""


class LinearPattern:
    """Matches whole texts of Latin-1 characters without line ends, as `re.fullmatch` does.

    Raises what `re.compile` raises, and NotLinear for look-arounds, back-references and patterns that are too large.
    """

    def __init__(self, pattern: str) -> None:
        tree = parse_tree(pattern)
        if tree.state.flags & _ODD_FLAGS:
            raise NotLinear("flags for several lines")
        self._state = tree.state
        self._takes: list[frozenset[str]] = []
        self._nexts: list[list[int]] = []
        self._only_at: dict[int, str] = {}
        self._goal = self._new()
        self._first = self._sequence(tree.data, self._goal, 0)

    def fullmatch(self, text: str) -> bool:
        """Tell if the whole text is one that the pattern describes."""
        states = self._reached([self._first], is_start=True, is_end=not text)
        for position, character in enumerate(text, 1):
            taking = [state for state in states if character in self._takes[state]]
            goals = {state for each in taking for state in self._nexts[each]}
            states = self._reached(goals, is_start=False, is_end=position == len(text))
            if not states:
                return False
        return self._goal in states

    def _reached(self, states: Iterable[int], *, is_start: bool, is_end: bool) -> set[int]:
        """The states that are reached from these ones without taking a character."""
        found, waiting = set(), list(states)
        while waiting:
            state = waiting.pop()
            if state in found:
                continue
            found.add(state)
            place = self._only_at.get(state)
            is_there = place is None or (is_start if place == "start" else is_end)
            if is_there and not self._takes[state]:
                waiting += self._nexts[state]
        return found

    def _new(self, takes: frozenset[str] = frozenset(), nexts: Sequence[int] = ()) -> int:
        if len(self._takes) >= MOST_STATES:
            raise NotLinear("more repetitions than can be followed")
        self._takes.append(takes)
        self._nexts.append(list(nexts))
        return len(self._takes) - 1

    def _sequence(self, items: Sequence[tuple[Any, Any]], goal: int, flags: int) -> int:
        for item in reversed(items):
            goal = self._item(item, goal, flags)
        return goal

    def _item(self, item: tuple[Any, Any], goal: int, flags: int) -> int:
        """The state from which the item leads to `goal`."""
        operation, argument = str(item[0]), item[1]
        if operation in _CHARACTERS:
            return self._character(item, goal, flags)
        match operation:
            case "BRANCH":
                return self._new(nexts=[self._sequence(branch, goal, flags) for branch in argument[1]])
            case "SUBPATTERN" if not argument[2] and not argument[1] & _ODD_IN_GROUPS:
                return self._sequence(argument[3], goal, flags | argument[1])
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, body = argument
                return self._repeat(least, most, body, goal, flags)
            case "AT" if str(argument) in _STARTS | _ENDS:
                state = self._new(nexts=[goal])
                self._only_at[state] = "start" if str(argument) in _STARTS else "end"
                return state
        raise NotLinear("look-arounds, back-references, word boundaries or flags of groups")

    def _character(self, item: tuple[Any, Any], goal: int, flags: int) -> int:
        one = import_module("re._parser").SubPattern(self._state, [item])
        compiled: re.Pattern[str] = import_module("re._compiler").compile(one, flags)
        takes = frozenset(filter(compiled.fullmatch, _ALPHABET))
        # A state that takes nothing would lead on by itself.
        return self._new(takes, [goal]) if takes else self._new()

    def _repeat(self, least: int, most: Any, body: Any, goal: int, flags: int) -> int:
        if most == import_module("re._parser").MAXREPEAT:
            again = self._new()
            self._nexts[again] = [self._sequence(body, again, flags), goal]
            state = again
        else:
            state = goal
            for _ in range(int(most) - least):
                state = self._new(nexts=[self._sequence(body, state, flags), goal])
        for _ in range(least):
            state = self._sequence(body, state, flags)
        return state
