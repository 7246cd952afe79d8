"""Diagnostics of a file: a message, its place and a hint, and the collection of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from enum import StrEnum
from operator import ne
from typing import Final

_NEAR: Final = 0.8
_NEAR_IF_SHORT: Final = 0.75
_LONGEST_SHORT: Final = 5
_SHORTEST_PART: Final = 5


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in a file; lines and columns count from 1, columns in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(StrEnum):
    """An error stops the load; a warning doesn't, unless `--strict` is given."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: `code` is a stable kebab-case name, `message` one sentence with the user's text in backticks.

    `hint` says what to do; it may be empty where the message says it already.
    """

    severity: Severity
    code: str
    message: str
    span: Span
    hint: str = ""

    def __str__(self) -> str:
        tail = f"; {self.hint}" if self.hint else ""
        return f"{self.span}: {self.severity}: {self.message}{tail}"


class InvalidDocument(Exception):
    """Raised for a file that can't be used; carries every finding, warnings included, in the order of their places."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=lambda found: (found.span, found.message)))
        super().__init__("\n".join(map(str, self.diagnostics)))


class Findings:
    """Collects diagnostics while a file is read, so that all of them are reported together."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    @property
    def has_errors(self) -> bool:
        """True if one of the findings stops the load."""
        return any(found.severity is Severity.ERROR for found in self.diagnostics)

    def add(self, severity: Severity, code: str, span: Span, message: str, hint: str = "") -> None:
        """Add a finding with a given severity."""
        self.diagnostics.append(Diagnostic(severity, code, message, span, hint))

    def error(self, code: str, span: Span, message: str, hint: str = "") -> None:
        """Add an error, which stops the load."""
        self.add(Severity.ERROR, code, span, message, hint)

    def warning(self, code: str, span: Span, message: str, hint: str = "") -> None:
        """Add a warning."""
        self.add(Severity.WARNING, code, span, message, hint)

    def extend(self, other: Findings) -> None:
        """Add the findings of `other`."""
        self.diagnostics.extend(other.diagnostics)

    def raise_errors(self) -> None:
        """Raise `InvalidDocument` with every finding if one of them is an error."""
        if self.has_errors:
            raise InvalidDocument(self.diagnostics)


def visible(text: str) -> str:
    """Return `text` with every character that a terminal would interpret or hide written as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def quoted(text: str) -> str:
    """Return `text` in back-quotes for a message: on one line, made visible and cut to 80 characters."""
    return f"`{visible(text if len(text) <= 80 else text[:79] + '…')}`"


def misspelling_of(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is probably a misspelling of, case ignored; None where none is that near.

    Near are words that share nearly all letters in their order, that differ in one letter or in the order of letters,
    and those of which one is the beginning or the end of the other. In front of `::` they have to be equal.
    """
    choices = sorted(known)
    found = [(_likeness(word.lower(), choice.lower()), choice) for choice in choices]
    best = max(found, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= _NEAR else None


def _likeness(word: str, choice: str) -> float:
    """Return the likeness of two words, from 0 to 1."""
    (kind, mark, word), (other, _, choice) = word.rpartition("::"), choice.rpartition("::")
    if mark and kind != other:
        return 0.0
    shorter, longer = sorted((word, choice), key=len)
    if 2 * len(shorter) < _NEAR_IF_SHORT * (len(word) + len(choice)) and not _is_part(shorter, longer):
        return 0.0  # the likeness is less than that, whatever the letters are
    ratio = SequenceMatcher(None, word, choice).ratio()
    one_letter = len(word) == len(choice) and sum(map(ne, word, choice)) == 1 and len(word) > 1
    is_short = len(longer) <= _LONGEST_SHORT and ratio >= _NEAR_IF_SHORT
    if _is_part(shorter, longer) or one_letter or is_short or sorted(word) == sorted(choice):
        return max(ratio, _NEAR)
    return ratio


def _is_part(shorter: str, longer: str) -> bool:
    return len(shorter) >= _SHORTEST_PART and (longer.startswith(shorter) or longer.endswith(shorter))


def hint_of(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known word that `word` misspells, else with all known ones; empty if there are none.

    A word that two of them end in, as `postgres` is of `kv_postgres` and `sql_postgres`, gets a hint with both.
    """
    choices = tuple(known)
    ending = sorted(choice for choice in choices if choice.endswith(f"_{word}"))
    if len(ending) == 2:
        return f"did you mean `{ending[0]}` or `{ending[1]}`?"
    near = misspelling_of(word, choices)
    return did_you_mean("", choices) if near is None else f"did you mean `{near}`?"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known word nearest to `word`, case ignored, else with all known ones; empty if there are
    none.
    """
    choices = {choice.lower(): choice for choice in sorted(known)}
    if not choices:
        return ""
    close = get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{choices[close[0]]}`?"
    if len(choices) == 1:
        return f"use `{next(iter(choices.values()))}`"
    return f"use one of {', '.join(f'`{choice}`' for choice in choices.values())}"
