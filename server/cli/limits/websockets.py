"""Limits of WebSockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.cli.limits.row import Limit
from server.http import json_body
from server.http.websocket import frames as socket_frames
from server.http.websocket import memory as socket_memory
from server.http.websocket import protocol as sockets
from server.http.websocket import wire as socket_wire

CONSTANTS: Final[dict[str, Any]] = {
    "json_body": json_body,
    "socket_frames": socket_frames,
    "socket_memory": socket_memory,
    "socket_wire": socket_wire,
    "sockets": sockets,
}
"""Modules by the names that rows give them."""

LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "a message on a WebSocket, its frames, the time to send it",
        "{json_body.MAX_BODY:bytes}, {socket_frames.MOST_FRAGMENTS}, {json_body.BODY_SECONDS:seconds}",
        "closed with 1009, 1008",
    ),
    Limit(
        "on a WebSocket: pings between two messages, and messages while a response is under way",
        "{sockets.MOST_CONTROLS}, {sockets.MOST_REFUSED}",
        "closed with 1008",
    ),
    Limit(
        "a WebSocket on which nothing is asked for; one of which nothing is heard",
        "{sockets.IDLE_SECONDS:seconds}; twice {sockets.LOOK_SECONDS:seconds}",
        "closed with 1001; cut",
    ),
    Limit(
        "a client that leaves its WebSocket unread, or does not answer its closing",
        "{socket_wire.STALLED_SECONDS:seconds}, {socket_wire.CLOSE_SECONDS:seconds}",
        "cut",
    ),
    Limit(
        "responses with `store: false` that one WebSocket remembers",
        "{socket_memory.MOST_REMEMBERED}, of {socket_memory.MOST_BYTES:bytes} together",
        "the oldest is forgotten",
    ),
)
"""Rows in the order of the page."""
