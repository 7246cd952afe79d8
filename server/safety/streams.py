"""Streams that go through shields: events are held back until their texts, and a little behind these, are checked."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from json import loads
from typing import Any, Final, Protocol

from server.fairness.shares import NoRoom
from server.inference.answers.same_form import SameForm
from server.inference.provider import DONE, ChatRequest, ChatStream, Fault, Kind, ProviderFailed
from server.safety import refusals
from server.safety.hidden import unescaped, whole_characters
from server.safety.running import ShieldUnavailable, TextTooLong
from server.safety.shield import Said
from server.safety.texts import Unreadable, chunk_texts

WINDOW: Final = 400
"""Characters that are checked together, unless the stream ends before."""

TAIL: Final = 120
"""Characters that are held back although they are checked, so that what goes on behind them is found as a whole."""

CONTEXT: Final = 400
"""Characters in front of a window that are checked once more with it."""

MOST_HELD: Final = 2 * 1024 * 1024
"""Bytes of events that are held back."""

MOST_TEXTS: Final = 64
"""Texts of one stream: choices, reasoning, calls of tools."""

_LEARNED: Final = {"delta", "finish_reason"}
_DATA: Final = b"data: "
_END: Final = b"\n\n"


class Windows(Protocol):
    """Checks the texts of a stream, a window at a time; raises ShieldUnavailable, TextTooLong and NoRoom."""

    async def window(self, before: Sequence[Said], texts: Sequence[str]) -> str | None:
        """Return the sentence for a caller whose stream is stopped at these texts, behind what was said `before`; None
        if they may pass.
        """
        ...

    async def passed(self, characters: int) -> None:
        """Write down that so many characters have passed."""
        ...


class ShieldedStream:
    """The events of a stream as far as `windows` let their texts pass; one check at a time, and the provider waits."""

    def __init__(self, events: ChatStream, request: ChatRequest, before: Sequence[Said], windows: Windows) -> None:
        self._events = events
        self._request = request
        self._before = before
        self._windows = windows
        self._held: deque[tuple[bytes, int]] = deque()
        self._size = 0
        self._texts: dict[str, str] = {}
        self._fresh: set[str] = set()
        self._arrived = self._checked = 0
        self._head: dict[str, Any] = {}
        self._open: list[int] = []
        self._form, self._path = SameForm(), ""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield events whose texts have passed; the last ones say that it was stopped, if it was.

        Raises ProviderFailed, also where a shield has no verdict.
        """
        rest = b""
        async for piece in self._events:
            *events, rest = (rest + piece).split(_END)
            for event in events:
                if event + _END == DONE:
                    stopped = await self._looked(at_end=True)
                    yield b"".join([*self._released(0), DONE]) if stopped is None else stopped
                    return
                self._take(event + _END)
            if self._arrived - self._checked >= WINDOW:
                stopped = await self._looked()
                if stopped is not None:
                    await self._events.aclose()
                    yield stopped
                    return
            passed = b"".join(self._released(TAIL))
            if passed:
                yield passed

    async def aclose(self) -> None:
        """End the provider's work."""
        await self._events.aclose()

    def _take(self, event: bytes) -> None:
        """Hold an event back, and take note of its texts."""
        self._size += len(event)
        if self._size > MOST_HELD:
            raise _failed(f"more than {MOST_HELD} bytes of the stream wait to be checked")
        if event.startswith(_DATA):
            same: list[bytes | memoryview] = []
            if self._form.pass_on((event[: -len(_END)],), same):
                self._add(self._path, loads(b'"%b"' % bytes(same[1])))
            else:
                self._note(loads(event[len(_DATA) :]), event[: -len(_END)])
        self._held.append((event, self._arrived))

    def _note(self, chunk: Any, event: bytes) -> None:
        if not self._head:
            self._head = {name: chunk[name] for name in ("id", "created", "model") if name in chunk}
        for choice in chunk.get("choices") or ():
            place = choice.get("index", 0)
            if place not in self._open:
                self._open.append(place)
        try:
            slots = chunk_texts(chunk)
        except Unreadable:
            raise _failed("the stream holds something that no shield reads") from None
        for slot in slots:
            self._add(slot.path, slot.text)
        if len(slots) == 1 and slots[0].key == "content" and chunk["choices"][0].keys() >= _LEARNED:
            # Most chunks of a stream differ from it in this text alone.
            self._path = slots[0].path
            self._form.learn(event, chunk, event[len(_DATA) :])

    def _add(self, path: str, text: str) -> None:
        if path not in self._texts and len(self._texts) >= MOST_TEXTS:
            raise _failed(f"the stream has more than {MOST_TEXTS} texts")
        self._texts[path] = self._texts.get(path, "") + text
        self._fresh.add(path)
        self._arrived += len(text)

    async def _looked(self, *, at_end: bool = False) -> bytes | None:
        """Check what has come; return the last events if it is stopped there."""
        texts = [whole_characters(self._texts[path]) for path in self._texts if path in self._fresh]
        texts += [plain for plain in map(unescaped, texts) if plain is not None]
        try:
            message = await self._windows.window(self._before, texts) if texts else None
            if message is None and at_end:
                await self._windows.passed(self._arrived)
        except (ShieldUnavailable, TextTooLong, NoRoom) as failure:
            raise _failed(str(failure)) from None
        if message is not None:
            return refusals.ended(self._request, message, self._open or [0], self._head)
        self._checked = self._arrived
        # The next window begins with what is still held back, and some of what is gone.
        most = CONTEXT + TAIL * max(1, len(self._texts))
        self._texts = {path: text[-most:] for path, text in self._texts.items()}
        self._fresh.clear()
        return None

    def _released(self, tail: int) -> list[bytes]:
        """Return the events that may go; `tail` characters behind them are checked too, for each of the texts."""
        passed: list[bytes] = []
        least = self._checked - tail * max(1, len(self._texts))
        while self._held and self._held[0][1] <= least:
            event, _ = self._held.popleft()
            self._size -= len(event)
            passed.append(event)
        return passed


def _failed(sentence: str) -> ProviderFailed:
    return ProviderFailed(Fault.PROVIDER, sentence, code="shield_unavailable", spent=True, kind=Kind.BROKEN)
