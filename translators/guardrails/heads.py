"""Places of guardrails: the lines of their heads, and the files with these places written in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final

from translators.codegen.text import string_literal
from translators.guardrails.lexing import code_alone

FOLDER: Final = "ostiary/guardrails"
"""The directory of the files in the bundle."""

_HEAD: Final = re.compile(r"(?<![\w.])deny(?=\s+contains\b)")


def lines_of_guardrails(text: str) -> list[int]:
    """Return the line of each guardrail of a file, counted from 1."""
    return [text.count("\n", 0, end) + 1 for end in _ends(text)]


def with_places(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], int]:
    """Return the files of the bundle in which each guardrail states its file and line, and the number of guardrails.

    Only the word `deny` of a head changes, to `deny["frozen.rego:8"]`: a denial names its place this way.
    """
    count = 0
    placed: dict[str, bytes] = {}
    for path, content in files.items():
        parts = list(_pieces(content.decode(), PurePath(path).name))
        placed[path] = "".join(parts).encode()
        count += len(parts) // 2
    return placed, count


def _pieces(text: str, name: str) -> Iterator[str]:
    start = 0
    for end in _ends(text):
        yield text[start:end]
        yield f"[{string_literal(f'{name}:{text.count(chr(10), 0, end) + 1}')}]"
        start = end
    yield text[start:]


def _ends(text: str) -> list[int]:
    return [found.end() for found in _HEAD.finditer(code_alone(text))]
