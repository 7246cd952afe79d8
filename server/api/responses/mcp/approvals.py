"""Approvals: a caller lets one call be made, once, with the name and the arguments that were asked for.

What is stored is a digest of the call. So it does not matter where the words of a request come from, a stored response
or the input: they are those that were asked for, or the call is not made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from json import dumps, loads
from secrets import randbelow
from typing import Final

from server.api.responses.body import ResponseBody
from server.api.responses.context import Context
from server.api.responses.open_items import MOST_ITEMS
from server.api.responses.state import ITEM_WORDS, item_id
from server.api.responses.store import digits_of
from server.fairness.caller import Caller
from server.http.errors import ApiError, invalid
from server.json_input.strict import Json
from server.storage.approvals import ApprovalTable, Waiting

_WORD: Final = ITEM_WORDS["mcp_approval_request"]
_REQUEST: Final = f"{_WORD}_"
_RESPONSE: Final = "mcpa_"
_CALL: Final = "mcp_"
_PLACES: Final = 100_000
_BEHIND: Final = 50_000
_REQUESTS: Final = 2 * MOST_ITEMS


@dataclass(frozen=True, slots=True)
class Deed:
    """A call that is asked for: the label of its server, where that is, the tool's name and its arguments."""

    label: str
    url: str
    name: str
    arguments: str

    @property
    def digest(self) -> str:
        """A digest of all of it."""
        return sha256(dumps([self.label, self.url, self.name, self.arguments]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to an approval request: the `request` as it stands in the context or in the input."""

    id: str
    place: str
    request: Json
    is_approved: bool
    reason: str | None


class Approvals:
    """The calls that wait for an approval of one caller."""

    def __init__(self, table: ApprovalTable, caller: Caller) -> None:
        self._table = table
        self._owner = sha256(dumps(caller).encode()).hexdigest()

    async def ask(self, identity: str, deed: Deed, tool: str) -> None:
        """Let a call wait; `tool` is a digest of the tool as it is described. Raises DatabaseUnavailable, NoRoom."""
        await self._table.add(identity, self._owner, Waiting(deed.digest, tool), _now())

    async def checked(self, answered: Answered, deed: Deed) -> str:
        """Return the digest of the tool that was asked for; raises the 400 unless exactly this deed waits."""
        waiting = await self._table.find(answered.id, self._owner, _now())
        if waiting is None or waiting.deed != deed.digest:
            raise no_request(answered.place)
        return waiting.tool

    async def use(self, identity: str) -> bool:
        """Return whether the call still waited; it does not any more. Raises DatabaseUnavailable and NoRoom."""
        return await self._table.use(identity, self._owner, _now())


def request_ids(response_id: str) -> Iterator[str]:
    """Yield ids for the approval requests of a response, in the form of its items' ids and behind all of these.

    A response that is made again, since its server ended, has others.
    """
    first = _BEHIND + _REQUESTS * randbelow((_PLACES - _BEHIND) // _REQUESTS)
    for number in range(first, first + _REQUESTS):
        yield item_id(_WORD, (digits_of(response_id), 0), number)


def answers_in(context: Context, body: ResponseBody) -> list[Answered]:
    """Return the new answers to approval requests, but for those behind which the input has the call itself.

    Raises the 400 for an answer to a request that is nowhere.
    """
    brought = body.approvals
    identities = context.items.ids
    if not any(identity.startswith(_RESPONSE) for identity in identities[context.known :]):
        return []
    items = [*context.items.plain()]
    given = [
        (place, loads(bytes(items[place])))
        for place, identity in enumerate(identities)
        if place >= context.known and identity.startswith(_RESPONSE)
    ]
    done = _done(identities, items, context.known)
    places = {identity: place for place, identity in enumerate(identities) if identity.startswith(_REQUEST)}
    places |= {item.copy_of: context.known + n for n, item in enumerate(body.items) if item.copy_of is not None}
    found = list[Answered]()
    for place, item in given:
        identity, where = item["approval_request_id"], f"input[{place - context.known}].approval_request_id"
        if identity in done:
            continue
        request = loads(bytes(items[places[identity]])) if identity in places else brought.get(identity)
        if request is None or any(type(request.get(name)) is not str for name in ("server_label", "name", "arguments")):
            if not item["approve"]:
                continue  # nothing comes of it, and clients send what they have said before
            raise no_request(where)
        found.append(Answered(identity, where, request, item["approve"], item.get("reason")))
    return found


def no_request(place: str) -> ApiError:
    """Return the 400 of an approval of what does not wait for one: the same for a foreign, a used and an edited one."""
    sentence = f"`{place}` names no approval request that you were sent, in these words, and that still waits for you"
    return invalid(sentence, place, "invalid_approval_request")


def _done(identities: Sequence[str], items: Sequence[memoryview], first: int) -> set[str]:
    """Return the ids of the requests whose calls the input brings along, as that of clients that send all of it."""
    calls = (place for place in range(first, len(items)) if identities[place].startswith(_CALL))
    found = (loads(bytes(items[place])).get("approval_request_id") for place in calls)
    return {identity for identity in found if type(identity) is str}


def _now() -> int:
    return int(time.time())
