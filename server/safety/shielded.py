"""Models whose texts go through shields: the input before the model is asked, the output before the caller gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from server.fairness.threads import in_thread
from server.inference.provider import ChatModel, ChatRequest, ChatStream, Pieces, Task
from server.inference.providers.relayed_stream import Told
from server.safety import refusals
from server.safety.running import ShieldUnavailable, TextTooLong, UsableShield
from server.safety.shield import SAFE, Direction, Said, Verdict, answer_in
from server.safety.streams import ShieldedStream
from server.safety.texts import Texts, Unreadable, answer_texts, request_texts

MOST_BYTES: Final = 1024 * 1024
"""Bytes of a request whose texts go through shields, and of an answer that is not streamed."""

USUAL_MESSAGE: Final = "a shield has stopped this text"
"""The sentence for callers of a shield whose params have none."""

_QUICK: Final = 32 * 1024


class TextStopped(Exception):
    """Raised for a text that a shield flags where no answer can say so; the message is a sentence for the caller."""


class NotRead(Exception):
    """Raised for a request with something that no shield reads, such as an image; `param` is its place."""

    def __init__(self, param: str) -> None:
        super().__init__(f"`{param}` holds something that no shield reads, and this request needs its texts checked")
        self.param = param


class Guard(Protocol):
    """The shields of one request."""

    def shields(self) -> Sequence[UsableShield]:
        """Return the shields that decisions so far require, and those that the request asks for.

        Raises ShieldUnavailable for one that is gone.
        """
        ...

    async def note(self, shield: str, direction: Direction, verdict: Verdict, characters: int) -> None:
        """Write down a verdict on so many characters; raises ShieldUnavailable where that can't be done."""
        ...


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
            return [refusals.whole(request, given.message)]
        answer = await self._chat.complete(given.request)
        if request.task is Task.EMBEDDING:
            return answer
        passed = await checks.made(given, b"".join(answer))
        if isinstance(passed, Stopped):
            return [refusals.whole(request, passed.message)]
        return answer if passed is None else [passed]

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream, whose events are held back until their texts are checked."""
        shields = self._guard.shields()
        if not shields:
            return await self._chat.stream(request)
        checks = Checks(self._guard, shields)
        given = await checks.given(request)
        if isinstance(given, Stopped):
            return Told([refusals.streamed(request, given.message)])
        return ShieldedStream(await self._chat.stream(given.request), request, given.said, checks)


@dataclass(frozen=True, slots=True)
class Stopped:
    """A text that a shield has flagged, and the sentence for the caller."""

    message: str


@dataclass(frozen=True, slots=True)
class Given:
    """A request that may go to the model, and its texts."""

    request: ChatRequest
    said: Sequence[Said]


class Checks:
    """The checks of one request by its shields, one after the other; each gets what the one before has masked."""

    def __init__(self, guard: Guard, shields: Sequence[UsableShield]) -> None:
        self._guard = guard
        self._shields = shields

    async def given(self, request: ChatRequest) -> Given | Stopped:
        """Return the request as it may go to the model; raises as `ShieldedChat.complete`."""
        if request.attached is not None:
            raise NotRead("messages")
        if len(request.payload) > MOST_BYTES:
            raise TextTooLong(f"a request whose texts are checked has at most {MOST_BYTES} bytes")
        try:
            texts = await _read(request_texts, request.payload, request.task)
        except Unreadable as unread:
            raise NotRead(unread.param) from None
        stopped, masked = await self._through(texts, [], Direction.INPUT)
        if stopped is not None:
            if request.task is Task.EMBEDDING:
                raise TextStopped(stopped.message)
            return stopped
        if not masked:
            return Given(request, texts.said)
        # What is asked where a provider can't tell usage would have the texts as they came.
        return Given(replace(request, payload=texts.written(), unasked=None), texts.said)

    async def made(self, given: Given, answer: bytes) -> bytes | Stopped | None:
        """Return an answer as the caller may have it; None for the same bytes."""
        if len(answer) > MOST_BYTES:
            raise ShieldUnavailable(f"the answer has more than {MOST_BYTES} bytes, so that it can't be checked")
        try:
            texts = await _read(answer_texts, answer)
        except Unreadable:
            raise ShieldUnavailable("the answer holds something that no shield reads, so it is not sent") from None
        stopped, masked = await self._through(texts, given.said, Direction.OUTPUT)
        if stopped is not None:
            return stopped
        if not masked:
            return None
        for choice in texts.document.get("choices", ()):
            choice["logprobs"] = None  # they have the tokens of the text
        return texts.written()

    async def window(self, before: Sequence[Said], texts: Sequence[str]) -> str | None:
        """Return the sentence for a caller whose stream is stopped at these texts; None if they may pass.

        What would be masked is stopped: a part of it may be on its way.
        """
        said = [*before, *(Said(text, by_model=True) for text in texts)]
        for shield in self._shields:
            found = await shield.running.check(said, Direction.OUTPUT, shield.judges)
            if found.flagged or found.masked is not None:
                verdict = replace(found, flagged=True, masked=None)
                await self._guard.note(shield.running.identity, Direction.OUTPUT, verdict, sum(map(len, texts)))
                return shield.running.message or USUAL_MESSAGE
        return None

    async def passed(self, characters: int) -> None:
        """Write down that so many characters of a stream have passed."""
        for shield in self._shields:
            await self._guard.note(shield.running.identity, Direction.OUTPUT, SAFE, characters)

    async def _through(self, texts: Texts, before: Sequence[Said], direction: Direction) -> tuple[Stopped | None, bool]:
        """Return what stops the texts, if anything does, and whether some of them are masked now."""
        masked = False
        for shield in self._shields:
            verdict = await self._verdict(shield, [*before, *texts.said], direction)
            stops = verdict.flagged
            if verdict.masked is not None:
                masked = True
                stops = stops or not texts.put_back(verdict.masked[len(before) :])
            if stops:
                return Stopped(shield.running.message or USUAL_MESSAGE), masked
        return None, masked

    async def _verdict(self, shield: UsableShield, said: Sequence[Said], direction: Direction) -> Verdict:
        verdict = await shield.running.check(said, direction, shield.judges)
        looked_at = said if direction is Direction.INPUT else answer_in(said)
        characters = sum(len(each.text) for each in looked_at)
        await self._guard.note(shield.running.identity, direction, verdict, characters)
        return verdict


async def _read(read: Callable[..., Texts], text: bytes, *more: Task) -> Texts:
    return read(text, *more) if len(text) <= _QUICK else await in_thread(read, text, *more)
