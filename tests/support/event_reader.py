"""A client that reads the events of a stream one after another, and leaves when it likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from json import dumps, loads
from typing import Any

from tests.support.patience import PATIENCE
from tests.support.serving import Address


@contextmanager
def opened(
    address: Address, method: str, target: str, body: Any = None, *headers: str, timeout: float = PATIENCE
) -> Iterator[Iterator[Any]]:
    """The events of a stream as they come; the client leaves at the end of the context."""
    connection = HTTPConnection(address.host, address.port, timeout=timeout)
    named = dict(header.split(": ", 1) for header in headers)
    text = None if body is None else dumps(body)
    connection.request(method, target, text, {"Content-Type": "application/json", **named})
    answer = connection.getresponse()
    try:
        assert answer.status == 200, answer.read()
        yield (loads(line[6:]) for line in answer if line.startswith(b"data: {"))
    finally:
        connection.close()
        answer.close()
