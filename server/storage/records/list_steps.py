"""The steps in which a list passes over records, and the bounds of one list."""

from __future__ import annotations

from typing import Final

from server.storage.records.record import Page
from server.storage.records.sql_filter import RowVerdict, SqlFilter
from server.storage.records.table import Window

MOST_PASSED: Final = 200_000
"""Records that one list passes over, permitted or not, before it is refused."""

MOST_ASKED: Final = 20_000
"""Records that one list asks the policy engine about, each by itself, before it is refused."""

LARGEST_WINDOW: Final = 1_000
"""Records that one statement of a list looks at."""

_SMALLEST_WINDOW: Final = 50
_FIRST_NARROWED: Final = 200
"""Records in the first window of a list by `purpose`, `model` or `metadata`, which leaves out some of the caller's."""

_MOST_POSITIONS: Final = 50_000
"""Positions that one statement takes from the index of owner attributes, where each of many values has enough."""


_FEWER: Final = "a smaller `limit`, or an `after` or `before` that is nearer to them, passes over fewer"


class ListTooLong(Exception):
    """Raised if a list passes over too many records; the message is a sentence for the caller, with `advice`."""

    def __init__(self, passed: int, advice: str = _FEWER) -> None:
        super().__init__(f"this list passed over {passed:,} records without finding enough for its page; {advice}")


class ListSteps:
    """The progress of one list: `window` is the number of records that its next statement looks at."""

    def __init__(self, permitted: SqlFilter, page: Page) -> None:
        values = sum(share.count for share in permitted.shares) if page.parent is None else 0
        self._largest = max(_SMALLEST_WINDOW, min(LARGEST_WINDOW, _MOST_POSITIONS // max(1, values)))
        narrowed = page.facet is not None or page.matching
        self.window = min(max(page.limit, _FIRST_NARROWED if narrowed else 0), self._largest)
        self._passed = 0
        self._asked = 0

    def go_on(self, window: Window) -> None:
        """Note a window that wasn't enough, and enlarge the next one; raise ListTooLong."""
        self._passed += window.passed
        self._asked += sum(verdict is RowVerdict.ASK for _, verdict in window.rows)
        if self._passed >= MOST_PASSED or self._asked >= MOST_ASKED:
            raise ListTooLong(self._passed)
        self.window = min(4 * self.window, self._largest)
