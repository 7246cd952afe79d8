"""A scripted model and a tool of a test, for responses that are made in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from json import dumps
from typing import Any, Final

from server.api.responses.happenings import Source
from server.api.responses.server_tools.tool import Beginning, Outcome
from server.inference.provider import DONE, ChatRequest, ChatStream, Pieces
from server.json_input.strict import Json

REQUEST: Final = ChatRequest("m", b"{}")
USAGE: Final = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


def said(text: str | None = None, *calls: tuple[str, str]) -> Json:
    """An answer of the model."""
    made = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"content": text, **({"tool_calls": made} if made else {})}


@dataclass
class Model:
    """A model that gives these answers one after the other; what it was asked with is noted."""

    answers: list[Json]
    reason: str = "stop"

    async def complete(self, request: ChatRequest) -> Pieces:
        choice = {"index": 0, "message": self.answers.pop(0), "finish_reason": self.reason}
        return [dumps({"choices": [choice], "usage": USAGE}).encode()]

    async def stream(self, request: ChatRequest) -> ChatStream:
        delta = self.answers.pop(0)
        for place, call in enumerate(delta.get("tool_calls", ())):
            call["index"] = place
        return Chunks({"choices": [{"index": 0, "delta": delta, "finish_reason": self.reason}], "usage": USAGE})


@dataclass
class Chunks:
    chunk: Json

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"data: %b\n\n" % dumps(self.chunk).encode()
        yield DONE

    async def aclose(self) -> None:
        pass


@dataclass
class Tool:
    """A tool that says what it was called with."""

    does: Callable[[str], Any] = lambda arguments: f"result of {arguments}"
    ends: bool = False
    called: list[str] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    @property
    def offered(self) -> Json | None:
        return {"type": "function", "function": {"name": "look"}}

    def is_named_by(self, choice: Json) -> bool:
        return False

    def beginning(self, arguments: str) -> Beginning | None:
        return Beginning("mcp_call", {"arguments": arguments}, [("mcp_call.in_progress", {})])

    async def call(self, arguments: str) -> Outcome:
        self.called.append(arguments)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            told = self.does(arguments)
            told = await told if asyncio.iscoroutine(told) else told
        finally:
            self.under_way -= 1
        return Outcome(told, members={"output": told}, sources=[Source("file-1", "a")], ends=self.ends)

    def barred(self, sentence: str) -> Tool:
        return self

    def failed(self, arguments: str, sentence: str) -> Outcome:
        return Outcome(sentence, "failed", {"error": sentence}, [("mcp_call.failed", {})])
