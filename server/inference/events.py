"""A provider's server-sent events on their way to the caller: cut at their ends, renamed, and otherwise untouched."""

from __future__ import annotations

from typing import Final

from server.inference.provider import DONE
from server.inference.renaming import SMALL, NotAnAnswer, Renaming

MAX_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one event, so that a provider that never ends one does not fill the memory."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_PING: Final = b": ping\n\n"
_MARK: Final = b"\xef\xbb\xbf"


class EventRelay:
    """Takes bytes as they arrive and gives back the whole events among them, each named as `Renaming` does it.

    Parsing a chunk costs more than passing it on, and the chunks of one answer differ in their choices alone. So a
    chunk is parsed if it is not of the form of the one that was parsed last, or may hold an error.

    `done` is set by the event `[DONE]`, `broken` by anything that is no chunk; after either, nothing more is to be fed.
    """

    def __init__(self, model_id: str, answer_id: str | None = None) -> None:
        self.done = False
        self.broken = False
        self._renaming = Renaming(model_id, answer_id)
        self._held = bytearray()
        self._after_return = False
        self._begun = False
        # What a chunk begins and ends with, and what it is to begin and end with instead.
        self._form: tuple[bytes, bytes, bytes, bytes] | None = None

    @property
    def is_heavy(self) -> bool:
        """The event that has begun is so large that what is fed next had better be fed in a thread."""
        return len(self._held) > SMALL

    def feed(self, data: bytes) -> bytes:
        """The events that `data` completes, up to the one that ends the stream."""
        passed: list[bytes | memoryview] = []
        try:
            for event in self._cut(data):
                if self._form is not None:
                    begin, end, new_begin, new_end = self._form
                    if event.startswith(begin) and event.endswith(end):
                        middle = event[len(begin) : -len(end)]
                        if b'"model"' not in middle and b'"error"' not in middle and b"\n" not in middle:
                            passed += (new_begin, middle, new_end)
                            continue
                self._pass(event, passed)
                if self.done:
                    break
        except NotAnAnswer:
            self.broken = True
        return b"".join(passed)

    def finish(self) -> bytes:
        """What is left when the provider has closed its answer: some don't end their last line."""
        return self.feed(_END) if bytes(self._held[:32]).rstrip() == DONE.rstrip() else b""

    def _pass(self, event: bytes, passed: list[bytes | memoryview]) -> None:
        if not self._begun:
            self._begun = True
            event = event.removeprefix(_MARK)
        payload = _payload(event)
        if payload.rstrip() == b"[DONE]":
            self.done = True
            passed.append(DONE)
        elif payload:
            passed += (_DATA, *self._renaming.apply(payload), _END)
            self._learn(payload)
        elif event.startswith(b":"):
            passed.append(_PING)

    def _learn(self, payload: bytes) -> None:
        form = self._renaming.form(payload)
        if form is not None:
            begin, end, new_begin, new_end = form
            self._form = _DATA + begin, end, _DATA + new_begin, new_end + _END

    def _cut(self, data: bytes) -> list[bytes]:
        """The events that end in `data`, without their ends; what has begun is held back."""
        if self._after_return or b"\r" in data:
            data = self._with_plain_ends(data)
        held = self._held
        if held:
            ends = _END in data or (held.endswith(b"\n") and data.startswith(b"\n"))
            held += data
            if not ends:
                # What is held is not looked at again and again.
                self.broken = len(held) > MAX_EVENT
                return []
            data = bytes(held)
            held.clear()
        *events, rest = data.split(_END)
        if rest:
            held += rest
            self.broken = len(held) > MAX_EVENT
        return events

    def _with_plain_ends(self, data: bytes) -> bytes:
        """`data` with `\\n` at the end of each line, whichever of the three ends a line may have it has."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _payload(event: bytes) -> bytes:
    """The data of an event; empty for a comment."""
    if event.startswith(_DATA) and b"\n" not in event:
        return event[len(_DATA) :]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
