"""Streams that end with the results of a moderation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from json import loads
from typing import Any, Final

from server.inference.provider import DONE, ChatRequest, ChatStream
from server.safety.hidden import whole_characters
from server.safety.refusals import chunk_with
from server.safety.texts import Unreadable, chunk_texts

MOST_COLLECTED: Final = 100_000
"""Characters of the texts of a stream that are kept for a moderation at its end."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_MEMBER: Final = b'"moderation"'

Telling = Callable[[Sequence[str] | None], Awaitable[dict[str, Any]]]
"""Returns the results for the texts of the answer; these are None if they were not collected, or can't be read."""


class ToldStream:
    """The events of a stream as they come, and before its end a chunk with what `telling` returns.

    The texts are given to it if it `collects`; sending does not wait for that.
    """

    def __init__(self, events: ChatStream, request: ChatRequest, telling: Telling, *, collects: bool) -> None:
        self._events = events
        self._request = request
        self._telling = telling
        self._texts: dict[str, list[str]] | None = {} if collects else None
        self._size = 0
        self._head: dict[str, Any] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the events."""
        async for piece in self._events:
            is_last = piece.endswith(DONE)
            events = piece[: -len(DONE)] if is_last else piece
            passed = b"".join(map(self._taken, events.split(_END)[:-1]))
            if is_last:
                moderation = await self._telling(self._collected())
                yield passed + chunk_with(self._request, self._head, moderation) + DONE
                return
            yield passed

    async def aclose(self) -> None:
        """End the provider's work."""
        await self._events.aclose()

    def _taken(self, event: bytes) -> bytes:
        """Return an event as it may go, with its texts taken; a provider's own results are left out."""
        if event.startswith(_DATA) and (self._texts is not None or not self._head or _MEMBER in event):
            chunk = loads(event[len(_DATA) :])
            if not self._head:
                self._head = {name: chunk[name] for name in ("id", "created", "model") if name in chunk}
            self._collect(chunk)
            if chunk.get("moderation") is not None:
                return chunk_with(self._request, {**chunk, "choices": chunk.get("choices") or []}, None)
        return event + _END

    def _collect(self, chunk: Any) -> None:
        if self._texts is None:
            return
        try:
            slots = chunk_texts(chunk)
        except Unreadable:
            self._texts = None
            return
        for slot in slots:
            self._texts.setdefault(slot.path, []).append(slot.text)
            self._size += len(slot.text)
        if self._size > MOST_COLLECTED:
            self._texts = None

    def _collected(self) -> list[str] | None:
        return None if self._texts is None else [whole_characters("".join(each)) for each in self._texts.values()]
