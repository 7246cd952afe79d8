"""Members of a request's body that reach a provider, and the rules for those that may not reach it as they came.

A provider may be a router, which serves other models and places than the one that the policy was asked about, and reads
members that choose them. So a member passes only if it is known to choose neither. `members_of` may run in a worker
process, so this module imports the standard library, `server.json_input` and modules that import no more than these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import astuple, dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any, Final

from server.inference.account_ids import ACCOUNT_IDS, FILE_ID, ids_of, plainly
from server.inference.file_parts import NamedFile, parts_of
from server.inference.known_members import CHANGED, CUT, PASSED, ROUTING, SHIELDS, STAMPED, TOOL_TYPES, USERS_REGION
from server.json_input.strict import Document, InvalidJson, Json, Place

MOST_ALLOWED: Final = 32
"""Names that one provider's `allow_members` may hold."""

LONGEST_NAME: Final = 64
"""Characters of a name that is compared and told; of a longer one only its beginning is."""

LONGEST_STAMPED: Final = 512
"""Characters of a value that is stamped as it is; of a longer one its digest is."""

EVERYTHING: Final = "*"
"""The entry of `allow_members` that lets every member pass as it came."""

Edit = tuple[int, int, str]
"""A place in a body (its first byte, and the one behind its last), and the text that is to be there instead."""

Stamp = Callable[[str, str], str]
"""Returns the text in the place of a value (name, value) that names a cache or an end user."""

_WATCHED: Final = CUT | STAMPED | CHANGED | SHIELDS
"""Members whose places are noted, because a provider may need them changed."""

_UNSEARCHED: Final = (
    CUT
    | {"messages", "tools", "functions", "response_format", "logit_bias", "metadata"}
    | {name for name in PASSED if "json" in name or name.startswith(("guided", "struct"))}
)
"""Members that are cut out, or hold names of the caller's own choice."""


@dataclass(frozen=True, slots=True)
class Found:
    """The members of one body that need attention.

    `unknown` are names and paths that no rule lets pass by itself, sorted, and no more of them than `MOST_ALLOWED` and
    one. `places` are those of the watched members in the body's bytes, and `texts` the values that a stamp may replace.
    `files` are named by the body's messages, and `kinds` holds the place of the first part of each watched type.
    """

    unknown: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    files: tuple[NamedFile, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)


NOTHING_FOUND: Final = Found()
"""The value for a body whose members were not looked at: all of them pass."""


def members_of(document: Document, own: Set[str] = frozenset()) -> Json:
    """Return the members of a `Found`; raises InvalidJson for a value that can't be stamped, or names a file wrongly.

    `own` are names, besides those of chats, that pass and hold text or numbers of the caller's own choice.
    """
    body, parts = document.members, parts_of(document)
    unknown = sorted({_short(name) for name in _unknown(body, own)} | parts.strays)
    watched = body.keys() & _WATCHED
    texts = {name: body[name] for name in watched & STAMPED if body[name] is not None}
    for name, value in texts.items():
        if type(value) is not str:
            raise InvalidJson(f"`{name}` must be a text", name, "invalid_value")
        if len(value) > LONGEST_STAMPED:
            texts[name] = sha256(value.encode()).hexdigest()
    places = document.places(watched) if watched else {}
    found: Json = {"unknown": unknown[: MOST_ALLOWED + 1], "places": places, "texts": texts}
    return {**found, "files": [astuple(file) for file in parts.files], "kinds": parts.kinds}


def found_of(
    unknown: list[str],
    places: Mapping[str, Any],
    texts: Mapping[str, str],
    files: Sequence[Sequence[Any]] = (),
    kinds: Mapping[str, str] | None = None,
) -> Found:
    """Return what `members_of` has found; JSON knows no tuples."""
    spots = {name: Place(*place) for name, place in places.items()}
    return Found(tuple(unknown), spots, texts, tuple(NamedFile(*file) for file in files), kinds or {})


def _unknown(body: Json, own: Set[str]) -> Iterator[str]:
    """Yield the names of members, and the paths of inner ones, that are not known to be harmless."""
    for name, value in body.items():
        if type(value) is not dict and name in PASSED:
            continue
        if name in own or name in SHIELDS:
            continue
        if name not in PASSED:
            yield name
        elif type(value) is dict and name not in _UNSEARCHED:
            yield from (f"{name}.{inner}" for inner in _routing(value, _users_place(body)))
            yield from ids_of(name, value, addresses=False)
    metadata = body.get("metadata")
    if type(metadata) is dict:
        # Routers read tags and settings from here; what OpenAI's document allows is texts.
        yield from (f"metadata.{name}" for name, value in metadata.items() if isinstance(value, list | dict))
    tools = body.get("tools")
    for tool in tools if type(tools) is list else ():
        kind = tool.get("type", "function") if type(tool) is dict else "function"
        if type(kind) is not str or kind not in TOOL_TYPES:
            yield "tools.type"


