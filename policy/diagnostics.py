"""What is wrong with a file, where, and what to do about it."""

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
    """A file can't be used; carries every finding, warnings included, in the order of their places."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=lambda found: (found.span, found.message)))
        super().__init__("\n".join(map(str, self.diagnostics)))


class Findings:
    """Collects diagnostics while a file is read, so that all of them are reported together."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def error(self, code: str, span: Span, message: str, hint: str = "") -> None:
        """Record something that stops the load."""
        self.diagnostics.append(Diagnostic(Severity.ERROR, code, message, span, hint))

    def warning(self, code: str, span: Span, message: str, hint: str = "") -> None:
        """Record something that the writer should look at."""
        self.diagnostics.append(Diagnostic(Severity.WARNING, code, message, span, hint))

    def raise_errors(self) -> None:
        """Raise `InvalidDocument` with every finding if one of them is an error."""
        if any(found.severity is Severity.ERROR for found in self.diagnostics):
            raise InvalidDocument(self.diagnostics)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to `word`, or else all the known ones."""
    choices = sorted(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"use one of {', '.join(f'`{choice}`' for choice in choices)}"
