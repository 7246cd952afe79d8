"""A provider's server-sent events on their way to the caller: cut at their ends, renamed, and otherwise untouched."""

from __future__ import annotations

from json import dumps, loads
from typing import Final

DONE: Final = b"data: [DONE]\n\n"

MAX_EVENT: Final = 1024 * 1024
"""Bytes of one event, so that a provider that never ends one does not fill the memory."""


class _NoChunk(Exception):
    """The provider sent something other than a chunk of a chat completion."""


class EventRelay:
    """Takes bytes as they arrive and gives back the whole events among them, with the canonical model name in each.

    Parsing a chunk costs more than passing it on. So the first one is parsed to see how the provider spells the member
    `model`; in those that spell it the same way, exactly once, it is replaced as text.

    `done` is set by the event `[DONE]`, `broken` by anything that is no chunk; after either, nothing more is to be fed.
    """

    def __init__(self, model_id: str) -> None:
        self.done = False
        self.broken = False
        self._model_id = model_id
        self._held = [b""]
        self._size = 0
        self._member: bytes | None = None
        self._renamed_member = b""

    def feed(self, data: bytes) -> bytes:
        """The events that `data` completes, up to the one that ends the stream."""
        whole: list[bytes] = []
        try:
            for event in self._cut(data):
                whole.append(self._passed(event))
                if self.done:
                    break
        except _NoChunk:
            self.broken = True
        return b"".join(whole)

    def _passed(self, event: bytes) -> bytes:
        payload = _payload(event)
        if payload == b"[DONE]":
            self.done = True
            return DONE
        if payload:
            return b"data: %b\n\n" % self._renamed(payload)
        return b": ping\n\n" if event.startswith(b":") else b""

    def _cut(self, data: bytes) -> list[bytes]:
        """The events that end in `data`, without their ends; what has begun is held back."""
        self._held.append(data)
        self._size += len(data)
        events: list[bytes] = []
        # Without a line's end no event ends; what is held is not looked at again and again.
        if b"\n" in data:
            *events, rest = b"".join(self._held).replace(b"\r\n", b"\n").split(b"\n\n")
            self._held, self._size = [rest], len(rest)
        self.broken = self._size > MAX_EVENT
        return events

    def _renamed(self, payload: bytes) -> bytes:
        member = self._member
        if member is not None and payload.count(member) == 1 and b'"error"' not in payload:
            return payload.replace(member, self._renamed_member)
        try:
            chunk = loads(payload)
            # A provider's own error says too much and means too little; the caller gets one of ours.
            if type(chunk) is not dict or chunk.get("error") is not None:
                raise _NoChunk
            self._learn(payload, chunk.get("model"))
            chunk["model"] = self._model_id
            return dumps(chunk, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, RecursionError):
            raise _NoChunk from None

    def _learn(self, payload: bytes, model: object) -> None:
        if type(model) is not str:
            return
        for colon in (":", ": "):
            member = f'"model"{colon}{dumps(model, ensure_ascii=False)}'.encode()
            if payload.count(member) == 1:
                self._member = member
                self._renamed_member = f'"model":{dumps(self._model_id)}'.encode()


def _payload(event: bytes) -> bytes:
    """The data of an event; empty for a comment."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
