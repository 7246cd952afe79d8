"""Completions of several prompts by a provider that takes one in a request: it is asked for each, one after another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from json import loads
from typing import Any, Final, TypeVar

from server.inference.answers.plain import PLAIN_MOST, decoded, encoded
from server.inference.answers.usage import believed
from server.inference.provider import (
    DONE,
    ChatModel,
    ChatRequest,
    ChatStream,
    Counted,
    Fault,
    Kind,
    Pieces,
    ProviderFailed,
    Task,
    Wanted,
)
from server.json_input.strict import Json

MOST_BYTES: Final = PLAIN_MOST
"""Bytes of a request with several prompts that is taken apart, and of the answer to one of them, or a chunk of it."""

MOST_ANSWERED: Final = 16 * 1024 * 1024
"""Bytes of the answers to all prompts of one request."""

Answer = TypeVar("Answer")

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_COUNTED: Final = ("prompt_tokens", "completion_tokens", "total_tokens")


class OnePrompt:
    """Asks `model` for each prompt of a request, and makes one answer of the answers.

    The choices are numbered on, and the usage is added up; where one answer reports none, none is reported. A failure
    in the middle ends the whole, and what came before it is paid for.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        prompts = _prompts(request)
        if prompts is None:
            return await self._model.complete(request)
        answer: Json = {}
        choices, usage, size = list[Json](), _Usage(prompts.count), 0
        for number in range(prompts.count):
            text = b"".join(await prompts.ask(number, self._model.complete))
            size += len(text)
            if len(text) > MOST_BYTES or size > MOST_ANSWERED:
                raise _too_large()
            document = decoded(text)
            choices += prompts.numbered(document["choices"], number)
            usage.add(document.pop("usage", None))
            answer = answer or document
        return Counted([encoded({**answer, "choices": choices, **usage.told})], believed(usage.told.get("usage")))

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the streams of all prompts as one, once the provider has accepted the first."""
        prompts = _prompts(request)
        if prompts is None:
            return await self._model.stream(request)
        return _Streams(self._model, prompts, await prompts.ask(0, self._model.stream))


class _Streams:
    """The streams of several prompts, one behind the other."""

    def __init__(self, model: ChatModel, prompts: _Prompts, first: ChatStream) -> None:
        self._model = model
        self._prompts = prompts
        self._running = first
        self._head: Json = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        usage = _Usage(self._prompts.count)
        for number in range(self._prompts.count):
            if number:
                await self._running.aclose()
                self._running = await self._prompts.ask(number, self._model.stream)
            told: Any = None
            async for piece in self._running:
                for chunk in _chunks(piece):
                    told = chunk.get("usage") or told
                    shown = self._chunk(chunk, number)
                    if shown:
                        yield shown
            usage.add(told)
        if self._prompts.request.with_usage and usage.told:
            yield _event({**self._head, "choices": [], **usage.told})
        yield DONE

    async def aclose(self) -> None:
        """End the stream that is under way."""
        await self._running.aclose()

    def _chunk(self, chunk: Json, number: int) -> bytes:
        """Return a chunk under the names of the first one; nothing for one that tells of usage alone."""
        if not self._head:
            self._head = {name: chunk[name] for name in ("id", "object", "created", "model")}
        if not chunk["choices"]:
            return b""
        if "usage" in chunk:
            chunk["usage"] = None
        return _event({**chunk, **self._head, "choices": self._prompts.numbered(chunk["choices"], number)})


class _Usage:
    """The usage of `count` answers, added up; `told` is empty unless all of them report theirs."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._sums = dict.fromkeys(_COUNTED, 0)

    def add(self, usage: Any) -> None:
        given = usage if type(usage) is dict else {}
        if all(type(given.get(name)) is int for name in _COUNTED):
            self._left -= 1
            for name in _COUNTED:
                self._sums[name] += given[name]

    @property
    def told(self) -> Json:
        return {} if self._left else {"usage": self._sums}


@dataclass(frozen=True, slots=True)
class _Prompts:
    """A request with several prompts; `body` is its payload, and `each` the number of choices of a prompt."""

    request: ChatRequest
    body: Json
    each: int

    @property
    def count(self) -> int:
        return len(self.body["prompt"])

    async def ask(self, number: int, ask: Callable[[ChatRequest], Awaitable[Answer]]) -> Answer:
        """Return what is answered to the prompt of that number; what came before it is spent."""
        prompt, unasked = self.body["prompt"][number], self.request.unasked
        single = replace(
            self.request,
            payload=encoded({**self.body, "prompt": prompt}),
            wanted=Wanted(self.each),
            unasked=None if unasked is None else partial(_with_prompt, unasked, prompt),
        )
        try:
            return await ask(single)
        except ProviderFailed as failure:
            failure.spent = failure.spent or number > 0
            raise

    def numbered(self, choices: list[Json], number: int) -> list[Json]:
        """Return the choices of the prompt of that number, counted on from those of the others."""
        return [{**choice, "index": choice["index"] + number * self.each} for choice in choices]


def _prompts(request: ChatRequest) -> _Prompts | None:
    """Return the prompts of a request; None if it has one alone, or is too large to be taken apart."""
    if request.task is not Task.TEXT or request.wanted is None or len(request.payload) > MOST_BYTES:
        return None
    body = loads(request.payload)
    prompt = body.get("prompt")
    if type(prompt) is not list or type(prompt[0]) is int:
        return None
    return _Prompts(request, body, request.wanted.count // len(prompt))


def _with_prompt(payload: Callable[[], bytes], prompt: Any) -> bytes:
    return encoded({**loads(payload()), "prompt": prompt})


def _chunks(piece: bytes) -> Iterator[Json]:
    """Yield the chunks in a piece of a stream."""
    for event in piece.split(_END):
        if len(event) > MOST_BYTES:
            raise _too_large()
        if event.startswith(_DATA) and event + _END != DONE:
            yield decoded(event.removeprefix(_DATA))


def _too_large() -> ProviderFailed:
    sentence = f"a provider answered one of several prompts with more than {MOST_BYTES} bytes, or all with too many"
    return ProviderFailed(Fault.PROVIDER, sentence, code="server_error", spent=True, kind=Kind.BROKEN)


def _event(chunk: Json) -> bytes:
    return _DATA + encoded(chunk) + _END
