"""Output of diagnostics: for people, with the source line, and for machines, as JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from policy.source.diagnostics import Diagnostic, Severity, visible
from policy.source.secrets import hidden_in_addresses, secret_places

LINE_WIDTH: Final = 160
"""Most characters of a source line that are shown; the part around the place is kept."""

_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLORS: Final = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m"}

_LOOK_BACK: Final = 4096
_MASK: Final = "***"


def render(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], color: bool) -> str:
    """Return the diagnostics as text, in the order of their places, each once and without a final newline.

    `sources` maps the names of files to their text; a diagnostic about another file is shown without its line.
    """
    shown = {name: _Source(text) for name, text in sources.items()}
    ordered = sorted(dict.fromkeys(diagnostics), key=lambda found: (found.span, found.message))
    return "\n".join(_rendered(found, shown.get(found.span.file), color) for found in ordered)


def as_json(diagnostic: Diagnostic) -> dict[str, str | int]:
    """Return the diagnostic as a flat JSON object: severity, code, message, hint, file, line and column."""
    return {
        "severity": diagnostic.severity.value,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "file": diagnostic.span.file,
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
    }


class _Source:
    """The lines of a file, and the parts that diagnostics, which end up in logs, must not show."""

    def __init__(self, text: str) -> None:
        plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self.lines = plain.split("\n")
        self._secrets = secret_places(plain)

    def hidden(self, line: int) -> list[tuple[int, int]]:
        """Return the columns of a line (from 0) that hold secrets."""
        return self._secrets.get(line, [])


def _rendered(found: Diagnostic, source: _Source | None, color: bool) -> str:
    severity = _painted(f"{found.severity}:", _COLORS[found.severity], color)
    parts = [f"{_painted(visible(str(found.span)), _BOLD, color)}: {severity} {visible(found.message)}"]
    margin = " " * len(str(found.span.line))
    if source is not None and found.span.line <= len(source.lines):
        number = found.span.line - 1
        before, after = _excerpt(source.lines[number], found.span.column - 1, source.hidden(number))
        parts.append(f"{_painted(f' {found.span.line} |', _DIM, color)} {before}{after}".rstrip())
        caret = _painted("^", _COLORS[found.severity], color)
        parts.append(f"{_painted(f' {margin} |', _DIM, color)} {' ' * _width(before)}{caret}")
    if found.hint:
        parts.append(f"{_painted(f' {margin} =', _DIM, color)} {visible(found.hint)}")
    return "\n".join(parts)


def _excerpt(line: str, offset: int, hidden: list[tuple[int, int]]) -> tuple[str, str]:
    """Return the shown part of `line` before and after `offset`, without what is `hidden`."""
    # A line may be megabytes long: only the part near the place is read.
    first = max(0, offset - _LOOK_BACK)
    near, offset = _masked(
        line[first : offset + LINE_WIDTH], offset - first, [(start - first, end - first) for start, end in hidden]
    )
    offset = min(offset, len(near))
    start = max(0, min(offset - LINE_WIDTH // 2, len(near) - LINE_WIDTH))
    before = ("…" if first + start else "") + visible(near[start:offset])
    after = visible(near[offset : start + LINE_WIDTH]) + ("…" if start + LINE_WIDTH < len(near) else "")
    return before, after.rstrip()


def _masked(text: str, offset: int, hidden: list[tuple[int, int]]) -> tuple[str, int]:
    """Return `text` with stars in place of what is hidden, and the new position of the character at `offset`."""
    parts: list[str] = []
    done, moved = 0, offset
    for first, last in _united([*hidden, *hidden_in_addresses(text)]):
        start, end = max(first, 0), min(last, len(text))
        if start >= end:
            continue
        parts += text[done:start], _MASK
        if start < offset:
            moved += len(_MASK) - (end - start) if end <= offset else start - offset
        done = end
    return "".join([*parts, text[done:]]), moved


def _united(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans in their order, overlapping ones merged."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first < found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _width(text: str) -> int:
    """Return the number of columns that a terminal needs for `text`."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def _painted(text: str, color: str, wanted: bool) -> str:
    return f"{color}{text}{_RESET}" if wanted else text
