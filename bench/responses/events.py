"""The cost of one event: a chunk of a chat is read, the state takes a step, and the event is written."""

from __future__ import annotations

from json import dumps
from statistics import median
from time import perf_counter
from typing import Final

from server.api.responses.chunks import read_events
from server.api.responses.happenings import Begun
from server.api.responses.loop import step
from server.api.responses.response_stream import event_text
from server.api.responses.state import State

EVENTS: Final = 2_000
_ROUNDS: Final = 9


def event_seconds() -> float:
    """Return the seconds that an event takes, the median of some rounds."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    chunk = f"data: {dumps({**head, 'choices': [choice]})}\n\n".encode()
    return median(_round(chunk) for _ in range(_ROUNDS))


def _round(chunk: bytes) -> float:
    state, _ = step(State({"id": "resp_0", "object": "response", "model": "m"}, ("0" * 48, 1), {}), Begun())
    began = perf_counter()
    for _ in range(EVENTS):
        for happening in read_events(chunk):
            state, events = step(state, happening)
            for event in events:
                event_text(event)
    return (perf_counter() - began) / EVENTS
