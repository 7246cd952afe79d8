"""Models as Anthropic's clients know them, and the part of a list that these ask for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from json import dumps

from starlette.requests import Request

from server.api.models.pages import AnyModel, Part
from server.http.pagination import list_query, one_of_query
from server.json_input.strict import Json


def part_of(request: Request, most: int) -> Part:
    """Return the part of the list that a query asks for; raises the 400 that names the wrong parameter."""
    limit = list_query(request, default=most, most=most).limit
    after, before = one_of_query(request, "after_id"), one_of_query(request, "before_id")
    return Part(limit, after, before, from_end=before is not None and after is None)


def frame_of(models: Sequence[AnyModel], *, has_more: bool) -> Json:
    """Return a list of models but for its `data`."""
    first, last = (models[0].name, models[-1].name) if models else (None, None)
    return {"data": [], "has_more": has_more, "first_id": first, "last_id": last}


def anthropic_model(model: AnyModel, created: int) -> bytes:
    """Return a model as JSON; `created` is in seconds since the epoch."""
    at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = {"type": "model", "id": model.name, "display_name": model.name, "created_at": at, "lifecycle": "active"}
    return dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()
