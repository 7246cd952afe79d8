"""Models whose texts go through shields: the input before the model is asked, the output before the caller gets it."""

from __future__ import annotations

from functools import partial

from server.inference.provider import ChatModel, ChatRequest, ChatStream, Pieces, Task
from server.inference.providers.relayed_stream import WholeStream
from server.safety import refusals
from server.safety.checks import Checks, Guard, Stopped
from server.safety.shield import Direction
from server.safety.streams import ShieldedStream
from server.safety.told_stream import ToldStream


class ShieldedChat:
    """Answers by `chat`, as far as the shields of `guard` let texts pass; without shields it is that model."""

    def __init__(self, chat: ChatModel, guard: Guard) -> None:
        self._chat = chat
        self._guard = guard

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer, or one that says what was stopped.

        Raises ShieldUnavailable, TextTooLong, NotRead and NoRoom, and TextStopped for a text that was to be embedded.
        """
        shields = self._guard.shields()
        if not shields:
            return await self._chat.complete(request)
        checks = Checks(self._guard, shields)
        given = await checks.given(request)
        if isinstance(given, Stopped):
            return [refusals.whole(request, given.message, checks.told)]
        answer = await self._chat.complete(given.request)
        if request.task is Task.EMBEDDING:
            return answer
        passed = await checks.made(given, b"".join(answer))
        if isinstance(passed, Stopped):
            return [refusals.whole(request, passed.message, checks.told)]
        return answer if passed is None else [passed]

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream, whose events are held back until their texts are checked."""
        shields = self._guard.shields()
        if not shields:
            return await self._chat.stream(request)
        checks = Checks(self._guard, shields)
        given = await checks.given(request)
        if isinstance(given, Stopped):
            return WholeStream([refusals.streamed(request, given.message, checks.told)])
        stream = await self._chat.stream(given.request)
        if not checks.only_tell(Direction.OUTPUT):
            stream = ShieldedStream(stream, request, given.said, checks)
        if checks.told is None:
            return stream
        telling = partial(checks.stream_told, given.said)
        return ToldStream(stream, request, telling, collects=checks.tells_only(Direction.OUTPUT))
