"""The answers of a server of tools with minimal cost, which `bench.upstream` gives at `/mcp`."""

from __future__ import annotations

import re
from json import dumps
from typing import Any, Final

QUICK: Final = "quick"
BULKY: Final = "bulky"
STALLED: Final = "stalled"
"""Tools: one that answers at once, one that answers with 3 MB, and one that never answers."""

MOST_TOOLS: Final = 200
"""Tools that the server lists besides."""

_ID: Final = re.compile(rb'"id": ?(\d+)')
_METHOD: Final = re.compile(rb'"method": ?"([a-z/_]+)"')
_SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {"text": {"type": "string"}}}
_BULK: Final = 3 * 1024 * 1024
_GREETING: Final = dumps(
    {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "bench", "version": "1"}}
).encode()
_NAMES: Final = (QUICK, BULKY, STALLED, *(f"other_{number}" for number in range(MOST_TOOLS)))
_LISTING: Final = dumps(
    {"tools": [{"name": name, "description": "does " * 20, "inputSchema": _SCHEMA} for name in _NAMES]}
).encode()


def _text(content: str) -> bytes:
    return dumps({"content": [{"type": "text", "text": content}]}).encode()


_RESULTS: Final = {QUICK: _text("done"), BULKY: _text("x" * _BULK)}


def tool_answer(request: bytes) -> bytes:
    """Return the answer to a request; nothing for one that gets none."""
    identity, method = _ID.search(request), _METHOD.search(request)
    if identity is None or method is None:
        return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
    if method[1] == b"initialize":
        result = _GREETING
    elif method[1] == b"tools/list":
        result = _LISTING
    elif f'"{STALLED}"'.encode() in request:
        return b""
    else:
        result = _RESULTS[BULKY if f'"{BULKY}"'.encode() in request else QUICK]
    body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identity[1], result)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
