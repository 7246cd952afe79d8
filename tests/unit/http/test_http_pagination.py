"""The places on a page of a list whose length is known, by value."""

from __future__ import annotations

import pytest

from server.http.pagination import ListQuery, places_of

UPWARDS, DOWNWARDS = range(1, 8), range(7, 0, -1)


@pytest.mark.parametrize(
    ("places", "limit", "after", "before", "page", "has_more"),
    [
        (UPWARDS, 7, None, None, [1, 2, 3, 4, 5, 6, 7], False),
        (UPWARDS, 6, None, None, [1, 2, 3, 4, 5, 6], True),
        (UPWARDS, 3, 4, None, [5, 6, 7], False),
        (UPWARDS, 2, 4, None, [5, 6], True),
        (UPWARDS, 3, 7, None, [], False),
        (UPWARDS, 3, None, 4, [1, 2, 3], False),
        (UPWARDS, 2, None, 4, [2, 3], True),
        (UPWARDS, 3, None, 1, [], False),
        (UPWARDS, 3, 2, 6, [3, 4, 5], False),
        (UPWARDS, 2, 2, 6, [3, 4], True),
        (UPWARDS, 3, 6, 2, [], False),
        (UPWARDS, 3, 4, 4, [], False),
        (DOWNWARDS, 2, None, None, [7, 6], True),
        (DOWNWARDS, 2, 3, None, [2, 1], False),
        (DOWNWARDS, 2, None, 3, [5, 4], True),
        (DOWNWARDS, 4, None, 3, [7, 6, 5, 4], False),
        (DOWNWARDS, 2, 6, 2, [5, 4], True),
        (DOWNWARDS, 2, 2, 6, [], False),
        (range(0), 5, None, None, [], False),
    ],
)
def test_a_page_is_what_lies_between_its_cursors(
    places: range, limit: int, after: int | None, before: int | None, page: list[int], has_more: bool
) -> None:
    found, more = places_of(places, ListQuery(limit, places.step < 0, None, None), after, before)
    assert ([*found], more) == (page, has_more)
