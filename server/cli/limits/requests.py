"""Limits of connections, requests and bodies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from server.cli.limits.row import CLOSED, COMES_AGAIN, Limit
from server.fairness import places
from server.http import edge, json_body, paced_reading, protocol
from server.json_input import reader, strict, worker
from server.process import connections

CONSTANTS: Final[dict[str, Any]] = {
    "connections": connections,
    "edge": edge,
    "json_body": json_body,
    "paced_reading": paced_reading,
    "places": places,
    "protocol": protocol,
    "reader": reader,
    "strict": strict,
    "sys": sys,
    "worker": worker,
}
"""Modules by the names that rows give them."""

REQUESTS: Final[Sequence[Limit]] = (
    Limit("path", "{edge.MAX_PATH:bytes}, as sent", "400"),
    Limit(
        "headers and query together",
        "{edge.MAX_HEADERS:bytes}, at most {protocol.MAX_HEADER_LINES} headers and {edge.MAX_PARAMETERS} parameters",
        "400",
    ),
    Limit("time for a request's head, and from connecting to the first one", "{protocol.HEAD_SECONDS:seconds}", CLOSED),
    Limit(
        "requests sent at once on one connection, ahead of their answers",
        "{protocol.MAX_PIPELINED}",
        f"{CLOSED} after the running answer",
    ),
    Limit(
        "connections",
        "{connections.MAX_CONNECTIONS} of one process, or half as many as it may have open files; of one address "
        "one of {connections.PART_OF_AN_ADDRESS} equal parts, unless it is a "
        "[trusted proxy](quotas.md#addresses-and-requests-at-the-same-time)",
        "the new connection is closed",
    ),
    Limit(
        "parts of what the connections of one address have read that are parsed in one turn of the event loop, and "
        "addresses; small requests are parsed as they come",
        "{paced_reading.PIECES} of {paced_reading.PIECE:bytes}, or as many as take {places.STEP_SECONDS:seconds}; "
        "{paced_reading.AT_ONCE}",
        "the rest waits for the next turn",
    ),
    Limit("a place of a request that waits for something else", "{places.LAPSE_SECONDS:seconds}", "it is free again"),
    Limit("JSON body", "{json_body.MAX_BODY:bytes}", "413"),
    Limit("time to send a body", "{json_body.BODY_SECONDS:seconds}", "408"),
)
"""Rows about connections, heads and bodies as they come in."""

BODIES: Final[Sequence[Limit]] = (
    Limit("arrays and objects inside each other", "{strict.MAX_DEPTH} levels", "400"),
    Limit("digits of a whole number", "{sys.int_info.default_max_str_digits}", "400"),
    Limit("memory to read a body", "{worker.MEMORY:bytes}", "413"),
    Limit("time to read a body", "{reader.READ_SECONDS:seconds}", COMES_AGAIN),
    Limit(
        "a body that goes on after its request was answered",
        "{protocol.MAX_UNREAD:bytes}, {protocol.UNREAD_SECONDS:seconds}",
        CLOSED,
    ),
    Limit(
        "bytes in a row that belong to nothing (extensions of chunks, trailers, empty lines)",
        "{protocol.MAX_FRAMING:bytes}",
        "400",
    ),
)
"""Rows about what a body holds, and about bytes that belong to no body."""

LARGE_AND_SLOW: Final[Sequence[Limit]] = (
    Limit(
        "bytes of large bodies of one caller in each of many workers, which divide its share by their number",
        "{reader.LEAST_INCOMING:bytes} at least",
        "429",
    ),
    Limit("a client that does not read its answer", "{protocol.STALL_SECONDS:seconds}", CLOSED),
)
"""Rows about large bodies and about slow clients."""
