"""Ends of streams: providers that die and clients that leave at each event, with one end or none and one charge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api.responses.answering import Endings, RespondingChat
from server.api.responses.server_tools.rounds import Rounds
from server.api.responses.server_tools.tool import ToolSet
from server.api.responses.state import State
from server.fairness.shares import NoRoom
from server.http.errors import ApiError
from server.inference.answers.metered import Ending, MeteredChat
from server.inference.provider import DONE, ChatRequest, ChatStream, Fault, Pieces, ProviderFailed, Tokens
from server.json_input.strict import Json

REQUEST = ChatRequest("m", b"{}")
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
ARGUMENTS = {"index": 0, "function": {"arguments": "{}"}}
DELTAS: list[Json] = [
    {"reasoning_content": "let me"},
    {"reasoning_content": " see"},
    {"content": "a"},
    {"content": " \ud83d"},
    {"refusal": "no"},
    {"tool_calls": [{**ARGUMENTS, "id": "c", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [ARGUMENTS]},
]
CHUNKS: list[bytes] = [
    *(b"data: %b\n\n" % dumps({"choices": [{"index": 0, "delta": delta}]}).encode() for delta in DELTAS),
    b": a comment\n\n",
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}\n\n',
    DONE,
]
FAULTS: dict[str, Callable[[], BaseException]] = {
    "it breaks off": lambda: ProviderFailed(Fault.PROVIDER, "no", spent=True),
    "it refuses late": lambda: ProviderFailed(Fault.REQUEST, "no"),
    "it has no room": lambda: NoRoom("x", of_caller=False),
    "we have a bug": lambda: RuntimeError("secret"),
}


@dataclass
class Bill:
    """What is charged for one answer."""

    reserved: int = 100
    settled: list[int] = field(default_factory=list)
    ends: list[Ending] = field(default_factory=list)

    async def settle(self, used: int) -> None:
        self.settled.append(used)

    async def reserve(self) -> Bill:
        return self

    def count(self, ending: Ending, _used: int, _tokens: Tokens | None) -> None:
        self.ends.append(ending)


@dataclass
class Dying:
    """A model whose stream ends with a fault in the place of a chunk; it waits there where it has none."""

    chunk: int
    fault: BaseException | None
    closed: int = 0

    async def complete(self, request: ChatRequest) -> Pieces:
        raise NotImplementedError

    async def stream(self, request: ChatRequest) -> ChatStream:
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for place, chunk in enumerate(CHUNKS):
            if place == self.chunk:
                if self.fault is None:
                    await asyncio.Event().wait()
                else:
                    raise self.fault
            yield chunk

    async def aclose(self) -> None:
        self.closed += 1


@dataclass
class Course:
    """What has come of a response: its events, what was kept, and what was charged."""

    events: list[Json] = field(default_factory=list)
    kept: list[Json] = field(default_factory=list)
    bill: Bill = field(default_factory=Bill)

    def read(self, pieces: Sequence[bytes]) -> None:
        text = b"".join(pieces).decode()
        lines = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
        self.events = [loads(line) for line in lines if line != "[DONE]"]

    def check(self) -> None:
        """Hold what is true of every course."""
        assert [event["sequence_number"] for event in self.events] == [*range(len(self.events))]
        ends = [place for place, event in enumerate(self.events) if event["type"] in TERMINAL]
        assert ends in ([], [len(self.events) - 1])
        assert len(self.kept) <= 1
        if ends and self.kept:
            assert loads(dumps(self.kept[0])) == self.events[-1]["response"]
        assert len(self.bill.settled) == len(self.bill.ends) == 1
        assert "secret" not in dumps(self.events)


async def course(
    model: Dying,
    use: Callable[[RespondingChat, ChatStream, Endings], Any],
    *,
    keeps: Exception | None = None,
    keeps_left: bool = False,
) -> Course:
    """The course of a response that `use` reads, until nothing of it is under way."""
    found, endings = Course(), Endings()

    async def keep(state: State, _events: Sequence[Json]) -> None:
        await asyncio.sleep(0)
        if keeps is not None:
            raise keeps
        found.kept.append(state.response())

    async def again(*_: object) -> Any:
        raise NotImplementedError

    metered = MeteredChat(model, found.bill.reserve, found.bill.count, hidden=False)
    rounds = Rounds(ToolSet(), again, lambda **_: {}, endings.calls, endings.room, None, "req_1")
    state = State({"id": "resp_1", "model": ""}, ("0" * 48, 0), {})
    chat = RespondingChat(metered, state, keep, 0, lambda: "p/m", endings, "req_1", rounds, keeps_left=keeps_left)
    async with endings.running():
        stream = await chat.stream(REQUEST)
        try:
            found.read(await use(chat, stream, endings))
        finally:
            await stream.aclose()
            await stream.aclose()
    assert (endings.room.used, model.closed > 0) == (0, True)
    found.check()
    return found


async def to_its_end(_chat: RespondingChat, stream: ChatStream, _endings: Endings) -> list[bytes]:
    pieces = [piece async for piece in stream]
    assert pieces[-1].endswith(DONE) and b"".join(pieces).count(DONE) == 1
    return pieces


async def some_of(stream: ChatStream, most: int, turns: int) -> list[bytes]:
    """The first pieces of a stream, as many as come within some turns of the event loop."""
    pieces, source = list[bytes](), aiter(stream)

    async def read_on() -> None:
        while len(pieces) < most:
            pieces.append(await anext(source))

    reading = asyncio.ensure_future(read_on())
    for _ in range(turns):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    if not reading.cancelled():
        assert isinstance(reading.exception(), StopAsyncIteration | None)
    return pieces


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("keeps", [None, ApiError(503, "the records are away")])
def test_a_provider_that_dies_at_any_chunk_ends_the_response_once(fault: str, keeps: Exception | None) -> None:
    for place in range(len(CHUNKS) + 1):
        found = asyncio.run(course(Dying(place, FAULTS[fault]()), to_its_end, keeps=keeps))
        last = found.events[-1]
        is_whole = place == len(CHUNKS) and keeps is None
        assert last["type"] == ("response.completed" if is_whole else "response.failed")
        assert len(found.kept) == (keeps is None)
        assert 0 <= found.bill.settled[0] <= 100
        if is_whole:
            assert (found.bill.settled, found.bill.ends) == ([5], [Ending.ANSWERED])


@settings(max_examples=50)
@given(st.integers(0, len(CHUNKS)), st.integers(0, len(CHUNKS) + 4), st.booleans())
def test_a_client_that_leaves_at_any_event_leaves_all_or_nothing(waits_at: int, read: int, is_cut_off: bool) -> None:
    async def leave(_chat: RespondingChat, stream: ChatStream, _endings: Endings) -> list[bytes]:
        return await some_of(stream, read, turns=read if is_cut_off else 200)

    found = asyncio.run(course(Dying(waits_at, None), leave))
    if waits_at < len(CHUNKS):
        assert found.kept == [] and found.bill.ends == [Ending.CANCELLED]
    # Whoever was told of the end can have what is kept.
    assert found.kept or not [event for event in found.events if event["type"] in TERMINAL]


@settings(max_examples=50)
@given(st.integers(0, len(CHUNKS)), st.integers(0, len(CHUNKS) + 4), st.booleans())
def test_a_stored_stream_whose_client_leaves_is_kept_as_far_as_it_came(waits_at: int, read: int, fails: bool) -> None:
    async def leave(_chat: RespondingChat, stream: ChatStream, _endings: Endings) -> list[bytes]:
        return await some_of(stream, read, turns=200)

    keeps = ApiError(503, "the records are away") if fails else None
    found = asyncio.run(course(Dying(waits_at, None), leave, keeps=keeps, keeps_left=True))
    if fails or not read:
        # A client without an event knows no id.
        assert found.kept == []
        return
    [kept] = found.kept
    if kept["status"] == "completed":
        # The client left while the end was stored, or behind it.
        assert waits_at == len(CHUNKS)
        return
    assert not [event for event in found.events if event["type"] in TERMINAL]
    assert (kept["status"], kept["completed_at"], kept["error"]) == ("cancelled", None, None)
    told = [event["delta"] for event in found.events if event["type"] == "response.output_text.delta"]
    said = [part.get("text", "") for item in kept["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(said[:1]).startswith("".join(told).replace("\ud83d", "\ufffd"))
    assert all(item["status"] in ("completed", "incomplete") for item in kept["output"])


@settings(max_examples=50)
@given(st.integers(0, len(CHUNKS)), st.integers(1, 12))
def test_a_server_that_ends_a_stream_tells_one_end(waits_at: int, read: int) -> None:
    async def end(chat: RespondingChat, stream: ChatStream, _endings: Endings) -> list[bytes]:
        pieces = await some_of(stream, read, turns=200)
        if pieces[-1].endswith(DONE):
            return pieces
        stopping = ApiError(503, "the server is shutting down")
        ends = await asyncio.gather(chat.told(stopping), chat.told(stopping))
        assert ends[0] == ends[1]
        return [*pieces, ends[0]]

    found = asyncio.run(course(Dying(waits_at, None), end))
    assert found.events[-1]["type"] in TERMINAL and len(found.kept) == 1
