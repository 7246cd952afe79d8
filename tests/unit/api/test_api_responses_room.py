"""The room of responses under way: it is taken before the model is asked, and given back however a response ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from json import dumps

import pytest

from server.api.responses.answering import LEAST_HELD, Endings, RespondingChat
from server.api.responses.server_tools.rounds import Rounds
from server.api.responses.server_tools.tool import ToolSet
from server.api.responses.state import State
from server.fairness.shares import FairShares, NoRoom, Share
from server.http.errors import ApiError
from server.inference.provider import DONE, ChatModel, ChatRequest, ChatStream, Fault, Pieces, ProviderFailed
from server.json_input.strict import Json
from server.storage.database.database import DatabaseUnavailable

REQUEST = ChatRequest("m", b"{}")
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
WHOLE = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}


async def never(_items: Sequence[bytes], _settings: Json) -> tuple[ChatModel, ChatRequest]:
    raise AssertionError("the model is asked once")


def no_rounds(endings: Endings) -> Rounds:
    return Rounds(ToolSet(), never, dict, endings.calls, endings.room, None, "req_1")


class Answering:
    """A model that says one word, or refuses, or breaks off."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.asked = 0

    async def complete(self, request: ChatRequest) -> Pieces:
        self.asked += 1
        if self.fault:
            raise ProviderFailed(Fault.PROVIDER, "no")
        return [dumps(WHOLE).encode()]

    async def stream(self, request: ChatRequest) -> ChatStream:
        self.asked += 1
        if self.fault == "refuses":
            raise ProviderFailed(Fault.PROVIDER, "no")
        return Chunks(breaks=self.fault == "breaks")


class Chunks:
    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield CHUNK
        if self.breaks:
            raise ProviderFailed(Fault.PROVIDER, "no")
        yield DONE

    async def aclose(self) -> None:
        pass


def responding(model: Answering, endings: Endings, kept: list[str], fault: Exception | None = None) -> RespondingChat:
    """A response whose end is not kept because of `fault`."""

    async def keep(state: State, _events: Sequence[Json]) -> None:
        if fault is not None and state.status == "completed":
            raise fault
        kept.append(state.status)

    state = State({"id": "resp_1", "model": ""}, ("0" * 48, 0), {})
    return RespondingChat(model, state, keep, 100, lambda: "p/m", endings, "req_1", no_rounds(endings))


async def last_of(chat: RespondingChat) -> bytes:
    events = await chat.stream(REQUEST)
    try:
        return [piece async for piece in events][-1]
    finally:
        await events.aclose()


@pytest.mark.parametrize("fault", ["", "refuses", "breaks"])
def test_the_room_is_given_back(fault: str) -> None:
    async def run() -> None:
        endings, kept = Endings(), list[str]()
        try:
            await responding(Answering(fault), endings, kept).complete(REQUEST)
        except ProviderFailed:
            assert fault
        assert endings.room.used == 0
        try:
            last = await last_of(responding(Answering(fault), endings, kept))
            assert last.endswith(DONE)
            assert (b"response.failed" in last) == (fault == "breaks")
        except ProviderFailed:
            assert fault == "refuses"
        assert endings.room.used == 0
        assert kept == {"": ["completed"] * 2, "breaks": ["failed"], "refuses": []}[fault]

    asyncio.run(run())


def test_a_client_that_leaves_gives_it_back() -> None:
    async def run() -> None:
        endings = Endings()
        events = await responding(Answering(), endings, []).stream(REQUEST)
        assert endings.room.used == LEAST_HELD + 100
        await events.aclose()
        assert endings.room.used == 0

    asyncio.run(run())


def test_without_room_no_model_is_asked() -> None:
    async def run() -> None:
        endings, model = Endings(), Answering()
        endings.room = FairShares(Share("bytes of responses", LEAST_HELD, LEAST_HELD, 1, 1, seconds=0.01))
        held = await endings.room.take(LEAST_HELD)
        for ask in (responding(model, endings, []).complete, responding(model, endings, []).stream):
            with pytest.raises(NoRoom):
                await ask(REQUEST)
        held.end()
        assert model.asked == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "sentence", "after"),
    [
        (DatabaseUnavailable("away"), b"the records can't be reached now", []),
        # A conversation may not take a response, which is kept as failed then.
        (ApiError(400, "the conversation is full"), b"the conversation is full", ["failed"]),
    ],
)
def test_what_can_not_be_kept_has_failed(fault: Exception, sentence: bytes, after: list[str]) -> None:
    async def run() -> None:
        endings, kept = Endings(), list[str]()
        last = await last_of(responding(Answering(), endings, kept, fault))
        assert b"response.failed" in last and sentence in last
        assert kept == after
        with pytest.raises(type(fault)):
            await responding(Answering(), endings, kept, fault).complete(REQUEST)
        assert kept == after

    asyncio.run(run())


def test_an_end_from_outside_is_the_only_end() -> None:
    async def run() -> None:
        endings, kept = Endings(), list[str]()
        chat = responding(Answering(), endings, kept)
        events = await chat.stream(REQUEST)
        pieces = aiter(events)
        await anext(pieces)
        last = await chat.told(ApiError(503, "the server is shutting down"))
        assert last.count(b"event: ") == 1 and b"response.failed" in last and last.endswith(DONE)
        assert await chat.told(ApiError(500, "again")) == last
        await events.aclose()
        assert kept == ["failed"]

    asyncio.run(run())
