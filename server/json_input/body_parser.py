"""Parsers of bodies: the check, which may run in a worker process, and the typed value that handlers get.

The value crosses the process as JSON and bytes, so that nothing but plain data ever comes back. This module is imported
by worker processes too, so it imports the standard library and `server.json_input` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from server.json_input.strict import Document, Json

Value = TypeVar("Value")

BodyCheck = Callable[[Document], Json]
"""A function at the top of a module that imports the standard library and `server.json_input` alone.

It returns the members of a body that matter, as less than a megabyte of JSON, or raises InvalidJson. One of the members
may be bytes, which nothing has to parse.
"""

TextCheck = Callable[[bytes], Json]
"""As `BodyCheck`, for a text that is no one document: the function reads it itself."""


@dataclass(frozen=True, slots=True)
class BodyParser(Generic[Value]):
    """Reads one kind of body: `build` makes the value from the members that `check` returns, passed by name."""

    check: BodyCheck
    build: Callable[..., Value]

    def value(self, members: dict[str, Any]) -> Value:
        """Return the value of what `check` has returned."""
        return self.build(**members)
