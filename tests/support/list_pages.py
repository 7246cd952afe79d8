"""Asking a list for every page that there is, and knowing what each must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Final
from urllib.parse import urlencode

from tests.support.serving import Answer

Ask = Callable[[str], Answer]
"""Asks a list with that query, which begins with `?` or is empty."""

WRONG: Final = {
    "limit=0": "limit",
    "limit=-1": "limit",
    "limit=1.5": "limit",
    "limit=x": "limit",
    "limit=": "limit",
    "limit=1&limit=2": "limit",
    "limit=100000": "limit",
    "order=up": "order",
    "order=": "order",
    "order=asc&order=desc": "order",
    "after=": "after",
    "before=": "before",
}
"""Queries that every list refuses, and the parameter that the refusal names."""


def page_of(oldest_first: Sequence[str], query: dict[str, str], *, newest_first: bool) -> tuple[list[str], bool]:
    """What a page must hold of a list of these names, and whether there is more; `newest_first` is its own order."""
    order = query.get("order", "desc" if newest_first else "asc")
    names = [*oldest_first][:: 1 if order == "asc" else -1]
    low = names.index(query["after"]) + 1 if "after" in query else 0
    high = names.index(query["before"]) if "before" in query else len(names)
    names, limit = names[low : max(low, high)], int(query.get("limit", "100"))
    kept = names[-limit:] if "before" in query and "after" not in query else names[:limit]
    return kept, len(names) > limit


def check_pages(ask: Ask, oldest_first: Sequence[str], key: str = "id", *, newest_first: bool) -> None:
    """Every combination of parameters, over a list of exactly these names, gives the page that it must."""
    cursors = [None, *oldest_first]
    for after, before, order, limit in product(cursors, cursors, (None, "asc", "desc"), (None, "1", "2", "3")):
        given = {"after": after, "before": before, "order": order, "limit": limit}
        query = {name: value for name, value in given.items() if value is not None}
        answer = ask(f"?{urlencode(query)}" if query else "")
        assert answer.status == 200, (query, answer.body)
        shown = [str(each[key]) for each in answer.json["data"]], answer.json["has_more"]
        assert shown == page_of(oldest_first, query, newest_first=newest_first), query


def check_refusals(ask: Ask, known: str, unknown: str) -> None:
    """What is wrong with a parameter is a 400 that names it, and a cursor that is none is a 404."""
    for query, param in WRONG.items():
        answer = ask(f"?{query}")
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, "invalid_value"), query
    for query in ({"after": unknown}, {"before": unknown}, {"after": known, "before": unknown, "limit": "1"}):
        for order in ("asc", "desc"):
            answer = ask(f"?{urlencode(query | {'order': order})}")
            assert answer.status == 404, query
            assert unknown in answer.error["message"]
    answer = ask(f"?{urlencode({'after': unknown, 'before': known})}")
    assert answer.status == 404
