"""Successful answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from json import dumps
from typing import Any, Final

from server.api.slices import JsonInPieces

_AT_A_TIME: Final = 256 * 1024
"""Bytes that are made before others have their turn."""


def answer(shown: dict[str, Any]) -> JsonInPieces:
    """`shown` as JSON."""
    return JsonInPieces([_json(shown)])


async def list_answer(frame: dict[str, Any], data: Iterable[dict[str, Any]]) -> JsonInPieces:
    """The list `frame` as JSON, with this `data` in it, which may be large: it is made while others are served."""
    return await list_of_texts(frame, map(_json, data))


async def list_of_texts(frame: dict[str, Any], data: Iterable[bytes]) -> JsonInPieces:
    """The same of `data` that is JSON already, or becomes it as it is iterated."""
    begin = {name: value for name, value in frame.items() if name != "data"} | {"data": []}
    pieces, size = [_json(begin).removesuffix(b"]}")], 0
    for each in data:
        pieces += (b"," if len(pieces) > 1 else b"", each)
        size += len(each)
        if size > _AT_A_TIME:
            size = 0
            await asyncio.sleep(0)
    return JsonInPieces([*pieces, b"]}"])


def _json(document: dict[str, Any]) -> bytes:
    return dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
