"""Compaction in the course of a response: a long context is summed up before the model answers it.

What the caller has said last stays to the letter, and so do the messages of developers. The summary is an item of the
output, sealed; it stands in the place of what it sums up in this response, and in those that go on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from json import loads
from typing import Final, TypeVar

from starlette.requests import Request

from server.api.models.model import Model
from server.api.responses.asking import AskedTurns
from server.api.responses.compaction.summaries import TASK, summary_of
from server.api.responses.context import Context
from server.api.responses.server_tools.tool import Beginning, Opening, Outcome
from server.api.responses.unsealing import COMPACTION, Asked, context_seal, summed_up
from server.authn.seals import Seals
from server.fairness.places import without_place
from server.fairness.threads import in_thread
from server.http.disconnects import WhileConnected
from server.http.errors import provider_error
from server.inference.answers.model_name import QUICK
from server.inference.known_members import SHIELDS
from server.inference.provider import ChatModel, ProviderFailed
from server.json_input.strict import Json

T = TypeVar("T")

_ABOUT_CALLER: Final = SHIELDS | {"prompt_cache_key", "safety_identifier", "user"}
_CALLS: Final = frozenset({"custom_tool_call", "function_call"})
_OUTPUTS: Final = frozenset({"custom_tool_call_output", "function_call_output"})

_LEAST: Final = 2
"""Items that are worth a summary; one of them may be the last summary."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a model is asked with in the place of a long context, the item that tells of it, and what that has cost."""

    items: list[Asked]
    listed: tuple[Beginning, Outcome]
    usage: Json | None


class Compacting:
    """Sums up contexts that are longer than their requests say, with the model that is asked anyway."""

    def __init__(self, turns: AskedTurns, seals: Seals) -> None:
        self._turns = turns
        self._seals = seals

    async def compacted(
        self,
        request: Request,
        opening: Opening,
        model: Model,
        items: Sequence[Asked],
        settings: Json,
        through: Callable[[ChatModel], ChatModel],
    ) -> Compacted | None:
        """Return what takes the place of these items; None for as many tokens as the request takes, or little to sum
        up.

        The model that sums up goes `through` something first. Raises the ApiError for what may not be asked of it, and
        for a model that fails.
        """
        body, system = opening.body, opening.context.system
        if body.compact_at is None:
            return None
        counted = replace(body, settings=settings)
        if await self._turns.tokens(request, counted, model, system, items) <= body.compact_at:
            return None
        kept = min(await _beside(kept_of, items), since_compaction(opening.context))
        short = await _beside(summed_up, items, "", kept)
        if len(items) - len(short) + 1 < _LEAST:
            return None
        about = {name: value for name, value in settings.items() if name in _ABOUT_CALLER}
        asking = replace(body, settings=about, stream=False)
        asked = await self._turns.asked(request, asking, model, system, [*items[: len(items) - kept], TASK])
        try:
            async with WhileConnected(request.receive), without_place():
                summary, usage = await summary_of(through(asked.answering), asked.request)
        except ProviderFailed as failure:
            raise provider_error(failure) from None
        sealed = context_seal(self._seals, opening.gate, summary, kept)
        listed = Beginning("compaction", {"encrypted_content": sealed}), Outcome("", is_ours=True)
        return Compacted(await _beside(summed_up, items, summary, kept), listed, usage)


def since_compaction(context: Context) -> int:
    """Return the number of items behind the last compaction."""
    ids = context.items.ids
    last = (place for place in reversed(range(len(ids))) if ids[place].startswith(COMPACTION))
    return len(ids) - 1 - next(last, -1)


def kept_of(items: Sequence[Asked]) -> int:
    """Return how many of the last items stay as they are: what no model has answered, with the calls of tools that it
    answers.
    """
    kept, waiting = 0, set[object]()
    for item in reversed(items):
        found = loads(bytes(item))
        kind, call = found["type"], found.get("call_id")
        if kind in _OUTPUTS:
            waiting.add(call)
        elif kind in _CALLS and call in waiting:
            waiting.remove(call)
            if not waiting:
                return kept + 1
        elif not waiting and (kind != "message" or found["role"] == "assistant"):
            return kept
        kept += 1
    return kept


async def _beside(work: Callable[..., T], items: Sequence[Asked], *more: object) -> T:
    """Return what `work` returns of items, in a thread if there is much of them; raises NoRoom."""
    return await in_thread(work, items, *more) if sum(map(len, items)) > QUICK else work(items, *more)
