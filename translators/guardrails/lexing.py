"""Lexing of Rego: code with literals and comments blanked, each character in its original place."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r'(?P<comment>#[^\n]*)|(?P<literal>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<template>\$["`])')
_IN_EXPRESSION: Final = re.compile(_TOKEN.pattern + r"|(?P<brace>[{}])")
_VISIBLE: Final = re.compile(r"[^\n]")


def without_comments(text: str) -> str:
    """Return `text` with a blank for each character of a comment, so that no annotation is left and nothing moves."""
    return _blanked(text, literals=False)


def code_alone(text: str) -> str:
    """Return `text` with a blank for each character of a comment or of a string of any kind."""
    return _blanked(text, literals=True)


def _blanked(text: str, *, literals: bool) -> str:
    parts: list[str] = []
    position = 0
    while found := _TOKEN.search(text, position):
        end = _template_end(text, found.end()) if found["template"] else found.end()
        hidden = literals or found["comment"] is not None
        parts += (
            text[position : found.start()],
            _blanks(text[found.start() : end]) if hidden else text[found.start() : end],
        )
        position = end
    return "".join([*parts, text[position:]])


def _blanks(text: str) -> str:
    return _VISIBLE.sub(" ", text)


def _template_end(text: str, start: int) -> int:
    """Return the end of a template string whose content begins at `start`; it may hold expressions in braces."""
    quote = text[start - 1]
    position = start
    while position < len(text):
        char = text[position]
        if char == "\\" and (quote == '"' or text[position + 1 : position + 2] == "{"):
            position += 2
        elif char == "{":
            position = _expression_end(text, position + 1)
        elif char == quote:
            return position + 1
        else:
            position += 1
    return len(text)


def _expression_end(text: str, start: int) -> int:
    depth, position = 1, start
    while found := _IN_EXPRESSION.search(text, position):
        position = _template_end(text, found.end()) if found["template"] else found.end()
        if found["brace"]:
            depth += 1 if found["brace"] == "{" else -1
            if depth == 0:
                return position
    return len(text)
