"""Chats whose answers are responses: those of a request, and those of one that is worked on later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from starlette.requests import Request
from starlette.types import Message

from server.api.models.chosen import answering_name
from server.api.models.model import Model
from server.api.responses.answering import Endings, Passing, RespondingChat
from server.api.responses.asking import AskedTurns
from server.api.responses.chunks import read_events
from server.api.responses.compaction.compacting import Compacting
from server.api.responses.loop import step
from server.api.responses.response_stream import Keep, Read
from server.api.responses.server_tools.offering import is_chosen, settings_with
from server.api.responses.server_tools.rounds import Rounds
from server.api.responses.server_tools.shielded import ShieldedOutcomes
from server.api.responses.server_tools.tool import Opening, ServerTools, ToolSet
from server.api.responses.settings import SEALED
from server.api.responses.state import State
from server.api.responses.unsealing import asked_items, sealing_step
from server.authn.seals import Seals
from server.http.disconnects import WhileConnected
from server.http.request_state import state_of
from server.inference.provider import ChatModel, ChatRequest
from server.json_input.strict import Json
from server.safety.returned import ReturnedTexts


@dataclass(frozen=True, slots=True)
class Course:
    """How a response goes: it begins with `state`, and is given to `keep` at its end.

    `size` are the bytes that are held until then, and `items` those that are held where it has tools. Each model that
    is asked goes through `through` first, and the pieces of its stream are read by `read`. A stream whose caller leaves
    is kept where it `keeps_left`, and `passing` takes note of a response that is no stream when its tools are called.
    """

    state: State
    keep: Keep
    size: int
    items: int = 0
    through: Callable[[ChatModel], ChatModel] = lambda model: model
    read: Read = read_events
    keeps_left: bool = False
    passing: Passing | None = None


class Making:
    """Makes chats that answer requests for responses, once everything that these name is permitted."""

    def __init__(self, turns: AskedTurns, seals: Seals, endings: Endings, tools: ServerTools) -> None:
        self.turns = turns
        self._seals = seals
        self._compacting = Compacting(turns, seals)
        self._endings = endings
        self._tools = tools

    async def responding(
        self, request: Request, opening: Opening, model: Model, course: Course
    ) -> tuple[RespondingChat, ChatRequest]:
        """Return the chat that answers with the response, and what it takes; raises the ApiError for what may not be
        asked.
        """
        async with WhileConnected(request.receive):
            tools = await self._tools.open(opening)
        try:
            return await self._with(tools, request, opening, model, course)
        except BaseException:
            await tools.aclose()
            raise

    async def check(self, request: Request, opening: Opening, model: Model) -> None:
        """Raise the ApiError for what may not be asked of the model, as far as that is known without its tools."""
        body, context = opening.body, opening.context
        items = await asked_items(self._seals, opening.gate, context, model.name)
        async with WhileConnected(request.receive):
            await self._tools.check(opening)
        if not body.served:
            await self.turns.asked(request, body, model, context.system, items)

    async def _with(
        self, tools: ToolSet, request: Request, opening: Opening, model: Model, course: Course
    ) -> tuple[RespondingChat, ChatRequest]:
        gate, body, context = opening.gate, opening.body, opening.context
        items = await asked_items(self._seals, gate, context, model.name)
        if tools:
            # There may be hundreds of them, which are written and read with the chat.
            await self._endings.calls.steps.pass_on()
        first = replace(body, settings=settings_with(body, tools))
        short = await self._compacting.compacted(request, opening, model, items, first.settings, course.through)
        state = course.state
        if short is not None:
            items = short.items
            tools.listed.insert(0, short.listed)
            state = state._replace(usage=short.usage, earlier=short.usage)
        kept = items if tools else []
        asked = await self.turns.asked(request, first, model, context.system, items)

        async def again(more: Sequence[bytes], settings: Json) -> tuple[ChatModel, ChatRequest]:
            now, every = replace(body, settings=settings), [*kept, *more]
            found = await self.turns.asked(Request(request.scope, _nothing), now, model, context.system, every)
            return course.through(found.answering), found.request

        most, request_id = body.shown["max_tool_calls"], state_of(request.scope).request_id
        settings, endings, shields = (
            partial(settings_with, body, tools),
            self._endings,
            ShieldedOutcomes(ReturnedTexts(asked.guard)),
        )
        rounds = Rounds(
            tools, again, settings, endings.calls, endings.room, most, request_id, shields, partial(is_chosen, body)
        )
        responding = RespondingChat(
            course.through(asked.answering),
            state,
            course.keep,
            course.size + (course.items if tools else 0),
            partial(answering_name, asked.model.name, asked.chosen),
            self._endings,
            request_id,
            rounds,
            course.read,
            sealing_step(self._seals, gate, model.name) if SEALED in body.include else step,
            keeps_left=course.keeps_left,
            passing=course.passing,
        )
        return responding, asked.request


async def _nothing() -> Message:
    """Receive nothing more of a request whose connection is watched elsewhere."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}
