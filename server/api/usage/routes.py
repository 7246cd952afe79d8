"""`GET /v1/usage`: what requests to models have come to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid
from server.http.pagination import list_of, list_query, one_of_query
from server.http.request_state import gate_of
from server.http.responses import json_response
from server.storage.usage.days import day_number, day_text, first_day
from server.storage.usage.report import COLUMNS, KIND, Group, UsageQuery, UsageReports

MOST_LISTED: Final = 1_000
"""Groups on one page."""

_LISTED: Final = 100
_GROUPS: Final = ", ".join(f"`{name}`" for name in COLUMNS)
_MARK: Final = "::"


class UsageRoutes:
    """Shows each caller the usage of the principals that it may read."""

    def __init__(self, reports: UsageReports) -> None:
        self._reports = reports

    def routes(self) -> list[ApiRoute]:
        """Return the route of reports."""
        return [AskingRoute("/v1/usage", self.page, asks=[(Action.READ, KIND)], name="usage.list")]

    async def page(self, request: Request) -> Response:
        """Answer with a page of sums, by principal unless the query says otherwise."""
        query = _query(request)
        async with WhileConnected(request.receive):
            page = await self._reports.page(gate_of(request.scope), query)
        shown = [_shown(group, query.by) for group in page.groups]
        return json_response(list_of(shown, has_more=page.has_more) | {"since": day_text(query.first)})


def _query(request: Request) -> UsageQuery:
    """Read the query; raises the 400 that names the wrong parameter."""
    by = one_of_query(request, "group_by") or "principal"
    if by not in COLUMNS:
        raise invalid(f"`group_by` must be one of {_GROUPS}", "group_by", "invalid_value")
    # The last days are what is looked at most often; everything else is in the order of names.
    asked = list_query(request, default=_LISTED, most=MOST_LISTED, newest_first=by == "day")
    after, before = (_cursor(value, by, name) for name, value in (("after", asked.after), ("before", asked.before)))
    try:
        first = first_day(one_of_query(request, "since"))
    except ValueError as wrong:
        raise invalid(f"`since` {wrong}", "since", "invalid_value") from None
    return UsageQuery(by, first, asked.limit, asked.newest_first, after, before)


def _cursor(value: str | None, by: str, name: str) -> str | int | None:
    """Return the key in the id of a group, which need not be there any more."""
    if value is None:
        return None
    kind, mark, key = value.partition(_MARK)
    if kind == _kind(by) and mark and "\0" not in key:
        try:
            return day_number(key) if by == "day" else key
        except ValueError:
            pass
    raise _no_cursor(name, by)


def _no_cursor(name: str, by: str) -> ApiError:
    return invalid(f"`{name}` must be the `id` of an entry that is grouped by `{by}`", name, "invalid_value")


def _kind(by: str) -> str:
    """Return the beginning of the ids of groups; that of a principal is the name of the resource in rules."""
    return KIND if by == "principal" else by


def _shown(group: Group, by: str) -> dict[str, Any]:
    key = day_text(group.key) if isinstance(group.key, int) else group.key
    about: dict[str, Any] = {by: key or None}
    if by == "principal":
        about = {"principal": group.principal, "issuer": group.issuer}
    return {"id": f"{_kind(by)}{_MARK}{key}", "object": "usage", **about, **asdict(group.spent)}
