"""Items that a model is asked with, in which what was sealed for the caller is opened: compactions and reasoning.

A compaction of `POST /v1/responses/compact` is read as a message. One that was made in the course of a response stands
for everything before it but the last `kept` items, which follow it. Reasoning is bound to the model that was asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import dumps, loads
from typing import Any, Final, TypeAlias

from server.api.conversations.body import PREFIXES
from server.api.responses.context import Context
from server.api.responses.happenings import Happening
from server.api.responses.loop import Step, step
from server.api.responses.state import State
from server.authn.seals import Seals, Unopened
from server.authz.request_authorization import Gate
from server.fairness.caller import CURRENT, Caller, caller_of
from server.fairness.threads import in_thread
from server.http.errors import ApiError, invalid
from server.inference.answers.model_name import QUICK
from server.json_input.strict import Json

LIFETIME: Final = 90 * 24 * 3600
"""Seconds for which a compaction and a model's reasoning can be gone on from."""

MOST_SEALED: Final = 256 * 1024
"""Bytes of a model's reasoning that are sealed; of a longer one the beginning is."""

LARGEST_ITEM: Final = 3 * 1024 * 1024
"""Bytes of a compaction, or of reasoning that is sealed; a larger one is not opened."""

_SEALED: Final = b'"encrypted_content"'
_ROLES: Final = (b'"developer"', b'"system"')

COMPACTION: Final = f"{PREFIXES['compaction']}_"
"""How the ids of compactions begin."""

_REASONING: Final = f"{PREFIXES['reasoning']}_"
_OF_CONTEXT: Final = ("context",)
_SAID: Final = "A summary of the conversation so far:\n\n"

Asked: TypeAlias = bytes | memoryview
"""An item as JSON."""


def sealing_caller(gate: Gate) -> Caller:
    """Return the caller that seals are bound to: the principal, or the address of one without a token."""
    return caller_of(gate.principal, str(CURRENT.get()))


def sealing_step(seals: Seals, gate: Gate, model: str) -> Step:
    """Return a step after which finished reasoning has its text sealed, for a caller who asks this model again."""
    caller, use = sealing_caller(gate), ("reasoning", model)

    def sealed(state: State, happening: Happening) -> tuple[State, list[Json]]:
        state, events = step(state, happening)
        for event in events:
            if event["type"] == "response.output_item.done" and event["item"]["type"] == "reasoning":
                # The item is new, and one object in the event, the state and the response.
                text = _cut("".join(part["text"] for part in event["item"]["content"]))
                event["item"]["encrypted_content"] = seals.sealed(caller, text, int(time.time()) + LIFETIME, use)
        return state, events

    return sealed


def context_seal(seals: Seals, gate: Gate, summary: str, kept: int) -> str:
    """Return what a compaction in the course of a response holds: a summary of all items but the `kept` last ones."""
    text = dumps({"kept": kept, "summary": summary}, ensure_ascii=False)
    return seals.sealed(sealing_caller(gate), text, int(time.time()) + LIFETIME, _OF_CONTEXT)


def summed_up(items: Sequence[Asked], summary: str, kept: int) -> list[Asked]:
    """Return the messages of developers, the summary in the place of the other items, and the last `kept` ones."""
    cut = max(0, len(items) - kept)
    return [*filter(_is_of_developer, items[:cut]), _summary_item(summary), *items[cut:]]


def _is_of_developer(item: Asked) -> bool:
    # Most items are not parsed for it.
    text = bytes(item)
    return any(role in text for role in _ROLES) and loads(text).get("role") in ("developer", "system")


def _summary_item(summary: str) -> bytes:
    content = [{"type": "input_text", "text": f"{_SAID}{summary}"}]
    return dumps({"type": "message", "role": "user", "content": content}).encode()


