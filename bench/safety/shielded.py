"""Chats that go through shields in this process, with a judge and a model that answer at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from json import dumps
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final

from server.config.shield_params import Common
from server.fairness.caller import CURRENT
from server.inference.provider import DONE, ChatRequest, ChatStream, Pieces, Task
from server.safety.keyword import Keywords
from server.safety.llama_guard.guard import LlamaGuard
from server.safety.running import CHECKS, RunningShield, UsableShield
from server.safety.shield import SAFE, Direction, Judges, Said, Shield, Verdict
from server.safety.shielded import ShieldedChat
from server.safety.streams import WINDOW

ROUNDS: Final = 9
CHATS: Final = 200
CHUNKS: Final = 400
_WORD: Final = "word "
_QUESTION: Final = "Explain in one sentence why doors are free. " * 8


class _Judge:
    """Finds every text safe."""

    async def ask(self, model: str, task: Task, members: dict[str, Any]) -> Any:
        return {"choices": [{"index": 0, "message": {"content": "safe"}}]}


class _Model:
    """Answers at once."""

    def __init__(self) -> None:
        message = {"role": "assistant", "content": _WORD * 40}
        head = {"id": "chatcmpl-1", "created": 1, "model": "m"}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        self._whole = dumps({**head, "object": "chat.completion", "choices": [choice]}).encode()
        delta = {"index": 0, "delta": {"content": _WORD}, "finish_reason": None}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [delta]}
        self.chunk = b"data: %b\n\n" % dumps(chunk).encode()

    async def complete(self, _request: ChatRequest) -> Pieces:
        return [self._whole]

    async def stream(self, _request: ChatRequest) -> ChatStream:
        return _Stream(self.chunk)


class _Stream:
    def __init__(self, chunk: bytes) -> None:
        self._chunk = chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield self._chunk
        yield DONE

    async def aclose(self) -> None:
        pass


class _Guard:
    """The shields of a request whose verdicts are written nowhere."""

    def __init__(self, *shields: Shield) -> None:
        judges: Judges = _Judge()
        running = [RunningShield(f"s{place}", shield, Common()) for place, shield in enumerate(shields)]
        self._shields = [UsableShield(shield, judges) for shield in running]

    def shields(self) -> Sequence[UsableShield]:
        return self._shields

    async def note(
        self, shield: str, direction: Direction, verdict: Verdict, characters: int, *, acts: bool = True
    ) -> None:
        pass


def llama_guard() -> Shield:
    """Return a Llama Guard."""
    return LlamaGuard("guard", "llama-guard-3", frozenset(), writes_prompts=False)


def words() -> Shield:
    """Return a list of a hundred words."""
    return Keywords({"keyword": [f"forbidden{number}" for number in range(100)]}, whole_words=True)


def _request() -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": _QUESTION}]}
    return ChatRequest("p/m", dumps(body).encode())


def chat_seconds(*shields: Shield) -> float:
    """Return the processor time that a whole chat takes more with these shields."""

    async def cost(chat: Any) -> float:
        request, began = _request(), process_time()
        for _ in range(CHATS):
            await chat.complete(request)
        return (process_time() - began) / CHATS

    model = _Model()
    return _difference(cost, ShieldedChat(model, _Guard(*shields)), ShieldedChat(model, _Guard()))


def window_seconds(*shields: Shield) -> float:
    """Return the processor time that a window of a stream takes more with these shields."""

    async def cost(chat: Any) -> float:
        began = process_time()
        async for _piece in await chat.stream(_request()):
            pass
        return (process_time() - began) / (CHUNKS * len(_WORD) / WINDOW)

    model = _Model()
    return _difference(cost, ShieldedChat(model, _Guard(*shields)), ShieldedChat(model, _Guard()))


def _difference(cost: Callable[[Any], Awaitable[float]], shielded: Any, bare: Any) -> float:
    """Return the median by which the one costs more; both take turns, so that the machine's load is the same."""

    async def measured() -> float:
        await cost(shielded)
        return median([await cost(shielded) - await cost(bare) for _ in range(ROUNDS)])

    return asyncio.run(measured())


class _Hanging:
    """Answers no check of one caller, and others at once."""

    reads_images = False

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        if said[0].text == "hang":
            await asyncio.Event().wait()
        return SAFE


async def _held_up() -> float:
    shield, judges = RunningShield("s", _Hanging(), Common()), _Judge()

    async def check(caller: str, text: str) -> float:
        CURRENT.set((caller, caller))
        began = perf_counter()
        await shield.check([Said(text)], Direction.INPUT, judges)
        return perf_counter() - began

    alone = median([await asyncio.create_task(check("modest", "hi")) for _ in range(20)])
    waiting = [asyncio.create_task(check("greedy", "hang")) for _ in range(CHECKS.each + CHECKS.waiting_each)]
    await asyncio.sleep(0)
    beside = median([await asyncio.create_task(check("modest", "hi")) for _ in range(20)])
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return beside - alone


def held_up_seconds() -> float:
    """Return by how much a check takes longer for one caller while all that another may have of the shield hang."""
    return asyncio.run(_held_up())
