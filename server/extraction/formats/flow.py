"""Text that is put together from elements, with the gaps between them."""

from __future__ import annotations

from typing import Final

WORD: Final = " "
CELL: Final = "\t"
LINE: Final = "\n"
PARAGRAPH: Final = "\n\n"

_WEIGHT: Final = {"": 0, WORD: 1, CELL: 2, LINE: 3, PARAGRAPH: 4}


class Flow:
    """Collects text. Of the gaps between two texts only the widest is shown, and none before the first one."""

    def __init__(self) -> None:
        self._parts = list[str]()
        self._gap = ""
        self._began = False

    def widen(self, gap: str) -> None:
        """Keep what comes apart from what was before, at least by this gap."""
        if _WEIGHT[gap] > _WEIGHT[self._gap]:
            self._gap = gap

    def show(self, text: str) -> None:
        """Add a text, which is not empty."""
        if self._gap and self._began:
            self._parts.append(self._gap)
        self._gap = ""
        self._began = True
        self._parts.append(text)

    def taken(self) -> str:
        """Return the text since the last call."""
        text = "".join(self._parts)
        self._parts.clear()
        return text
