"""The rounds of one response: a model's answer, the calls of this server's tools in it, and the model's next answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from json import dumps
from typing import Final, TypeAlias

from server.api.responses.happenings import Happening, Paused, ToolBegun, ToolEnded
from server.api.responses.server_tools.shielded import ShieldedOutcomes
from server.api.responses.server_tools.tool import Outcome, ServerTool, ToolSet
from server.api.responses.state import ServerCall, State
from server.background.spending import note_spending
from server.fairness.places import Pieces
from server.fairness.shares import FairShares, Share, Turn
from server.http.error_table import error_of
from server.inference.answers.model_name import QUICK
from server.inference.provider import ChatModel, ChatRequest
from server.json_input.strict import Json
from server.safety.returned import ReturnedTexts

MOST_ROUNDS: Final = 32
"""Answers of a model in one response; calls in the last one are left out."""

AT_ONCE: Final = 8
"""Calls of one response that are under way at the same time."""

CALL_SECONDS: Final = 120.0
"""Seconds after which a call has failed."""

MOST_TOLD: Final = 256 * 1024
"""Bytes of the result of one call that a model is told; a longer one is cut."""

MOST_TOLD_IN_ALL: Final = 1024 * 1024
"""Bytes of the results of all calls of one response."""

UNDER_WAY: Final = Share("calls of tools under way", 512, 64, waiting=4096, waiting_each=256, seconds=30.0)
"""Calls that this server's tools work on at the same time."""

STEPS: Final = Share("steps of responses with tools", 4, 1, waiting=16_384, waiting_each=4096, seconds=300.0)
"""Calls, and answers of models about them, that begin in one turn of the event loop: each takes some milliseconds."""

_CUT: Final = "\n[the rest of this result is left out: it is too long]"
_OF_CLIENT: Final = frozenset({"custom_tool_call", "function_call"})
_TOO_MANY: Final = "this tool was not called, since the response may not call more tools; answer with what you have"
_NOT_CHOSEN: Final = "the `tool_choice` of the request does not let this tool be called"
_NO_ROOM: Final = "the results of tools that are under way take too much room; try again later"
_TOO_SLOW: Final = f"the tool has not answered within {CALL_SECONDS:g} s"

Again: TypeAlias = Callable[[Sequence[bytes], Json], Awaitable[tuple[ChatModel, ChatRequest]]]
"""Returns the next chat: that of the request with more items behind its own, and with these settings."""

