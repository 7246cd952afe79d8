"""Requests as bytes, and a plain way to send one."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from json import dumps, loads
from typing import Any, Final

JSON: Final = "application/json"
BOUNDARY: Final = "a-boundary-of-the-bench"
FORM: Final = f"multipart/form-data; boundary={BOUNDARY}"

_SECONDS: Final = 60.0


class Unprepared(Exception):
    """Raised if the server refuses a request that makes what a scenario needs."""


def head(method: str, path: str, token: str = "", *headers: str) -> bytes:
    """Return a request without a body; `headers` are whole lines."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: */*"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join((*lines, *headers, "", "")).encode()


def request(method: str, path: str, token: str, body: bytes, kind: str = JSON) -> bytes:
    """Return a request with a body."""
    return head(method, path, token, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body


def post(path: str, token: str, body: Any) -> bytes:
    """Return a request whose body is `body` as JSON."""
    return request("POST", path, token, dumps(body).encode())


def chat(token: str, model: str = "fast", **more: Any) -> bytes:
    """Return a chat with a short question."""
    body = {"model": f"bench/{model}", "messages": [{"role": "user", "content": "Say one word."}], **more}
    return post("/v1/chat/completions", token, body)


def upload(token: str, content: bytes, purpose: str = "assistants") -> bytes:
    """Return an upload of a file."""
    return request("POST", "/v1/files", token, form(content, purpose), FORM)


def form(content: bytes, purpose: str = "assistants") -> bytes:
    """Return the body of an upload."""
    start = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="notes.txt"\r\n\r\n'
    )
    return start.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(port: int, wanted: bytes) -> dict[str, Any]:
    """Return the object that the server answers; raise Unprepared for a refusal."""
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
        connection.sendall(wanted)
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    if answer.status // 100 != 2:
        raise Unprepared(f"{wanted[:60]!r} was answered {answer.status} {body[:300]!r}")
    found: dict[str, Any] = loads(body)
    return found
