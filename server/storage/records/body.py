"""Bodies of records: JSON texts, which leave the server as they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

SMALL: Final = 16 * 1024
"""Bytes of a text that may be parsed on the event loop, whatever it holds; that takes less than 3 ms."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Body(Mapping[str, Any]):
    """The text of a body, `size` bytes of JSON in UTF-8.

    A large text is left in the database until it is needed: then `is_here` is false, and `text` raises RuntimeError.
    `labels` is the JSON text of what lists can be narrowed by; None where the database has it.

    As a mapping, the body has the members of its JSON object. The first look at one parses the text, so that is for
    kinds of records whose bodies hold few values.
    """

    __slots__ = ("_members", "_text", "labels", "size")

    def __init__(self, text: bytes | None, size: int | None = None, labels: str | None = None) -> None:
        self._text = text
        self.labels = labels
        self._members: dict[str, Any] | None = None
        self.size = size if text is None and size is not None else len(text or b"")

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Body:
        """Return the body with these members, of which `metadata` are its labels; a body stays itself."""
        if isinstance(value, Body):
            return value
        return cls(encoded(value).encode(), labels=encoded(value.get("metadata") or {}))

    @property
    def is_here(self) -> bool:
        """Whether the text has been read."""
        return self._text is not None

    @property
    def text(self) -> bytes:
        """The text."""
        if self._text is None:
            raise RuntimeError("the body has not been read")
        return self._text

    def __getitem__(self, name: str) -> Any:
        """Return a member."""
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the members' names."""
        return iter(self._parsed)

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._parsed)

    def __repr__(self) -> str:
        """Return the size alone, since a body reaches no log."""
        return f"Body({self.size} bytes)"

    @property
    def _parsed(self) -> dict[str, Any]:
        if self._members is None:
            self._members = json.loads(self.text)
        return self._members


def encoded(value: Mapping[str, Any]) -> str:
    """Return the members as the text of an object."""
    return _ENCODER.encode(dict(value))