Settings: TypeAlias = Callable[..., Json]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call: the id that the chat knows it by, what it is called with, and its tool; `key` tells it from others."""

    key: int
    call_id: str
    name: str
    arguments: str
    tool: ServerTool


Counted: TypeAlias = Callable[[str, str], None]
"""Counts a call of a tool: the type of its item, and how it ended: `completed`, `failed`, `too_slow` or `left`."""


def uncounted(_kind: str, _end: str) -> None:
    """Count no call."""


class CallTurns:
    """The turns of calls that one event loop makes: those that are `under_way`, and the `steps` of their responses.

    Each call is `counted` at its end.
    """

    def __init__(self, counted: Counted = uncounted) -> None:
        self.counted = counted
        self.under_way = FairShares(UNDER_WAY)
        self.steps = Pieces(STEPS)


class Rounds:
    """Makes the calls of one response, as many as `most` says, and asks for the model's next answer.

    `again` is asked with the items that have come since the request, and with what `settings` returns. A call is never
    made twice. Calls take their `turns`, and their results bytes of `room`. Nothing that a tool returns is told before
    `shields` have let it pass; what they stop ends the response, as a text of the caller that they stop does. A call of
    a tool that is not `chosen` fails.
    """

    def __init__(
        self,
        tools: ToolSet,
        again: Again,
        settings: Settings,
        turns: CallTurns,
        room: FairShares,
        most: int | None,
        request_id: str,
        shields: ShieldedOutcomes | None = None,
        chosen: Callable[..., bool] = lambda _tool, **_: True,
    ) -> None:
        self._chosen = chosen
        self._shields = ShieldedOutcomes(ReturnedTexts(None)) if shields is None else shields
        self._tools = tools
        self._again = again
        self._settings = settings
        self._turns = turns
        self._room = room
        self._held = list[Turn]()
        self._left = most
        self._request_id = request_id
        self._items = list[bytes]()
        self._key = 0
        self._answers = 0
        self._shown = 0
        self._told = MOST_TOLD_IN_ALL
        self._is_over = False
        self._running = set[asyncio.Task[tuple[_Call, Outcome]]]()
        self._kinds = dict[int, str]()

    @property
    def served(self) -> frozenset[str]:
        """The names of the tools that this server runs."""
        return frozenset(self._tools.tools)

    @property
    def has_first_calls(self) -> bool:
        """True if calls come before the model is asked."""
        return bool(self._tools.first)

    @property
    def is_over(self) -> bool:
        """True if the model is not asked again."""
        return self._is_over

    async def listed(self) -> list[Happening]:
        """Return what happens before anything else, which may be long lists of tools.

        Raises what a check by shields does.
        """
        if not self._tools.listed:
            return []
        await self._turns.steps.pass_on()
        passed = [(beginning, await self._shields.passed(outcome)) for beginning, outcome in self._tools.listed]
        happenings = list[Happening]()
        for number, (beginning, outcome) in enumerate(passed, 1):
            happenings.append(ToolBegun(-number, beginning.kind, beginning.members, (*beginning.events,)))
            happenings.append(_ended(-number, outcome))
        self._is_over = self._shields.has_stopped
        return [*happenings, *self._shields.refusal()]

    async def first(self) -> AsyncIterator[list[Happening]]:
        """Make the calls that come before the model is asked, and yield what happens."""
        calls = [self._numbered("", call.name, call.arguments, call.tool) for call in self._tools.first]
        async for happenings in self._made(calls):
            yield happenings

    def go_on(self, state: State) -> bool:
        """Return whether calls of this server's tools come next, now that an answer of the model is at its end."""
        self._answers += 1
        is_cut = state.is_full or state.reason in ("length", "content_filter")
        return bool(state.calls) and not is_cut and self._answers < MOST_ROUNDS

    async def calls(self, state: State) -> AsyncIterator[list[Happening]]:
        """Make the calls that an answer of the model holds, and yield what happens."""
        yield [Paused()]
        said = state.output()[self._shown :]
        # The next request brings what the client's own functions have come to.
        self._is_over = any(item["type"] in _OF_CLIENT for item in said)
        self._items += [_encoded({name: value for name, value in item.items() if name != "id"}) for item in said]
        calls = [self._of(call) for call in state.calls]
        async for happenings in self._made(calls):
            yield happenings

    async def next(self, state: State) -> tuple[ChatModel, ChatRequest]:
        """Return the chat that asks for the model's next answer; raises what `again` raises."""
        await self._turns.steps.pass_on()
        self._shown = state.places
        may_call = (self._left is None or self._left > 0) and self._answers + 1 < MOST_ROUNDS
        settings = self._settings(is_first=not self._answers, may_call=may_call)
        return await self._again(self._items, _less(settings, state))

    async def aclose(self) -> None:
        """End the calls that are under way, and close the tools."""
        running, self._running = self._running, set()
        for task in running:
            task.cancel()
        try:
            if running:
                await asyncio.wait(running)
        finally:
            # A second cancellation leaves no room and no session behind.
            for turn in self._held:
                turn.end()
            await self._tools.aclose()

    def _of(self, call: ServerCall) -> _Call:
        tool = self._tools.tools[call.name]
        if not self._chosen(tool, is_first=self._answers <= 1):
            tool = tool.barred(_NOT_CHOSEN)
        return self._numbered(call.call_id, call.name, call.arguments.whole(), tool)

    def _numbered(self, identity: str, name: str, arguments: str, tool: ServerTool) -> _Call:
        self._key += 1
        return _Call(self._key, identity or f"call_{self._key}", name, arguments, tool)

    async def _made(self, calls: Sequence[_Call]) -> AsyncIterator[list[Happening]]:
        """Make calls as far as they may be made, some at a time, and keep what the model is to be told of all."""
        most = len(calls) if self._left is None else min(self._left, len(calls))
        if self._left is not None:
            self._left -= most
        told = dict[int, str]()
        for start in range(0, most, AT_ONCE):
            some = calls[start : min(start + AT_ONCE, most)]
            yield await self._begun(some)
            self._running = {asyncio.create_task(self._outcome(call)) for call in some}
            while self._running:
                ended, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                # Room goes to the calls in their order, too.
                kept = [self._kept(*task.result()) for task in sorted(ended, key=_key_of)]
                for call, outcome in await self._shields.all_passed(kept):
                    told[call.key] = self._cut(outcome.told)
                    if told[call.key] != outcome.told:
                        # Nothing is cited of which the model may have seen nothing.
                        outcome = replace(outcome, sources=())
                    self._is_over = self._is_over or outcome.ends
                    yield [_ended(call.key, outcome)]
            if self._shields.has_stopped:
                self._is_over = True
                yield [*self._shields.refusal()]
                return
        for call in calls:
            about = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            self._items.append(_encoded({"type": "function_call", **about}))
        for call in calls:
            output = told.get(call.key, _TOO_MANY)
            item = {"type": "function_call_output", "call_id": call.call_id, "output": output}
            self._items.append(_encoded(item))

    async def _begun(self, calls: Sequence[_Call]) -> list[Happening]:
        """Return that these calls begin, but for those without an item; long arguments take a step each."""
        found = list[Happening]()
        for call in calls:
            if len(call.arguments) > QUICK:
                await self._turns.steps.pass_on()
            beginning = call.tool.beginning(call.arguments)
            if beginning is not None:
                self._kinds[call.key] = beginning.kind
                found.append(ToolBegun(call.key, beginning.kind, beginning.members, (*beginning.events,)))
        return found

    async def _outcome(self, call: _Call) -> tuple[_Call, Outcome]:
        """Return what a call comes to; it fails where the tool raises or is too slow."""
        end = "left"
        try:
            async with self._turns.under_way.turn():
                await self._turns.steps.pass_on()
                note_spending()
                async with asyncio.timeout(CALL_SECONDS):
                    outcome = await call.tool.call(call.arguments)
            end = "failed" if outcome.status == "failed" else "completed"
        except TimeoutError:
            end, outcome = "too_slow", call.tool.failed(call.arguments, _TOO_SLOW)
        except Exception as fault:  # noqa: BLE001 - one tool's fault fails its call alone
            end, outcome = "failed", call.tool.failed(call.arguments, error_of(fault, self._request_id).message)
        finally:
            self._turns.counted(self._kinds.get(call.key, ""), end)
        return call, outcome

    def _kept(self, call: _Call, outcome: Outcome) -> tuple[_Call, Outcome]:
        """Return a call with an outcome that there is room for until the response is over; else it has failed."""
        # Once for the model, and once in the item.
        turn = self._room.take_now(2 * len(outcome.told.encode(errors="replace")))
        if turn is None:
            return call, call.tool.failed(call.arguments, _NO_ROOM)
        self._held.append(turn)
        return call, outcome

    def _cut(self, told: str) -> str:
        """Return what the model is told of a result, as far as there is room for it."""
        raw, room = told.encode("utf-8", "replace"), min(MOST_TOLD, self._told)
        self._told -= min(len(raw), room)
        if len(raw) <= room:
            return told
        return raw[:room].decode("utf-8", "ignore") + _CUT


def _less(settings: Json, state: State) -> Json:
    """Return the settings with the tokens that are left of those that all answers of the response may have."""
    most = settings.get("max_completion_tokens")
    if most is None or state.usage is None:
        return settings
    return {**settings, "max_completion_tokens": max(1, most - state.usage["output_tokens"])}


def _key_of(ended: asyncio.Task[tuple[_Call, Outcome]]) -> int:
    return ended.result()[0].key


def _ended(key: int, outcome: Outcome) -> ToolEnded:
    return ToolEnded(key, outcome.status, outcome.members, (*outcome.events,), (*outcome.sources,))


def _encoded(item: Json) -> bytes:
    return dumps(item).encode()
