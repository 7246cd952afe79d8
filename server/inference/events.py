"""A provider's server-sent events on their way to the caller: cut at their ends, renamed, and otherwise untouched."""

from __future__ import annotations

from json import dumps, loads
from typing import Final

DONE: Final = b"data: [DONE]\n\n"

MAX_EVENT: Final = 1024 * 1024
"""Bytes of one event, so that a provider that never ends one does not fill the memory."""


class BrokenStream(Exception):
    """The provider sent something other than chunks of a chat completion."""


class EventRelay:
    """Takes bytes as they arrive and gives back the whole events among them, with the canonical model name in each.

    Parsing a chunk costs more than passing it on. So the first one is parsed to see how the provider spells the member
    `model`; in those that spell it the same way, exactly once, it is replaced as text.
    """

    def __init__(self, model_id: str) -> None:
        self.done = False
        self._model_id = model_id
        self._rest = b""
        self._member: bytes | None = None
        self._renamed_member = b""

    def feed(self, data: bytes) -> bytes:
        """The events that `data` completes; nothing after `[DONE]`, which sets `done`. Raises BrokenStream."""
        buffer = self._rest + data
        if b"\r" in buffer:
            buffer = buffer.replace(b"\r\n", b"\n")
        *events, self._rest = buffer.split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise BrokenStream
        whole = []
        for event in events:
            payload = _payload(event)
            if payload == b"[DONE]":
                self.done = True
                whole.append(DONE)
                break
            if payload:
                whole.append(b"data: %b\n\n" % self._renamed(payload))
            elif event.startswith(b":"):
                whole.append(b": ping\n\n")
        return b"".join(whole)

    def _renamed(self, payload: bytes) -> bytes:
        member = self._member
        if member is not None and payload.count(member) == 1 and b'"error"' not in payload:
            return payload.replace(member, self._renamed_member)
        try:
            chunk = loads(payload)
        except (ValueError, RecursionError):
            raise BrokenStream from None
        # A provider's own error says too much and means too little; the caller gets one of ours.
        if type(chunk) is not dict or chunk.get("error") is not None:
            raise BrokenStream
        self._learn(payload, chunk.get("model"))
        chunk["model"] = self._model_id
        return dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()

    def _learn(self, payload: bytes, model: object) -> None:
        if type(model) is not str:
            return
        for colon in (":", ": "):
            member = f'"model"{colon}{dumps(model, ensure_ascii=False)}'.encode()
            if payload.count(member) == 1:
                self._member = member
                self._renamed_member = f'"model":{dumps(self._model_id, ensure_ascii=False)}'.encode()


def _payload(event: bytes) -> bytes:
    """The data of an event; empty for a comment."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
