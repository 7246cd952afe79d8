"""The checks of one request: of its texts by its shields, one after the other, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from server.fairness.shares import NoRoom
from server.fairness.threads import in_thread
from server.inference.provider import ChatRequest, Task
from server.safety.refusals import with_moderation
from server.safety.results import Results
from server.safety.running import NoVerdict, ShieldUnavailable, TextTooLong, UsableShield
from server.safety.shield import SAFE, UNCHECKED, Direction, Said, Verdict, answer_in
from server.safety.slots import Texts
from server.safety.texts import TooManyTexts, Unreadable, answer_texts, request_texts

MOST_BYTES: Final = 1024 * 1024
"""Bytes of a request whose texts go through shields, and of an answer that is not streamed."""

USUAL_MESSAGE: Final = "a shield has stopped this text"
"""The sentence for callers of a shield whose params have none."""

_QUICK: Final = 32 * 1024


class TextStopped(Exception):
    """Raised for a text that a shield flags where no answer can say so; the message is a sentence for the caller."""


class NotRead(Exception):
    """Raised for a request with something that one of its shields does not read, at the place `param`."""

    def __init__(self, param: str) -> None:
        super().__init__(f"`{param}` holds something that a shield of this request does not read, so it is not sent on")
        self.param = param


class Guard(Protocol):
    """The shields of one request."""

    def shields(self) -> Sequence[UsableShield]:
        """Return the shields that decisions so far require, and those that the request asks for.

        Raises ShieldUnavailable for one that is gone.
        """
        ...

    async def note(
        self, shield: str, direction: Direction, verdict: Verdict, characters: int, *, acts: bool = True
    ) -> None:
        """Write down a verdict on so many characters, which `acts` on them unless it is only told.

        Raises ShieldUnavailable where that can't be done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stopped:
    """A text that a shield has flagged, and the sentence for the caller."""

    message: str


@dataclass(frozen=True, slots=True)
class Given:
    """A request that may go to the model, and its texts."""

    request: ChatRequest
    said: Sequence[Said]


_CODES: Final = {TextTooLong: "text_too_long", NotRead: "not_checked"}


