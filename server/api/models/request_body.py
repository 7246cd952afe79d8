"""The members that bodies for every kind of model have, and the changes that a provider needs in them.

Checks of bodies may run in a worker process, so this module imports the standard library, `server.json_input` and
modules that import no more than these.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from server.api.models.asked_shields import Asked, asked_shields
from server.http.body_checks import missing, wrong
from server.inference.members import NOTHING_FOUND, Edit, Found, MemberRules, Stamp, found_of, members_of
from server.json_input.strict import Document, InvalidJson, Json

LONGEST_NAME: Final = 512
"""Characters of a model's name; no model has a longer one, and an error does not repeat it."""

MOST_COST: Final = 10**9
"""Tokens; more than any budget's use. Bodies may hold larger numbers, and stores can't."""

SWITCH: Final = (bool, type(None))
"""The types of a member that is true or false, or null."""

_OF_CHATS: Final = frozenset({"functions", "messages", "tools"})
_USAGE: Final = "include_usage"
_ASKING: Final = f'"stream_options":{dumps({_USAGE: True})},'


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens to set aside: `least` is what the request needs, `most` what it would have if that is left.

    They differ where the body does not limit its answer.
    """

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class ModelBody:
    """A checked body: the model that it names, the place of that name in its bytes, and whether it asks for a stream.

    `cost` is None where it was not estimated. `found` holds the members that may not reach every provider as they
    came. `asks_usage` is true for a stream that is to report usage. For another stream `asking` makes the provider tell
    what it has cost; None if nothing has to be changed for that. `shields` are those that the caller asks for, each as
    its place in the body and its name.
    """

    model: str
    start: int
    end: int
    stream: bool = False
    cost: Cost | None = None
    found: Found = NOTHING_FOUND
    asks_usage: bool = False
    asking: Edit | None = None
    shields: Sequence[Asked] = ()

    @property
    def is_stored(self) -> bool:
        """True if the answer is to be stored here."""
        return False

    def edits(self, rules: MemberRules, stamp: Stamp) -> list[Edit]:
        """Return what a provider with these `rules` reads otherwise; raises InvalidJson for what may not reach it."""
        return rules.edits(self.found, stamp, stored=self.is_stored)

    def naming(self, raw: bytes, model: str, *edits: Edit) -> bytes:
        """Return the body `raw` to the byte, but for the model's name and the `edits`, which don't overlap."""
        view, name = memoryview(raw), dumps(model)
        if not edits:
            return b"".join((view[: self.start], name.encode(), view[self.end :]))
        pieces, done = list[bytes | memoryview](), 0
        for start, end, text in sorted(((self.start, self.end, name), *edits)):
            pieces += (view[done:start], text.encode())
            done = end
        return b"".join((*pieces, view[done:]))


def built(cost: Json | None = None, found: Json | None = None, asking: Any = None) -> dict[str, Any]:
    """Return the members of a ModelBody that a check has returned as plain values; JSON knows no tuples."""
    return {
        "found": NOTHING_FOUND if found is None else found_of(**found),
        "cost": None if cost is None else Cost(**cost),
        "asking": None if asking is None else tuple(asking),
    }


def read_model(document: Document, own: Set[str] = frozenset()) -> Json:
    """Return the members of a ModelBody; `own` are names that bodies for this kind of model have besides.

    Raises InvalidJson with the place of what this server could not handle.
    """
    body = document.members
    if "model" not in body:
        raise missing("model")
    if type(body["model"]) is not str or not 0 < len(body["model"]) <= LONGEST_NAME:
        raise wrong("model", "must be the name of a model")
    if own:
        # Providers that read them here too would answer, and cost, more than was estimated.
        for name in sorted(_OF_CHATS & body.keys()):
            raise InvalidJson(f"`{name}` belongs to chats; leave it out", name, "unsupported_parameter")
    start, end = document.span("model")
    told = {"model": body["model"], "start": start, "end": end, "found": members_of(document, own)}
    shields = asked_shields(body)
    return {**told, "shields": shields} if shields else told


def read_stream(document: Document) -> Json:
    """Return the members of a ModelBody about the stream that a body asks for; raises InvalidJson."""
    body = document.members
    if not isinstance(body.get("stream"), SWITCH):
        raise wrong("stream", "must be true or false")
    options = body.get("stream_options")
    if not isinstance(options, dict | None):
        raise wrong("stream_options", "must be an object")
    if body.get("stream") is not True:
        return {"stream": False, "asks_usage": (options or {}).get(_USAGE) is True}
    return {"stream": True, "asks_usage": (options or {}).get(_USAGE) is True, "asking": _asking(document)}


def check_spelling(body: Json, read: Set[str], place: str = "") -> None:
    """Raise InvalidJson for a member that differs only in case from one that is read here.

    Some providers ignore case, and would see another model than the policy did.
    """
    for name in body.keys() - read:
        if name.casefold() in read:
            raise wrong(f"{place}{name}", f"is written `{name.casefold()}`")


def number_of(body: Json, name: str) -> int:
    """Return a number of tokens or choices, 0 where there is none.

    What is none is refused: some providers read `"100"` as a number, and -1 as one without end.
    """
    value = body.get(name)
    if value is None:
        return 0
    if type(value) is not int or value < 1:
        raise wrong(name, "must be a whole number above 0")
    return min(value, MOST_COST)


def check_usage(document: Document) -> None:
    """Raise InvalidJson for a stream of which a provider may not tell what it has cost, whatever the body asks for."""
    options = document.members.get("stream_options") or {}
    check_spelling(options, {_USAGE}, "stream_options.")
    if type(options.get(_USAGE)) not in (bool, type(None)):
        raise wrong(f"stream_options.{_USAGE}", "must be true or false")


def _asking(document: Document) -> Edit | None:
    """Return the edit that makes a provider tell what a stream has cost.

    None if the body asks for that itself, or has something else in the place that the provider is to judge.
    """
    try:
        check_usage(document)
    except InvalidJson:
        return None
    options = document.members.get("stream_options") or {}
    if options.get(_USAGE):
        return None
    if "stream_options" in document.members:
        return *document.span("stream_options"), dumps({**options, _USAGE: True})
    place = document.raw.index(b"{") + 1
    return place, place, _ASKING


def cost_told(least: int, most: int) -> Json:
    """Return the members of a Cost, none of which is more than `MOST_COST`."""
    return {"least": min(least, MOST_COST), "most": min(most, MOST_COST)}
