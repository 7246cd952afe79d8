"""Successful answers."""

from __future__ import annotations

from json import dumps
from typing import Any

from server.api.slices import JsonInPieces


def answer(shown: dict[str, Any]) -> JsonInPieces:
    """`shown` as JSON."""
    return JsonInPieces([dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()])
