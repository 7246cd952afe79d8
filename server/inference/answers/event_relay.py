"""Relay of a provider's server-sent events: split into whole events, renamed, and otherwise unchanged."""

from __future__ import annotations

from collections import deque
from typing import Final

from server.inference.answers.model_name import QUICK, SMALL, ModelNaming, NotAnAnswer, disguises
from server.inference.provider import DONE

MAX_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one event; without a limit, one that never ends would fill the memory."""

_MOST_LINES: Final = 1000
"""Lines of one event; to split an event of millions of lines would block the event loop."""

_EACH: Final = 64
"""Bytes that each event counts for besides its own, since even an empty one takes time."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_PING: Final = b": ping\n\n"
_MARK: Final = b"\xef\xbb\xbf"


class EventRelay:
    """Takes bytes as they arrive, and returns the whole events among them, each renamed by `ModelNaming`.

    To parse a chunk costs more than to pass it on, and the chunks of one answer usually differ in their choices alone.
    So a chunk is parsed only if its form differs from that of the last parsed one, or if it may hold an error.

    Each `pass_on` does one or two milliseconds of work, and leaves the rest to the next call. `done` is set by the
    event `[DONE]`, `broken` by anything that is no chunk; after either, call `take` no more.
    """

    def __init__(self, model_id: str, answer_id: str | None = None) -> None:
        self.done = False
        self.broken = False
        self._renaming = ModelNaming(model_id, answer_id)
        self._held = bytearray()
        self._events: deque[bytes] = deque()
        self._after_return = False
        self._begun = False
        # What a chunk begins and ends with, and what it is to begin and end with instead.
        self._form: tuple[bytes, bytes, bytes, bytes] | None = None

    @property
    def has_more(self) -> bool:
        """True while there are whole events that are not passed on yet."""
        return bool(self._events)

    @property
    def is_heavy(self) -> bool:
        """True if the next event is so large that it needs a thread."""
        return bool(self._events) and len(self._events[0]) > QUICK

    def take(self, data: bytes) -> None:
        """Take the bytes `data` that the provider has sent."""
        if self._after_return or b"\r" in data:
            data = self._with_plain_ends(data)
        held = self._held
        if held:
            # What is held is not looked at again and again: if an event ends, it does so in `data`.
            if held.endswith(b"\n") and data.startswith(b"\n"):
                del held[-1:]
                data = data[1:]
            else:
                end = data.find(_END)
                if end < 0:
                    held += data
                    return
                held += data[:end]
                data = data[end + len(_END) :]
            self._events.append(bytes(held))
            held.clear()
        *events, rest = data.split(_END)
        self._events += events
        held += rest

    def pass_on(self) -> bytes:
        """Return the next whole events, up to the one that ends the stream."""
        passed: list[bytes | memoryview] = []
        events, labour = self._events, 0
        try:
            while events and labour < QUICK and not self.done:
                # A heavy event is passed on in a call of its own.
                if len(events[0]) > QUICK and (passed or labour):
                    break
                event = events.popleft()
                if self._form is not None:
                    begin, end, new_begin, new_end = self._form
                    if event.startswith(begin) and event.endswith(end):
                        middle = event[len(begin) : -len(end)]
                        if not _may_differ(middle):
                            passed += (new_begin, middle, new_end)
                            continue
                labour += _EACH + len(event)
                self._pass(event, passed)
        except NotAnAnswer:
            self.broken = True
        if not events and len(self._held) > MAX_EVENT:
            self.broken = True
        return b"".join(passed)

    def finish(self) -> bytes:
        """Return the last event once the provider has closed its answer; some do not end their last line."""
        if bytes(self._held[:32]).rstrip() != DONE.rstrip():
            return b""
        self.take(_END)
        return self.pass_on()

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
        form = self._renaming.form(payload) if len(payload) <= SMALL else None
        if form is not None:
            begin, end, new_begin, new_end = form
            self._form = _DATA + begin, end, _DATA + new_begin, new_end + _END

    def _with_plain_ends(self, data: bytes) -> bytes:
        """Return `data` with `\\n` at the end of each line, in place of each of the three ends that a line may have."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _may_differ(middle: bytes) -> bool:
    """Return whether the bytes between the two ends of a form may hold more than choices."""
    return b'"model"' in middle or b'"error"' in middle or b"\n" in middle or disguises(middle)


def _payload(event: bytes) -> bytes:
    """Return the data of an event; empty for a comment."""
    if event.startswith(_DATA) and b"\n" not in event:
        return event[len(_DATA) :]
    if event.count(b"\n") > _MOST_LINES:
        raise NotAnAnswer
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    # Between the members of an object a blank is as good as the line's end, which would begin a field of the event.
    return b" ".join(lines)
