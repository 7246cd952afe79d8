"""The answer to an offer to speak WebSocket."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Scope

from server.background.faults import log_fault
from server.fairness.caller import Caller
from server.fairness.shares import Turn
from server.http.cors import Cors
from server.http.error_table import error_of
from server.http.errors import ApiError, internal
from server.http.protocol_errors import protocol_error_response
from server.http.request_state import new_request_id
from server.http.websocket.shares import SocketShares
from server.http.websocket.turns import Entry

_log: Final = logging.getLogger("ostiary.edge")
_NO_ORIGIN: Final = ApiError(HTTPStatus.FORBIDDEN, "pages of this origin may not open a WebSocket here")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A connection that may be opened: its caller, and its part of the WebSockets of the process."""

    caller: Caller
    socket: Turn


async def admitted(app: ASGIApp, offered: Scope, cors: Cors | None, shares: SocketShares) -> Admitted | bytes:
    """Return the place of a connection that may be opened, or the whole answer that refuses it."""
    request_id = new_request_id()

    def refusal(error: ApiError) -> bytes:
        return protocol_error_response(error, request_id, cors, offered["headers"], bodiless=False)

    origins = [value.decode("latin-1") for name, value in offered["headers"] if name == b"origin"]
    if origins and (cors is None or len(origins) > 1 or not cors.allows(origins[0])):
        return refusal(_NO_ORIGIN)
    entry = Entry(asks_policy=True)
    try:
        await entry.ask(app, offered)
    except Exception as fault:  # noqa: BLE001 - whatever failed, the offer is refused
        log_fault(_log, f"{request_id}: a WebSocket could not be opened", fault)
    if entry.status == 0:
        return refusal(internal(request_id))
    if entry.status != HTTPStatus.NO_CONTENT:
        return entry.answer
    socket = shares.sockets.take_now(1, entry.caller)
    if socket is None:
        return refusal(error_of(shares.sockets.refusal(1, entry.caller), request_id))
    return Admitted(entry.caller, socket)