def _users_place(body: Json) -> Any:
    """Return the object that tells where the user is, if its region is a text; None otherwise."""
    place: Any = body
    for name in USERS_REGION[:-1]:
        place = place.get(name) if type(place) is dict else None
    return place if type(place) is dict and type(place.get(USERS_REGION[-1])) is str else None


def _routing(value: Json, users_place: Any) -> Iterator[str]:
    """Yield names inside a value that routers read, however they are written; the user's region is none."""
    waiting: list[Any] = [value]
    while waiting:
        match waiting.pop():
            case dict() as members:
                passed = USERS_REGION[-1] if members is users_place else None
                yield from (name for name in members if name != passed and plainly(name) in ROUTING)
                waiting += members.values()
            case list() as values:
                waiting += values


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


@dataclass(frozen=True, slots=True)
class MemberRules:
    """The rules of one provider: names that pass as they came, names that it doesn't know, and its own names.

    `allowed` holds names and paths, or `EVERYTHING`. Members of `refused` are cut out of each body, since the provider
    would answer with an error. `renamed` leads from OpenAI's names to the provider's. A provider that `is_local` runs
    in this process and ignores what it doesn't know, so only members by which routers choose are refused. Parts of
    messages whose types it `lacks` are refused, since it would drop them or answer in words of its own.
    """

    allowed: frozenset[str] = frozenset()
    is_local: bool = False
    refused: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()

    @property
    def reports_usage(self) -> bool:
        """True if the provider takes `stream_options`, and so reports usage in a stream."""
        return "stream_options" not in self.refused

    def edits(self, found: Found, stamp: Stamp, *, stored: bool) -> list[Edit]:
        """Return the changes to a body; raises InvalidJson for a member that may not pass.

        `stored` is true if the chat is stored here, so that the provider is not asked to.
        """
        if EVERYTHING not in self.allowed:
            for name in found.unknown:
                if name not in self.allowed and not (self.is_local and is_harmless(name)):
                    raise _not_passed(name)
            for kind in sorted(self.lacks & found.kinds.keys()):
                raise _not_taken(kind, found.kinds[kind])
        if not found.places:
            return []
        cut = {name for name in found.places if self._is_left_out(name, stored=stored)}
        # Of two spellings of one member the provider's own counts.
        cut |= {name for name in found.places if self.renamed.get(name) in found.places}
        kept = found.places.keys() - cut
        edits = cut_out([found.places[name] for name in cut])
        for name in kept & found.texts.keys():
            if not self._allows(name):
                place = found.places[name]
                edits.append((place.start, place.end, dumps(stamp(name, found.texts[name]))))
        for name in kept & self.renamed.keys():
            place = found.places[name]
            edits.append((place.name, place.name_end, dumps(self.renamed[name])))
        return edits

    @property
    def passes_file_ids(self) -> bool:
        """True if ids of files that are not this server's reach the provider, whose account is one caller's own."""
        return self._allows(FILE_ID)

    def _is_left_out(self, name: str, *, stored: bool) -> bool:
        if stored and name in ("store", "metadata"):
            return True
        return name in self.refused | SHIELDS or (name in CUT and not self._allows(name))

    def _allows(self, name: str) -> bool:
        return name in self.allowed or EVERYTHING in self.allowed


def is_harmless(name: str) -> bool:
    """Return whether a member, by its name, is none by which a router is known to choose; true for most typos."""
    return (name in ACCOUNT_IDS or "." not in name) and plainly(name) not in ROUTING


def _not_passed(name: str) -> InvalidJson:
    if name in ACCOUNT_IDS:
        return InvalidJson(ACCOUNT_IDS[name], name, "unsupported_parameter")
    sentence = (
        f"`{name}` is not passed on, since it might choose another model or place than the one that was asked for; "
        "leave it out"
    )
    return InvalidJson(sentence, name, "unsupported_parameter")


def _not_taken(kind: str, place: str) -> InvalidJson:
    sentence = (
        f"`{place}` has the type `{kind}`, which the provider of this model doesn't take; "
        "send what is in it as text, or ask another model"
    )
    return InvalidJson(sentence, place, "unsupported_value")


def cut_out(places: list[Place]) -> list[Edit]:
    """Return the edits that remove members of one object, with a comma each, as long as one member stays."""
    edits = list[Edit]()
    runs = list[list[Place]]()
    for place in sorted(places, key=lambda each: each.number):
        if runs and runs[-1][-1].number + 1 == place.number:
            runs[-1].append(place)
        else:
            runs.append([place])
    for run in runs:
        first, last = run[0], run[-1]
        if last.next_name >= 0:
            edits.append((first.name, last.next_name, ""))
        else:
            edits.append((first.previous_end, last.end, ""))
    return edits