async def asked_items(seals: Seals, gate: Gate, context: Context, model: str) -> list[Asked]:
    """Return the items as the model of that canonical name is asked with them.

    Raises the 400 of a seal that does not open, and NoRoom.
    """
    opening = _Opening(seals, sealing_caller(gate), model, int(time.time()))
    pairs = context.items.pairs
    if any(identity.startswith(COMPACTION) for identity, _ in pairs):
        size = context.items.size
    else:
        size = sum(len(text) for identity, text in pairs if identity.startswith(_REASONING))
    return await in_thread(opening.items, context) if size > QUICK else opening.items(context)


@dataclass(frozen=True, slots=True)
class _Opening:
    seals: Seals
    caller: Caller
    model: str
    now: int

    def items(self, context: Context) -> list[Asked]:
        """Return the items; of the compactions that stand for what is before them, the last one is opened."""
        ids, items = context.items.ids, [*context.items.plain()]
        summaries, start, first = dict[int, Asked](), 0, list[Asked]()
        for place in reversed(range(len(ids))):
            if not ids[place].startswith(COMPACTION):
                continue
            summary, kept = self._summary(items[place], place - context.known)
            summaries[place] = _summary_item(summary)
            if kept is not None:
                start = max(0, place - kept)
                first = [*filter(_is_of_developer, items[:start]), summaries.pop(place)]
                break
        return [*first, *self._from(start, ids, items, summaries, context.known)]

    def _from(
        self, start: int, ids: Sequence[str], items: Sequence[memoryview], summaries: Mapping[int, Asked], known: int
    ) -> Iterator[Asked]:
        """Yield the items from a place on; a compaction that is no summary has been read before."""
        for place in range(start, len(ids)):
            if ids[place].startswith(_REASONING):
                yield self._thought(items[place], place - known)
            elif not ids[place].startswith(COMPACTION):
                yield items[place]
            elif place in summaries:
                yield summaries[place]

    def _summary(self, item: memoryview, place: int) -> tuple[str, int | None]:
        """Return the summary in a compaction, and how many items before it stay; None for all of them."""
        sealed = _small(item).get("encrypted_content")
        try:
            return self._opened(sealed), None
        except Unopened as fault:
            if fault.expired:
                raise _refusal(fault, place) from None
            told = loads(self._text(sealed, place, _OF_CONTEXT))
            return told["summary"], told["kept"]

    def _thought(self, item: memoryview, place: int) -> Asked:
        if _SEALED not in bytes(item):
            return item
        found = _small(item)
        sealed = found.get("encrypted_content")
        # What is kept with its text needs no seal: another reader may go on from it, and it has no end.
        if sealed is None or (place < 0 and found.get("content")):
            return item
        text = self._text(sealed, place, ("reasoning", self.model))
        return dumps({"type": "reasoning", "content": [{"type": "reasoning_text", "text": text}]}).encode()

    def _text(self, sealed: Any, place: int, use: tuple[str, ...]) -> str:
        try:
            return self._opened(sealed, use)
        except Unopened as fault:
            raise _refusal(fault, place) from None

    def _opened(self, sealed: Any, use: tuple[str, ...] = ()) -> str:
        return self.seals.opened(self.caller, sealed if type(sealed) is str else "", self.now, use)


def _small(item: memoryview) -> Json:
    """Return an item; empty for one that is larger than any that this server makes."""
    found: Json = loads(bytes(item)) if len(item) <= LARGEST_ITEM else {"encrypted_content": ""}
    return found


def _cut(text: str) -> str:
    """Return a text, or its beginning where it is too long to be sealed."""
    if len(text) * 4 <= MOST_SEALED:
        return text
    return text.encode("utf-8", "replace")[:MOST_SEALED].decode("utf-8", "ignore")


def _refusal(fault: Unopened, place: int) -> ApiError:
    param = f"input[{place}].encrypted_content" if place >= 0 else "input"
    if fault.expired:
        sentence = f"`{param}` is older than the {LIFETIME // 86_400} days for which it can be sent; leave the item out"
    else:
        sentence = f"`{param}` is nothing that this server has sealed for you and this model; leave the item out"
    return invalid(sentence, param, "invalid_encrypted_content")
