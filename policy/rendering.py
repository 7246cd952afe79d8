"""Diagnostics for people, with the line that they are about, and for machines."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from policy.diagnostics import Diagnostic, Severity, visible

LINE_WIDTH: Final = 160
"""Most characters of a source line that are shown; the part around the place is kept."""

_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLORS: Final = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m"}

# What stands behind such a key may be a secret, and diagnostics end up in logs.
_SECRET: Final = re.compile(
    r"((?<![\w-])(?=[\w-]*(?:key|token|secret|password|credential))[\w-]++[\"']?\s*:\s+)\S.*", re.IGNORECASE
)
# So may be what stands in an address before its host, and behind its path.
_SCHEME: Final = r"[a-z][a-z0-9+.-]{0,20}://"
_ADDRESS: Final = re.compile(
    rf"""((?:(?:url|uri|endpoint|host|address)["']?\s*:\s+["']?(?:{_SCHEME})?|{_SCHEME}))([^\s"'<>]+)""", re.IGNORECASE
)
_QUERY: Final = re.compile(r"""([?&][\w.-]+=)([^\s"'<>&]+)""")
_LOOK_BACK: Final = 4096


def render(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], color: bool) -> str:
    """The diagnostics as text, in the order of their places, each once and without a final newline.

    `sources` maps the names of files to their text; a diagnostic about another file is shown without its line.
    """
    lines = {name: _lines(text) for name, text in sources.items()}
    ordered = sorted(dict.fromkeys(diagnostics), key=lambda found: (found.span, found.message))
    return "\n".join(_rendered(found, lines.get(found.span.file, []), color) for found in ordered)


def as_json(diagnostic: Diagnostic) -> dict[str, str | int]:
    """The diagnostic as a flat JSON object: severity, code, message, hint, file, line and column."""
    return {
        "severity": diagnostic.severity.value,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "file": diagnostic.span.file,
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
    }


def _rendered(found: Diagnostic, lines: list[str], color: bool) -> str:
    severity = _painted(f"{found.severity}:", _COLORS[found.severity], color)
    parts = [f"{_painted(visible(str(found.span)), _BOLD, color)}: {severity} {visible(found.message)}"]
    margin = " " * len(str(found.span.line))
    if found.span.line <= len(lines):
        before, after = _excerpt(lines[found.span.line - 1], found.span.column - 1)
        parts.append(f"{_painted(f' {found.span.line} |', _DIM, color)} {before}{after}".rstrip())
        caret = _painted("^", _COLORS[found.severity], color)
        parts.append(f"{_painted(f' {margin} |', _DIM, color)} {' ' * _width(before)}{caret}")
    if found.hint:
        parts.append(f"{_painted(f' {margin} =', _DIM, color)} {visible(found.hint)}")
    return "\n".join(parts)


def _excerpt(line: str, offset: int) -> tuple[str, str]:
    """What is shown of `line`, in two parts: up to `offset`, and from there on."""
    # A line may be megabytes long: what is far from the place isn't even looked at.
    first = max(0, offset - _LOOK_BACK)
    near = _without_addresses(line[first : offset + LINE_WIDTH])
    near = _SECRET.sub(r"\1***", near)
    offset = min(offset - first, len(near))
    start = max(0, min(offset - LINE_WIDTH // 2, len(near) - LINE_WIDTH))
    before = ("…" if first + start else "") + visible(near[start:offset])
    after = visible(near[offset : start + LINE_WIDTH]) + ("…" if start + LINE_WIDTH < len(near) else "")
    return before, after.rstrip()


def _without_addresses(text: str) -> str:
    """`text`, just as long, with asterisks for what may be secret in its addresses."""

    def masked(found: re.Match[str]) -> str:
        address = found[2]
        host = address.rfind("@") + 1 if address[0] != "@" else 0
        behind = min((at for at in (address.find("?"), address.find("#")) if at >= host), default=len(address))
        return f"{found[1]}{'*' * host}{address[host : behind + 1]}{'*' * len(address[behind + 1 :])}"

    return _QUERY.sub(lambda found: found[1] + "*" * len(found[2]), _ADDRESS.sub(masked, text))


def _lines(text: str) -> list[str]:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def _width(text: str) -> int:
    """How many columns a terminal needs for `text`."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def _painted(text: str, color: str, wanted: bool) -> str:
    return f"{color}{text}{_RESET}" if wanted else text
