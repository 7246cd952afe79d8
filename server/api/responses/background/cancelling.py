"""`POST /v1/responses/{response_id}/cancel`: the end of a response in the background, at once and on any server."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.responses.background.later import LaterResponses
from server.api.responses.background.worker import Background
from server.api.responses.routes import RESPONSES
from server.api.responses.store import members_of, shown_response
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import invalid
from server.http.request_state import gate_of
from server.http.responses import JsonInPieces
from server.storage.database.database import Overtaken
from server.storage.records.guarded import Contended, NotFound
from server.storage.records.record import Record

_TRIES: Final = 20
"""Attempts; the worker of the response stores its events at the same time."""

_UNDER_WAY: Final = ("queued", "in_progress")


class CancelRoutes:
    """Cancels responses in the background for callers who may change them."""

    def __init__(self, later: LaterResponses, background: Background) -> None:
        self._later = later
        self._background = background

    def routes(self) -> list[ApiRoute]:
        """Return the route."""
        return [
            AskingRoute(
                "/v1/responses/{response_id}/cancel",
                self.cancel,
                methods=["POST"],
                asks=[(Action.UPDATE, RESPONSES), (Action.READ, RESPONSES)],
                name="responses.cancel",
                paid_before=True,
            )
        ]

    async def cancel(self, request: Request) -> Response:
        """Answer with the cancelled response; a second time, too."""
        gate, identity = gate_of(request.scope), request.path_params["response_id"]
        record = await self._later.responses.records.permit(gate, identity, Action.UPDATE)
        for _ in range(_TRIES):
            if _is_cancelled(record):
                break
            with suppress(Overtaken):
                await self._cancel(record)
            found = await self._later.find(identity)
            if found is None or found.ordering != record.ordering:
                raise NotFound(identity)
            record = found
        else:
            raise Contended
        self._background.lose(identity)
        output = await self._later.responses.output_of(record)
        return JsonInPieces(shown_response(record, [*output.shown(frozenset())]))

    async def _cancel(self, record: Record) -> None:
        """End the response; raises Overtaken where it has changed since it was read."""
        lease = await self._later.queue.find(record.id)
        if lease is None or lease.is_over:
            raise Overtaken
        await self._later.conclude(lease, record, "cancelled", None)


def _is_cancelled(record: Record) -> bool:
    """Return whether a response is cancelled; raises the 400 for one that can't be."""
    members = members_of(record)
    if not members["background"]:
        sentence = "only a response in the background can be cancelled; close the connection to end another one"
        raise invalid(sentence, "response_id", "response_not_in_background")
    if members["status"] not in (*_UNDER_WAY, "cancelled"):
        sentence = f"the response is over, its status is `{members['status']}`; there is nothing to cancel"
        raise invalid(sentence, "response_id", "response_over")
    return bool(members["status"] == "cancelled")
