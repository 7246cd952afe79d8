"""The modest caller: one request at a time, with a pause after each, in a process of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Final

from bench.neighbours.messages import JSON

HEALTH: Final = "health"

_CODE: Final = re.compile(rb'"code": ?"([a-z_]+)"')
_PAUSE: Final = 0.005
_SECONDS: Final = 30.0
_CHAT: Final = b'{"model": "bench/fast", "messages": [{"role": "user", "content": "Say one word."}]}'


@dataclass(frozen=True, slots=True)
class Visit:
    """When to come where: `began` and `until` are times of `time.monotonic`."""

    port: int
    token: str
    conversation: str
    began: float
    until: float


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: its kind, when it was sent, its seconds, and the status; 0 where no answer came.

    `code` is that of an answer other than success.
    """

    kind: str
    at: float
    seconds: float
    status: int
    code: str = ""


def main(orders: Connection) -> None:
    """Make each visit that is ordered, and report its requests, until None is ordered."""
    while (visit := orders.recv()) is not None:
        orders.send([*_visited(visit)])


def _visited(visit: Visit) -> Iterator[Answered]:
    time.sleep(max(0.0, visit.began - time.monotonic()))
    connection = _connection(visit)
    headers = {"Authorization": f"Bearer {visit.token}", "Content-Type": JSON}
    for kind, method, path, body in cycle(_requests(visit.conversation)):
        at = time.monotonic()
        if at >= visit.until:
            break
        # A probe comes on a connection of its own and without a token.
        used = _connection(visit) if kind == HEALTH else connection
        status, code = _asked(used, method, path, body, {} if kind == HEALTH else headers)
        yield Answered(kind, at, time.monotonic() - at, status, code)
        if kind == HEALTH:
            used.close()
        time.sleep(_PAUSE)
    connection.close()


def _requests(conversation: str) -> list[tuple[str, str, str, bytes | None]]:
    one = f"/v1/conversations/{conversation}"
    return [
        ("get", "GET", one, None),
        (HEALTH, "GET", "/v1/health", None),
        ("list items", "GET", f"{one}/items", None),
        ("chat", "POST", "/v1/chat/completions", _CHAT),
        ("list files", "GET", "/v1/files?limit=20", None),
        ("create", "POST", "/v1/conversations", b"{}"),
    ]


def _connection(visit: Visit) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", visit.port, timeout=_SECONDS)


def _asked(
    connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, str]:
    """Return the status, and the code of an error; the connection is opened anew where it was closed."""
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException):
        connection.close()
        return 0, ""
    return answer.status, "" if answer.status == HTTPStatus.OK else _code(content)


def _code(content: bytes) -> str:
    found = _CODE.search(content)
    return found[1].decode() if found else ""
