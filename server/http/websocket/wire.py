"""The way out of a WebSocket: whole frames in their order, as fast as the client reads them."""

from __future__ import annotations

import asyncio
from typing import Final

from server.http.responses import SLICE
from server.http.websocket.frames import OUT, text_head

STALLED_SECONDS: Final = 30.0
"""Seconds for which a client may leave a full send buffer unread before its WebSocket is cut."""

CLOSE_SECONDS: Final = 2.0
"""Seconds that a client has to answer the frame that closes its WebSocket."""


class Wire:
    """Sends frames on a `transport`. While a long message goes out in slices, short frames wait for its end."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self._behind = bytearray()
        self._close_behind: bytearray | None = None
        self._is_sending = self._is_lost = False
        self._timer: asyncio.TimerHandle | None = None
        self.is_closing = False

    async def text(self, data: bytes) -> None:
        """Send a message; what goes to a client that has gone is dropped."""
        await self._writable.wait()
        if self.is_closing or self._is_lost:
            return
        self._is_sending = True
        try:
            self._transport.write(text_head(len(data)))
            for start in range(0, len(data), SLICE):
                await self._writable.wait()
                if self._is_lost:
                    return
                self._transport.write(data[start : start + SLICE])
        except BaseException:
            self._transport.abort()  # half a frame can't be followed by another
            raise
        finally:
            self._is_sending = False
            self._write_behind()

    def short(self, frame: bytearray) -> None:
        """Send a short frame, behind the one that is being sent."""
        if self.is_closing or self._is_lost:
            return
        self._behind += frame
        if not self._is_sending:
            self._write_behind()

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection, behind what is being sent; the client has a while to answer."""
        if self.is_closing:
            return
        self.is_closing = True
        self._close_behind = OUT.close(code, reason)
        if not self._is_sending:
            self._write_behind()

    def answer_close(self, code: int) -> None:
        """End the connection that the client has closed with this code, or of which it has answered the closing."""
        self.close(code)
        self._transport.close()

    @property
    def is_full(self) -> bool:
        """True while the client has to read before it may be sent more."""
        return not self._writable.is_set()

    def pause(self) -> None:
        """Wait for the client to read what is in the send buffer."""
        self._writable.clear()
        self._timer = self._timer or self._loop.call_later(STALLED_SECONDS, self._transport.abort)

    def resume(self) -> None:
        """Go on."""
        self._writable.set()
        if self._timer is not None and (not self.is_closing or self._is_sending):
            self._timer.cancel()
            self._timer = None

    def lose(self) -> None:
        """Drop whatever is still to be sent."""
        self._is_lost = True
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()

    def _write_behind(self) -> None:
        if self._is_lost:
            return
        if self._behind:
            self._transport.write(bytes(self._behind))
            self._behind.clear()
        if self._close_behind is not None:
            self._transport.write(self._close_behind)
            self._close_behind = None
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)
