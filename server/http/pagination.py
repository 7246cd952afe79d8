"""Lists of records: what the query asks for, and the page that answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.requests import Request

from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid
from server.http.request_state import gate_of
from server.storage.records.guarded import GuardedStore
from server.storage.records.permitted import MOST_PAGE_BYTES, RecordPage
from server.storage.records.record import Page, Record

Json = dict[str, Any]

_NUMBER: Final = re.compile("[0-9]{1,9}")
_ORDERS: Final = {"asc": False, "desc": True}


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The part of a list that a query asks for: at most `limit` records, between the ids `after` and `before`."""

    limit: int
    newest_first: bool
    after: str | None
    before: str | None

    @property
    def is_backwards(self) -> bool:
        """True if the page ends before `before`."""
        return self.before is not None and self.after is None


def list_query(request: Request, *, default: int = 20, most: int = 100, newest_first: bool = True) -> ListQuery:
    """Read the query of a list, whose default limit and order the arguments give.

    Raises the 400 that names the wrong parameter.
    """
    limit, order = one_of_query(request, "limit"), one_of_query(request, "order")
    if limit is not None and not (_NUMBER.fullmatch(limit) and 1 <= int(limit) <= most):
        raise invalid(f"`limit` must be a whole number from 1 to {most}", "limit", "invalid_value")
    if order is not None and order not in _ORDERS:
        raise invalid("`order` must be `asc` or `desc`", "order", "invalid_value")
    return ListQuery(
        default if limit is None else int(limit),
        newest_first if order is None else _ORDERS[order],
        one_of_query(request, "after"),
        one_of_query(request, "before"),
    )


def one_of_query(request: Request, name: str) -> str | None:
    """Return a parameter of the query; raises the 400 for one that comes twice or is empty."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise invalid(f"`{name}` comes twice in the query", name, "invalid_value")
    if values == [""]:
        raise invalid(f"`{name}` is empty; leave it out", name, "invalid_value")
    return values[0] if values else None


def included(request: Request, known: Iterable[str]) -> frozenset[str]:
    """Return the values of `include` and `include[]`, in any spelling of clients; raises the 400 for an unknown one."""
    values = [*request.query_params.getlist("include"), *request.query_params.getlist("include[]")]
    found = frozenset(part for value in values for part in value.split(","))
    if not found <= {*known}:
        raise invalid(f"`include` takes some of {', '.join(f'`{name}`' for name in known)}", "include", "invalid_value")
    return found


async def page_of(
    request: Request,
    store: GuardedStore,
    query: ListQuery,
    *,
    parent: str | None = None,
    facet: str | None = None,
    matching: tuple[tuple[str, str], ...] = (),
) -> RecordPage:
    """Return the page that the query asks for; raises NotFound for a cursor that is none that the caller may read.

    A list ends when its client has gone: ClientGone.
    """
    gate = gate_of(request.scope)
    after = None if query.after is None else await store.get(gate, query.after, parent, whole=False)
    before = None if query.before is None else await store.get(gate, query.before, parent, whole=False)
    page = Page(query.limit, after, before, query.newest_first, parent, facet, matching)
    async with WhileConnected(request.receive):
        return await store.page(gate, page)


def places_of(places: range, query: ListQuery, after: int | None, before: int | None) -> tuple[range, bool]:
    """Return those of all `places` of a list that are on the page between these two of them, and whether there are
    more.

    The places are in the order of the list, and both cursors are some of them.
    """
    if after is not None:
        places = places[places.index(after) + 1 :]
    if before is not None:
        places = places[: places.index(before) if before in places else 0]
    backwards = before is not None and after is None
    page = places[max(0, len(places) - query.limit) :] if backwards else places[: query.limit]
    return page, len(places) > query.limit


def list_of(shown: Sequence[Json], *, has_more: bool) -> Json:
    """Return a list as clients know it; each of `shown` has an `id`. The ids of an empty one are empty, since some
    clients refuse null.
    """
    return {
        "object": "list",
        "data": [*shown],
        "first_id": shown[0]["id"] if shown else "",
        "last_id": shown[-1]["id"] if shown else "",
        "has_more": has_more,
    }


def frame_of(page: RecordPage) -> Json:
    """Return a list of records as clients know it, but for its `data`."""
    ends = [{"id": record.id} for record in (*page.records[:1], *page.records[-1:])]
    return list_of(ends, has_more=page.has_more) | {"data": []}


Shown: TypeAlias = tuple[int, Callable[[], Awaitable[bytes]]]
"""The bytes of what is shown of a record, about, and what makes its text."""


async def fitting(
    page: RecordPage, read: Callable[[Record], Awaitable[Shown]], *, from_end: bool
) -> tuple[RecordPage, list[bytes]]:
    """Return the records of a page, each with the text that `read` tells how to make.

    Of those that don't fit into `MOST_PAGE_BYTES`, the last ones are left out, or with `from_end` the first ones.
    """
    kept, texts, total = list[Record](), list[bytes](), 0
    for record in page.records[:: -1 if from_end else 1]:
        size, text = await read(record)
        total += size
        if kept and total > MOST_PAGE_BYTES:
            break
        kept.append(record)
        texts.append(await text())
    if from_end:
        kept.reverse()
        texts.reverse()
    return RecordPage(tuple(kept), page.has_more or len(kept) < len(page.records)), texts


def missing_reference(param: str, identity: str) -> ApiError:
    """Return the 404 of a body's reference to a missing or unreadable record: the same bytes for both."""
    sentence = f"there is no `{identity}`, or you have no access to it"
    return ApiError(404, sentence, code="not_found", param=param)
