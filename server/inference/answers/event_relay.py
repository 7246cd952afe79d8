"""Relay of a provider's server-sent events: split into whole events, each given the shape that clients know."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from server.inference.answers.model_name import QUICK, ModelNaming
from server.inference.answers.plain import PLAIN_MOST, NotAnAnswer, ToldError, decoded, encoded
from server.inference.answers.same_form import SameForm
from server.inference.answers.shapes import AnswerShape
from server.inference.provider import DONE
from server.json_input.strict import Json

MAX_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one event; without a limit, one that never ends would fill the memory."""

_MOST_LINES: Final = 1000
"""Lines of one event; to split an event of millions of lines would block the event loop."""

_EACH: Final = 64
"""Bytes that each event counts for besides its own, since even an empty one takes time."""

_LONGEST_END: Final = 256
"""Bytes of an event without an end that may be the last one."""

_DATA: Final = b"data: "
_DONE: Final = b"[DONE]"
_END: Final = b"\n\n"
_PING: Final = b": ping\n\n"
_MARK: Final = b"\xef\xbb\xbf"


class EventRelay:
    """Takes bytes as they arrive, and returns the whole events among them, each shaped by `AnswerShape`.

    Each chunk is parsed, shaped and written again, but for those that `SameForm` passes on.

    Each `pass_on` does one or two milliseconds of work, and leaves the rest to the next call. `done` is set by the
    event `[DONE]`, `broken` by anything that is no chunk; then `told` is what the provider says, if that is an error.
    After either, call `take` no more. `begun` is true once a chunk has come, or the end.
    """

    def __init__(self, model_id: str, answer_id: str | None = None, shape: AnswerShape | None = None) -> None:
        self.done = False
        self.broken = False
        self.begun = False
        self.told: Json | None = None
        self._shape = AnswerShape(model_id, answer_id) if shape is None else shape
        self._form = SameForm()
        self._model_id = model_id
        self._held = bytearray()
        self._events: deque[bytes] = deque()
        self._after_return = False
        self._is_first = True

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
                same = self._form.pass_on(islice(events, -(-(QUICK - labour) // _EACH)), passed)
                if same:
                    labour += same * _EACH
                    for _ in range(same):
                        events.popleft()
                    continue
                # A heavy event is passed on in a call of its own.
                if labour and len(events[0]) > QUICK:
                    break
                event = events.popleft()
                labour += _EACH + len(event)
                self._pass(event, passed)
        except ToldError as error:
            self.broken, self.told = True, error.document
        except NotAnAnswer:
            self.broken = True
        if not events and len(self._held) > MAX_EVENT:
            self.broken = True
        return b"".join(passed)

    def finish(self) -> bytes:
        """Return the last event once the provider has closed its answer; some do not end their last line."""
        rest = bytes(self._held[:_LONGEST_END])
        try:
            is_end = len(rest) == len(self._held) and _payload(rest).startswith(_DONE)
        except NotAnAnswer:
            is_end = False
        if not is_end:
            return b""
        self.take(_END)
        return self.pass_on()

    def _pass(self, event: bytes, passed: list[bytes | memoryview]) -> None:
        if self._is_first:
            self._is_first = False
            event = event.removeprefix(_MARK)
        payload = _payload(event)
        if payload.startswith(_DONE):
            self._shape.end()
            self.done = self.begun = True
            passed.append(DONE)
        elif payload and len(payload) > PLAIN_MOST:
            passed += (_DATA, *ModelNaming(self._model_id, self._shape.identity).apply(payload), _END)
            self.begun = True
        elif payload:
            shaped = self._shape.chunk(decoded(payload))
            sent = encoded(shaped, payload)
            passed += (_DATA, sent, _END)
            self.begun = True
            if self._shape.differs_in_texts:
                self._form.learn(event, shaped, sent)
        elif event.startswith(b":"):
            passed.append(_PING)

    def _with_plain_ends(self, data: bytes) -> bytes:
        """Return `data` with `\\n` at the end of each line, in place of each of the three ends that a line may have."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _payload(event: bytes) -> bytes:
    """Return the data of an event; empty for a comment."""
    if event.startswith(_DATA) and b"\n" not in event:
        return event[len(_DATA) :].strip()
    if event.count(b"\n") > _MOST_LINES:
        raise NotAnAnswer
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    # Between the members of an object a blank is as good as the line's end, which would begin a field of the event.
    return b" ".join(lines).strip()