class Checks:
    """The checks of one request by its shields, one after the other; each gets what the one before has masked.

    One whose results are told may do no more than that. Then its failure stops nothing, and is told too.
    """

    def __init__(self, guard: Guard, shields: Sequence[UsableShield]) -> None:
        self._guard = guard
        self._shields = shields
        telling = next((shield for shield in shields if shield.tells), None)
        self._results = None if telling is None else Results(telling.running.identity)
        self._is_stopped = False
        self._unchecked: set[str] = set()

    @property
    def told(self) -> dict[str, Any] | None:
        """The results for the caller; None if it has not asked for any."""
        return None if self._results is None else self._results.told()

    def only_tell(self, direction: Direction) -> bool:
        """Return whether nothing may be stopped on this side."""
        return all(direction in shield.only_tells for shield in self._shields)

    def tells_only(self, direction: Direction) -> bool:
        """Return whether there is a shield that does no more than tell what it finds on this side."""
        return any(direction in shield.only_tells for shield in self._shields)

    async def given(self, request: ChatRequest) -> Given | Stopped:
        """Return the request as it may go to the model.

        Raises ShieldUnavailable, TextTooLong, NotRead and NoRoom, and TextStopped for a text that was to be embedded.
        """
        try:
            texts = await _texts_of(request)
        except (TextTooLong, NotRead) as fault:
            if not self.only_tell(Direction.INPUT):
                raise
            self._failed(Direction.INPUT, fault)
            return Given(request, [])
        if texts.images and not all(shield.running.reads_images for shield in self._acting(Direction.INPUT)):
            raise NotRead(texts.image_place)
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
        try:
            texts = await _read_answer(answer)
        except ShieldUnavailable as fault:
            if not self.only_tell(Direction.OUTPUT):
                raise
            self._failed(Direction.OUTPUT, fault)
            return self._with_results(answer)
        stopped, masked = await self._through(texts, given.said, Direction.OUTPUT)
        if stopped is not None:
            return stopped
        if not masked:
            return self._with_results(answer)
        for choice in texts.document.get("choices", ()):
            choice["logprobs"] = None  # they have the tokens of the text
        written = texts.written()
        return self._with_results(written) or written

    async def window(self, before: Sequence[Said], texts: Sequence[str]) -> str | None:
        """Return the sentence for a caller whose stream is stopped at these texts; None if they may pass.

        What would be masked is stopped: a part of it may be on its way.
        """
        said = [*before, *(Said(text, by_model=True) for text in texts)]
        for shield in self._acting(Direction.OUTPUT):
            found = await self._checked(shield, said, Direction.OUTPUT)
            if found is UNCHECKED:
                self._unchecked.add(shield.running.identity)
                continue
            verdict = replace(found, flagged=found.flagged or found.masked is not None, masked=None)
            if self._results is not None and shield.tells:
                self._results.found(Direction.OUTPUT, verdict)
            if verdict.flagged:
                await self._guard.note(shield.running.identity, Direction.OUTPUT, verdict, sum(map(len, texts)))
                self._is_stopped = True
                return shield.running.message or USUAL_MESSAGE
        return None

    async def passed(self, characters: int) -> None:
        """Write down that so many characters of a stream have passed."""
        for shield in self._acting(Direction.OUTPUT):
            name = shield.running.identity
            verdict = UNCHECKED if name in self._unchecked else SAFE
            await self._guard.note(name, Direction.OUTPUT, verdict, characters)

    async def stream_told(self, before: Sequence[Said], texts: Sequence[str] | None) -> dict[str, Any]:
        """Return the results for a stream whose texts are these; None if they are not known."""
        if self._results is None:
            raise RuntimeError("nothing is told of this request")
        for shield in self._shields:
            if Direction.OUTPUT in shield.only_tells and not self._is_stopped:
                if texts is None:
                    self._results.failed(Direction.OUTPUT, "not_checked", "the answer can't be checked as a whole")
                else:
                    said = [*before, *(Said(text, by_model=True) for text in texts)]
                    await self._tell(shield, said, Direction.OUTPUT)
        return self._results.told()

    def _acting(self, direction: Direction) -> Sequence[UsableShield]:
        return [shield for shield in self._shields if direction not in shield.only_tells]

    def _with_results(self, answer: bytes) -> bytes | None:
        return None if self._results is None else with_moderation(answer, self._results.told())

    def _failed(self, direction: Direction, fault: Exception) -> None:
        if self._results is not None:
            code = next((code for kind, code in _CODES.items() if isinstance(fault, kind)), "shield_unavailable")
            self._results.failed(direction, code, str(fault).partition(", so ")[0])

    async def _through(self, texts: Texts, before: Sequence[Said], direction: Direction) -> tuple[Stopped | None, bool]:
        """Return what stops the texts, if anything does, and whether some of them are masked now."""
        masked = False
        for shield in self._shields:
            said = [*before, *texts.said, *texts.images]
            if direction in shield.only_tells:
                if texts.images and not shield.running.reads_images:
                    self._failed(direction, NotRead(texts.image_place))
                else:
                    await self._tell(shield, said, direction)
                continue
            verdict = await self._verdict(shield, said, direction)
            stops = verdict.flagged
            if verdict.masked is not None:
                masked = True
                stops = stops or not texts.put_back(verdict.masked[len(before) :])
            if stops:
                return Stopped(shield.running.message or USUAL_MESSAGE), masked
        return None, masked

    async def _tell(self, shield: UsableShield, said: Sequence[Said], direction: Direction) -> None:
        """Let a shield find what it does no more than tell."""
        try:
            verdict = await shield.running.check(said, direction, shield.judges)
        except (ShieldUnavailable, TextTooLong, NoRoom) as fault:
            self._failed(direction, fault)
            return
        if self._results is not None:
            self._results.found(direction, verdict)
        await self._note(shield, said, direction, verdict)

    async def _verdict(self, shield: UsableShield, said: Sequence[Said], direction: Direction) -> Verdict:
        verdict = await self._checked(shield, said, direction)
        if self._results is not None and shield.tells and verdict is not UNCHECKED:
            self._results.found(direction, verdict)
        await self._note(shield, said, direction, verdict)
        return verdict

    async def _checked(self, shield: UsableShield, said: Sequence[Said], direction: Direction) -> Verdict:
        """Return the verdict of a shield, or UNCHECKED where it has failed and lets texts pass then."""
        try:
            return await shield.running.check(said, direction, shield.judges)
        except NoVerdict as fault:
            if shield.required or not shield.running.lets_pass:
                raise
            shield.running.passed_by(direction)
            if shield.tells:
                self._failed(direction, fault)
            return UNCHECKED

    async def _note(self, shield: UsableShield, said: Sequence[Said], direction: Direction, verdict: Verdict) -> None:
        looked_at = said if direction is Direction.INPUT else answer_in(said)
        characters = sum(len(each.text) for each in looked_at)
        acts = direction not in shield.only_tells
        await self._guard.note(shield.running.identity, direction, verdict, characters, acts=acts)


async def _texts_of(request: ChatRequest) -> Texts:
    if request.attached is not None:
        raise NotRead("messages")
    if len(request.payload) > MOST_BYTES:
        raise TextTooLong(f"a request whose texts are checked has at most {MOST_BYTES} bytes")
    try:
        return await _read(request_texts, request.payload, request.task)
    except TooManyTexts as many:
        raise TextTooLong(f"a request whose texts are checked has at most {many}") from None
    except Unreadable as unread:
        raise NotRead(unread.param) from None


async def _read_answer(answer: bytes) -> Texts:
    if len(answer) > MOST_BYTES:
        raise ShieldUnavailable(f"the answer has more than {MOST_BYTES} bytes, so that it can't be checked")
    try:
        return await _read(answer_texts, answer)
    except TooManyTexts as many:
        raise ShieldUnavailable(f"the answer has more than {many}, so that it can't be checked") from None
    except Unreadable:
        raise ShieldUnavailable("the answer holds something that no shield reads, so it is not sent") from None


async def _read(read: Callable[..., Texts], text: bytes, *more: Task) -> Texts:
    return read(text, *more) if len(text) <= _QUICK else await in_thread(read, text, *more)
