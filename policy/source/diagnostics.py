"""Diagnostics of a file: a message, its place and a hint, and the collection of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum


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
