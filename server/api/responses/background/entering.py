"""Requests for responses in the background: such a response is stored at once, and answered later."""

from __future__ import annotations

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from server.api.models.model import Model
from server.api.responses.background.kept_request import kept_request
from server.api.responses.background.later import LaterResponses
from server.api.responses.background.replay import Replays
from server.api.responses.background.worker import Background
from server.api.responses.happenings import Queued
from server.api.responses.head import head_of
from server.api.responses.loop import step
from server.api.responses.making import Making
from server.api.responses.server_tools.tool import Opening
from server.api.responses.state import State
from server.fairness.caller import CURRENT, address_of
from server.http.responses import JsonInPieces
from server.inference.answers.plain import encoded
from server.storage.records.guarded import Creation

_NO_ITEM: Final = ("", 0)


class Entering:
    """Stores responses that are to be answered later, for callers who may ask for them now."""

    def __init__(self, making: Making, later: LaterResponses, background: Background, replays: Replays) -> None:
        self._making = making
        self._later = later
        self._background = background
        self._replays = replays

    async def check_room(self, creation: Creation) -> None:
        """Raise NoRoom where too many wait, of this caller or in all."""
        await self._later.queue.check_room(creation.permit.caller, address_of(CURRENT.get()))

    async def answer(self, request: Request, opening: Opening, model: Model, creation: Creation) -> Response:
        """Answer with the response that waits, or with its events from the first one on.

        Raises the ApiError for what may not be asked, StorageExceeded, and QuotaExceeded where no tokens are left.
        """
        body = opening.body
        asked = kept_request(body)
        opening.gate.check_tokens()
        await self._making.check(request, opening, model)
        head = {**head_of(opening.response_id, int(time.time()), body), "model": model.name}
        state, told = step(State(head, _NO_ITEM, body.names), Queued())
        shown = state.response()
        events = told if body.stream else None
        await self._later.enter(creation, shown, opening.context.items, asked, events)
        self._background.wake()
        if body.stream:
            return self._replays.of(opening.response_id, -1)
        return JsonInPieces([encoded(shown)])
