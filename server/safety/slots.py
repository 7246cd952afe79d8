"""The texts of one document, each with its place, so that a masked one can be put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from server.safety.shield import Said


@dataclass(frozen=True, slots=True)
class Slot:
    """A text in a document: what holds it, under which key, and whether a model has made it, or a system or a tool.

    `path` is the same for the pieces of one text in the chunks of a stream.
    """

    holder: Any
    key: str | int
    by_model: bool = False
    path: str = ""
    is_source: bool = False

    @property
    def text(self) -> str:
        """The text."""
        text: str = self.holder[self.key]
        return text

    @property
    def said(self) -> Said:
        """The text with its speaker."""
        return Said(self.text, self.by_model, self.is_source)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a document: all that is `said`, the texts of `slots` last.

    Those before have no place of their own, such as names in schemas. `images` are not among the texts; the first one
    is at `image_place`.
    """

    document: Any
    slots: Sequence[Slot]
    said: list[Said]
    images: Sequence[Said] = ()
    image_place: str = ""

    def put_back(self, masked: Sequence[str]) -> bool:
        """Put masked texts into their places, in the order of `said`; return whether each has one."""
        count = len(self.said) - len(self.slots)
        if len(masked) != len(self.said) or any(
            text != said.text for text, said in zip(masked[:count], self.said, strict=False)
        ):
            return False
        for place, text in enumerate(masked[count:]):
            if text != self.said[count + place].text:
                slot = self.slots[place]
                slot.holder[slot.key] = text
                self.said[count + place] = slot.said
        return True

    def written(self) -> bytes:
        """Return the document as JSON."""
        return dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
