"""The context of a response: the items before those of the request, the ones that these refer to, and the prompt.

Everything that a body names is asked about as its caller, and what may not be read is as what does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from server.api.conversations.items import Items
from server.api.prompts.body import USED
from server.api.prompts.store import NoSuchVersion, Prompts, Version, default_version
from server.api.responses.body import MOST_ITEMS, PromptUse, ResponseBody
from server.api.responses.item_list import ItemList
from server.api.responses.state import item_id
from server.api.responses.store import DIGITS, Filling, Responses, digits_of, response_of
from server.api.responses.truncation import newest
from server.authz.request_authorization import Gate
from server.http.body_checks import short
from server.http.errors import ApiError, invalid
from server.http.pagination import missing_reference
from server.http.websocket.memory import CONNECTION
from server.json_input.strict import Json
from server.storage.records.guarded import Creation, NotFound

MOST_STORED: Final = 2 * 1024 * 1024
"""Bytes of the items of a response that is stored, those before the request included."""

MOST_ASKED: Final = 8 * 1024 * 1024
"""Bytes of the items that a model is asked with."""

MOST_PROMPT: Final = 256 * 1024
"""Characters of a prompt with the values of its variables in it."""

_OF_RESPONSE: Final = re.compile(f"([a-z]{{1,8}})_([0-9a-f]{{{DIGITS}}})[0-9]{{5}}")
_NO_WORD: Final = "item"


@dataclass(frozen=True, slots=True)
class Context:
    """The items that a model is asked with, of which the first `known` were there before; and what is in front of them:
    texts, and a message with the images and files of a prompt.

    `filling` is the conversation that gets the new ones; None where there is none.
    """

    items: ItemList
    known: int
    system: tuple[str | Json, ...]
    filling: Filling | None


class Contexts:
    """Gathers what a request for a response is about."""

    def __init__(self, responses: Responses, items: Items, prompts: Prompts) -> None:
        self._responses = responses
        self._items = items
        self._prompts = prompts

    async def of(self, gate: Gate, body: ResponseBody, identity: str, *, fills: bool = True) -> Context:
        """Return what the model is asked with for the response of that id; it `fills` its conversation.

        Raises the 404 of what the caller may not read, AccessDenied, and the 400 of what is too much.
        """
        system = await self._system(gate, body)
        creation = None
        if fills and body.conversation is not None:
            creation = await self._permit_filling(gate, body.conversation)
        before = await self._before(gate, body)
        given = await self._given(gate, body, identity)
        if body.shown["truncation"] == "auto":
            room = MOST_ITEMS - len(given), _most(body) - given.size
            before = await newest(before, *room, is_cut=body.conversation is not None)
        items = before + given
        _check(items, body)
        filling = None
        if creation is not None and body.conversation is not None:
            filling = Filling(creation, body.conversation, given)
        return Context(items, len(before), system, filling)

    async def again(self, gate: Gate, body: ResponseBody, identity: str, items: ItemList) -> Context:
        """Return the context of a response whose `items` were gathered before, once everything that the request names
        is permitted now as well; raises what `of` raises.
        """
        system = await self._system(gate, body)
        filling = None
        if body.conversation is not None:
            creation = await self._permit_filling(gate, body.conversation)
            given = len(items) - len(body.items)
            filling = Filling(creation, body.conversation, ItemList(items.ids[given:], items.texts[given:]))
        if body.conversation is None:
            await self._before(gate, body)
        else:
            await self._read(gate, body.conversation, 1)  # it may have grown since
        await self._given(gate, body, identity)
        return Context(items, len(items) - len(body.items), system, filling)

    async def _permit_filling(self, gate: Gate, conversation: str) -> Creation:
        try:
            return await self._items.permit_filling(gate, conversation)
        except NotFound:
            raise missing_reference("conversation", conversation) from None

    async def _before(self, gate: Gate, body: ResponseBody) -> ItemList:
        """Return the items that the request goes on from."""
        if body.previous is not None:
            connection = CONNECTION.get()
            remembered: ItemList | None = None if connection is None else connection.get(body.previous)
            if remembered is not None:
                return remembered
            try:
                record = await self._responses.records.get(gate, body.previous, whole=False)
            except NotFound:
                raise _no_previous(body.previous) from None
            output = await self._responses.whole_output_of(record)
            if output is None:
                raise _not_over(body.previous)
            return await self._responses.input_of(record) + output
        if body.conversation is None:
            return ItemList()
        pairs, has_more = await self._read(gate, body.conversation, MOST_ITEMS)
        if has_more and body.shown["truncation"] != "auto":
            sentence = (
                f"the conversation has more than a model is asked with, {MOST_ITEMS} items or 4 MiB; "
                'set `truncation` to "auto" for the newest ones, or begin another conversation'
            )
            raise invalid(sentence, "conversation", "context_length_exceeded")
        return ItemList.of(pairs)

    async def _read(self, gate: Gate, conversation: str, most: int) -> tuple[list[tuple[str, bytes]], bool]:
        """Return the newest items of a conversation, and whether there are more; raises its 404."""
        try:
            return await self._items.newest(gate, conversation, most)
        except NotFound:
            raise missing_reference("conversation", conversation) from None

    async def _given(self, gate: Gate, body: ResponseBody, identity: str) -> ItemList:
        """Return the items of the request under new ids, with what is referred to in the place of references."""
        places = {item.copy_of: f"input[{n}].id" for n, item in enumerate(body.items) if item.copy_of is not None}
        copied = await self._referenced(gate, places) if places else {}
        of = (digits_of(identity), 0)
        ids, texts = list[str](), list[bytes]()
        for place, item in enumerate(body.items):
            if item.copy_of is None:
                word, text = item.word, item.stored
            else:
                word, text = item.copy_of.rpartition("_")[0] or _NO_WORD, copied[item.copy_of]
            ids.append(item_id(word, of, place))
            texts.append(text)
        return ItemList(ids, texts)

    async def _referenced(self, gate: Gate, places: Mapping[str, str]) -> dict[str, bytes]:
        """Return the items of these ids, those of responses and those of conversations, by their ids."""
        found = await self._of_responses(gate, [*places])
        others = [identity for identity in places if identity not in found]
        if others:
            records = await self._items.readable(gate, others)
            found |= dict(await self._items.whole([*records.values()]))
        for identity, place in places.items():
            if identity not in found:
                raise missing_reference(place, identity)
        return found

    async def _of_responses(self, gate: Gate, identities: list[str]) -> dict[str, bytes]:
        """Return those of the items that belong to a response that the caller may read."""
        wanted = {identity: match[2] for identity in identities if (match := _OF_RESPONSE.fullmatch(identity))}
        of = [*dict.fromkeys(response_of(digits) for digits in wanted.values())]
        records = await self._responses.records.readable(gate, of) if of else {}
        found = dict[str, bytes]()
        for record in records.values():
            # One after the other: each may be large.
            every = await self._responses.input_of(record) + await self._responses.output_of(record)
            found |= {identity: text for identity, text in every.pairs if identity in wanted}
        return found

    async def _system(self, gate: Gate, body: ResponseBody) -> tuple[str | Json, ...]:
        """Return what is in front of all items: the instructions, and the prompt."""
        instructions = body.shown["instructions"]
        given = () if instructions is None else (instructions,)
        if body.prompt is None:
            return given
        return (*given, *_filled(await self._version(gate, body.prompt), body.prompt))

    async def _version(self, gate: Gate, use: PromptUse) -> Version:
        try:
            record = await self._prompts.records.get(gate, use.id)
            return default_version(record) if use.version is None else await self._prompts.version(record, use.version)
        except NotFound:
            raise missing_reference("prompt.id", use.id) from None
        except NoSuchVersion:
            sentence = f"the prompt has no version `{use.version}`"
            raise ApiError(HTTPStatus.NOT_FOUND, sentence, code="not_found", param="prompt.version") from None


def _filled(version: Version, use: PromptUse) -> list[str | Json]:
    """Return the text of a prompt with the values of its variables, and a message with those that are no texts."""
    values, text = use.variables, version.wording.prompt
    unknown = next((name for name in values if name not in version.wording.variables), None)
    if unknown is not None:
        raise invalid(f"the prompt has no variable `{short(unknown)}`", "prompt.variables", "invalid_value")
    used = [found[1] for found in USED.finditer(text)]
    lacking = next((name for name in used if name not in values), None)
    if lacking is not None:
        raise invalid(f"the prompt needs a value of `{lacking}`", "prompt.variables", "missing_required_parameter")
    texts = {name: value if isinstance(value, str) else f"[{name}]" for name, value in values.items()}
    if len(text) + sum(len(texts[name]) for name in used) > MOST_PROMPT:
        sentence = f"the prompt with its values has more than {MOST_PROMPT} characters; put large texts into `input`"
        raise invalid(sentence, "prompt.variables", "invalid_value")
    parts = list[Json]()
    for name in dict.fromkeys(used):
        value = values[name]
        if not isinstance(value, str):
            parts += ({"type": "input_text", "text": texts[name]}, value)
    filled = USED.sub(lambda found: texts[found[1]], text)
    return [filled, {"content": parts}] if parts else [filled]


def _most(body: ResponseBody) -> int:
    """Return the bytes that the items of a response may have."""
    return MOST_STORED if body.store else MOST_ASKED


def _check(items: ItemList, body: ResponseBody) -> None:
    """Raise the 400 of more items than a model is asked with, or than are stored."""
    if len(items) > MOST_ITEMS:
        sentence = f"the input has more than {MOST_ITEMS} items, with those that it goes on from; send fewer"
        raise invalid(sentence, "input", "context_length_exceeded")
    if items.size > _most(body):
        instead = "set `store` to false, or send" if body.store else "send"
        sentence = (
            f"the items take more than {_most(body)} bytes, with those that the input goes on from; "
            f"{instead} fewer or shorter ones"
        )
        raise invalid(sentence, "input", "context_length_exceeded")


def _not_over(identity: str) -> ApiError:
    sentence = f"the response `{identity}` is still being answered; wait until it is over, or cancel it"
    return invalid(sentence, "previous_response_id", "previous_response_not_over")


def _no_previous(identity: str) -> ApiError:
    sentence = f"there is no `{identity}`, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, sentence, code="previous_response_not_found", param="previous_response_id")
