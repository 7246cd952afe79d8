"""The routes of resources that callers register under names of their choice, such as shields and tool groups.

A name belongs to one resource of its type, no matter whose: rules go by names, so that a name never means two
resources. A caller who may register a name therefore learns whether it is taken, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from secrets import token_hex
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from policy.resource_types import TYPES
from policy.vocabulary import Action
from server.api.registry.body import ENTRIES, NewEntry
from server.authz.request_authorization import Gate
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import ApiError
from server.http.json_body import read_body
from server.http.pagination import frame_of, list_query, page_of
from server.http.request_state import gate_of
from server.http.responses import encoded, json_response, list_of_texts
from server.json_input.body_parser import BodyParser, Value
from server.json_input.reader import Reader
from server.json_input.strict import Json
from server.storage.database.database import AlreadyThere
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Draft, Record

_BEGIN: Final = b'{"provider_id":'
_NO_OWN: Final = b',"provider_resource_id":null'
_NULL: Final = b"null"
_DESCRIBED: Final = b',"described":{'
"""Parts of the text of an entry. Inside a text of JSON a quote has a backslash before it, so that the first
`_DESCRIBED` is the member."""

MOST_LISTED: Final = 1000
"""Entries on one page, and on one whose size isn't asked for."""


@dataclass(frozen=True, slots=True)
class RegistryKind:
    """A kind of entries: its type in rules, its path, the `type` in answers, and the parser of its bodies."""

    type: str
    path: str
    shown: str
    parser: BodyParser[NewEntry]


_SHOWN: Final = {"vector_store": "vector_db"}
"""The names in answers of types that rules call otherwise."""


def _kinds() -> Iterator[RegistryKind]:
    """Yield a kind for each type that callers register, but for models, which `server.api.models` registers.

    Raises KeyError for a type whose bodies nothing here reads.
    """
    for row in TYPES.values():
        if row.registry is not None and row.name != "model":
            yield RegistryKind(row.name, row.registry, _SHOWN.get(row.name, row.name), ENTRIES[row.name])


KINDS: Final = tuple(_kinds())


class RegistryRoutes:
    """Stores the resources of one type, and shows each to the callers that the policy permits."""

    def __init__(self, kind: RegistryKind, store: GuardedStore, reader: Reader) -> None:
        self._kind = kind
        self._store = store
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of this type."""
        path, name = self._kind.path, self._kind.type
        one = f"{path}/{{identifier:path}}"
        return [
            AskingRoute(path, self.list, methods=["GET"], asks=[(Action.READ, name)], name=f"{name}.list"),
            AskingRoute(path, self.register, methods=["POST"], asks=[(Action.CREATE, name)], name=f"{name}.register"),
            AskingRoute(one, self.retrieve, methods=["GET"], asks=[(Action.READ, name)], name=f"{name}.retrieve"),
            AskingRoute(
                one, self.unregister, methods=["DELETE"], asks=[(Action.DELETE, name)], name=f"{name}.unregister"
            ),
        ]

    async def list(self, request: Request) -> Response:
        """Answer with a page of resources, oldest first unless the query says otherwise."""
        query = list_query(request, default=MOST_LISTED, most=MOST_LISTED, newest_first=False)
        page = await page_of(request, self._store, query)
        return await list_of_texts(frame_of(page), map(self._text, page.records))

    async def retrieve(self, request: Request) -> Response:
        """Answer with one resource."""
        record = await self._store.get(gate_of(request.scope), request.path_params["identifier"])
        return json_response(self._show(record))

    async def register(self, request: Request) -> Response:
        """Register a resource under the name in the body, or under a new one where the body may leave it out."""
        new = await read_registration(request, self._reader, self._kind.parser)
        name = new.name or f"{self._kind.type}-{token_hex(24)}"
        permit = await self._store.permit_create(gate_of(request.scope), name)
        try:
            record = await self._store.create(permit, Draft(name, self._body(new)))
        except AlreadyThere:
            raise name_taken(name) from None
        return json_response(self._show(record))

    async def unregister(self, request: Request) -> Response:
        """Remove a resource."""
        record = await self._removed(gate_of(request.scope), request.path_params["identifier"])
        return json_response(deleted_object(record.id, self._kind.shown))

    def _body(self, new: NewEntry) -> Json:
        """Return the body of an entry's record."""
        return {
            "provider_id": new.provider_id,
            "provider_resource_id": new.provider_resource_id,
            "described": new.described,
        }

    async def _removed(self, gate: Gate, name: str) -> Record:
        """Remove an entry, and return it."""
        return await self._store.delete(gate, name)

    def _text(self, record: Record) -> bytes:
        """Return what `_show` returns as JSON. What a caller has described is passed on as the text that it is stored
        as: on a page of megabytes, to parse and to write it would take the event loop from others.
        """
        stored = record.body.text
        given, described, rest = stored.partition(_DESCRIBED)
        if not (described and given.startswith(_BEGIN)):
            return encoded(self._show(record))
        if given.endswith(_NO_OWN):
            given = given.removesuffix(_NULL) + encoded(record.id)
        head = encoded(self._head(record))[:-1]
        return b"%b,%b%b%b" % (head, given[1:], b"" if rest.startswith(b"}") else b",", rest[:-1])

    def _head(self, record: Record) -> dict[str, Any]:
        """Return the members that come before those of the stored body."""
        return {
            "id": record.id,
            "object": self._kind.shown,
            "created_at": record.created_at,
            "identifier": record.id,
            "type": self._kind.shown,
        }

    def _show(self, record: Record) -> dict[str, Any]:
        own = record.body["provider_resource_id"]
        return {
            **self._head(record),
            "provider_id": record.body["provider_id"],
            "provider_resource_id": record.id if own is None else own,
            **record.body["described"],
        }


async def read_registration(request: Request, reader: Reader, parser: BodyParser[Value]) -> Value:
    """Return what a body registers; raises the ApiError that says what is wrong with it, and ClientGone."""
    return (await read_body(request, reader, parser))[1]


def name_taken(name: str, more: str = "") -> ApiError:
    """Return the 409 for a name that a resource has, be it configured or registered by any caller.

    `more` names what else the error may mean.
    """
    sentence = f"a name of `{name}` is taken{more}; choose another"
    return ApiError(HTTPStatus.CONFLICT, sentence, code="already_exists", headers={"x-should-retry": "false"})


def deleted_object(name: str, kind: str) -> dict[str, Any]:
    """Return the answer to a removal."""
    return {"id": name, "object": kind, "deleted": True}
