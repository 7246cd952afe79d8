"""A grammar of HTTP requests that knows every part of one, and how each can be wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass
from json import dumps
from typing import Final

METHODS: Final = [
    "GET",
    "POST",
    "HEAD",
    "DELETE",
    "PUT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "get",
    "PROPFIND",
    "CONNECT",
    "G?",
    "",
]
WORDS: Final = [
    "v1",
    "V1",
    "models",
    "%6dodels",
    "llama",
    "secret",
    "echo",
    "llama3.2",
    "health",
    "version",
    "providers",
]
WORDS_TOO: Final = [
    "chat",
    "completions",
    "files",
    "prompts",
    "conversations",
    "metrics",
    "ready",
    "x",
    "%C3%A4",
    "a b",
    "",
]
ODD: Final = [
    "..",
    ".",
    "%2e%2E",
    "%2f",
    "%2F",
    "%252e",
    ";x",
    "?q=%00",
    "#f",
    "%",
    "%zz",
    "%00",
    "%c0%af",
    "\\",
    "\x01",
    "\xff",
]
KNOWN: Final = [
    "/v1/models",
    "/v1/models/llama",
    "/v1/models/echo%2Fllama3.2",
    "/v1/models/secret",
    "/v1/version",
    "/v1/%76ersion/",
    "/v1/providers/echo",
    "/v1/chat/completions",
    "/v1/files?limit=1",
    "/v1/prompts",
    "/v1/health",
]
WHOLE: Final = ["*", "", "http://evil/v1/models", "//evil/v1/models", "evil:443", "/", "///", "?x"]
VERSIONS: Final = ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", "HTTP/11", ""]
HEADERS: Final = [
    "Authorization: Bearer bad",
    "Authorization: Basic YTpi",
    "authorization: bearer alice",
    "Host: there",
    "Host: a b",
    "Connection: close",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAA==",
    "Expect: 100-continue",
    "X-HTTP-Method-Override: DELETE",
    "X-Original-URL: /v1/version",
    "X-Forwarded-For: 1.1.1.1",
    "X-Request-Id: of-the-client",
    "traceparent: 00-0-0-00",
    "Cookie: a=b",
    "X: folded\r\n line",
    "X : blank",
    ": nameless",
    "no colon",
    "X: a\x00b",
    "X: \xff\xfe",
    "X:",
    "Origin: null",
    "Content-Encoding: gzip",
    f"X: {'a' * 40_000}",
]
TYPES: Final = [
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "multipart/form-data; boundary=x",
    "",
    "{}",
]
CHAT: Final = {"model": "echo/llama3.2", "messages": [{"role": "user", "content": "hi"}]}
BODIES: Final = [
    dumps(CHAT).encode(),
    dumps({**CHAT, "model": "echo/secret"}).encode(),
    dumps({**CHAT, "stream": True}).encode(),
    dumps({**CHAT, "store": True}).encode(),
    b'{"model":"echo/llama3.2","model":"echo/secret","messages":[]}',
    b"[" * 500,
    b"{}",
    b"\xff",
    b"--x--\r\n",
    b"GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n",
]


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes, and what they are meant as; unless it is `complete`, the server may wait for more of it."""

    method: str
    target: str
    raw: bytes
    complete: bool


class Grammar:
    """A source of requests, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - chance, not secrets

    def request(self) -> Request:
        """One more; most parts of most requests are right, or nothing would get far."""
        pick = self._chance.choice
        method = pick(METHODS[:3]) if self._often(80) else pick(METHODS)
        target = self._target()
        version = "HTTP/1.1" if self._often(92) else pick(VERSIONS)
        headers = [*self._known(), *(pick(HEADERS) for _ in range(pick([0, 0, 0, 1, 1, 2])))]
        body = pick(BODIES) if method not in ("GET", "HEAD") or self._often(10) else b""
        framing, sent, complete = self._framed(body)
        headers += framing
        self._chance.shuffle(headers)
        end = "\r\n" if self._often(96) else pick(["\n", "\r", "\r\r\n"])
        head = end.join([f"{method} {target} {version}", *headers, "", ""]).encode("latin-1")
        if self._often(3):
            head, sent, complete = head[: self._chance.randrange(len(head))], b"", False
        return Request(method, target, head + sent, complete and end in ("\r\n", "\n"))

    def _often(self, percent: int) -> bool:
        return self._chance.randrange(100) < percent

    def _target(self) -> str:
        pick = self._chance.choice
        if self._often(50):
            return pick(KNOWN)
        if self._often(8):
            return pick(WHOLE)
        parts = [pick(WORDS + WORDS_TOO if self._often(85) else ODD) for _ in range(self._chance.randrange(6))]
        return ("/v1/" if self._often(60) else "/") + pick(["/", "/", "/", ""]).join(parts)

    def _known(self) -> list[str]:
        known = ["Host: here"] if self._often(95) else []
        known += ["Authorization: Bearer alice"] if self._often(80) else []
        return [*known, f"Content-Type: {TYPES[0] if self._often(80) else self._chance.choice(TYPES)}"]

    def _framed(self, body: bytes) -> tuple[list[str], bytes, bool]:
        """The headers that say where a body ends, the body as it is sent, and whether that is all of it."""
        size, chunked = len(body), ["Transfer-Encoding: chunked"]
        chunks = b"%x\r\n%b\r\n" % (size, body) if body else b""
        right = [f"Content-Length: {size}"], body, True
        if self._often(70):
            return right if body else ([], b"", True)
        return self._chance.choice(
            [
                right,
                (chunked, chunks + b"0\r\n\r\n", True),
                (chunked, chunks + b"0\r\nX-Trailer: a\r\n\r\n", True),
                (chunked, chunks + b"zz\r\n", True),
                (chunked, chunks, False),
                ([f"Content-Length: {size + 5}"], body, False),
                ([f"Content-Length: {max(0, size - 5)}"], body, True),
                ([f"Content-Length: {size}"] * 2, body, True),
                (["Content-Length: -1"], body, True),
                (["Content-Length: 99999999999999999999999"], body, True),
                (["Content-Length: 1e3"], body, True),
                (["Content-Length: 99999999"], body, False),
                ([f"Content-Length: {size}", *chunked], chunks + b"0\r\n\r\n", True),
                (["Transfer-Encoding: gzip, chunked"], chunks + b"0\r\n\r\n", True),
                (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], chunks + b"0\r\n\r\n", True),
                (["Transfer-Encoding: xchunked"], chunks, True),
            ]
        )
