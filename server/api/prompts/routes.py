"""`/v1/prompts`: texts with variables, and the versions of each."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.prompts.body import DEFAULT_VERSION, PROMPT, VERSION
from server.api.prompts.store import NoSuchVersion, NotLatest, Prompts, Version, Wording, default_version, new_prompt_id
from server.http.api_route import ApiRoute, AskingRoute
from server.http.errors import ApiError, invalid
from server.http.json_body import read_body
from server.http.pagination import frame_of, list_query, one_of_query, page_of, places_of
from server.http.request_state import gate_of
from server.http.responses import encoded, json_response, list_of_texts
from server.json_input.reader import Reader
from server.storage.records.guarded import NotFound
from server.storage.records.record import Record
from server.storage.records.usage import TooManyParts

_PROMPT: Final = "prompt"
_CHANGING: Final = ((Action.UPDATE, _PROMPT), (Action.READ, _PROMPT))
"""The questions of a route that changes a prompt, and shows it."""

MOST_LISTED: Final = 100
"""Prompts on one page, and on one whose size isn't asked for: most clients ask for no second one."""

_NUMBER: Final = re.compile("[1-9][0-9]{0,8}")
_HEAD: Final = re.compile(rb'\{"latest":[0-9]+,"default":([0-9]+),(?="prompt":)')
"""What stands before the wording in the stored text of a prompt."""


class PromptVersions:
    """Stores prompts, and shows each to the callers that the policy permits."""

    def __init__(self, prompts: Prompts, reader: Reader) -> None:
        self._prompts = prompts
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of prompts."""
        every, one = "/v1/prompts", "/v1/prompts/{prompt_id}"
        return [
            AskingRoute(every, self.page, methods=["GET"], asks=[(Action.READ, _PROMPT)], name="prompts.list"),
            AskingRoute(every, self.create, methods=["POST"], asks=[(Action.CREATE, _PROMPT)], name="prompts.create"),
            AskingRoute(one, self.retrieve, methods=["GET"], asks=[(Action.READ, _PROMPT)], name="prompts.retrieve"),
            AskingRoute(one, self.update, methods=["PUT"], asks=_CHANGING, name="prompts.update"),
            AskingRoute(one, self.delete, methods=["DELETE"], asks=[(Action.DELETE, _PROMPT)], name="prompts.delete"),
            AskingRoute(
                f"{one}/versions",
                self.versions,
                methods=["GET"],
                asks=[(Action.READ, _PROMPT)],
                name="prompts.versions.list",
            ),
            AskingRoute(
                f"{one}/set-default-version",
                self.set_default,
                methods=["PUT"],
                asks=_CHANGING,
                name="prompts.set_default_version",
            ),
        ]

    async def page(self, request: Request) -> Response:
        """Answer with a page of prompts in their default versions, newest first unless the query says otherwise."""
        query = list_query(request, default=MOST_LISTED, most=MOST_LISTED)
        page = await page_of(request, self._prompts.records, query)
        return await list_of_texts(frame_of(page), map(_text_of_default, page.records))

    async def create(self, request: Request) -> Response:
        """Make a prompt with its first version."""
        _, new = await read_body(request, self._reader, PROMPT)
        identity = new_prompt_id()
        permit = await self._prompts.records.permit_create(gate_of(request.scope), made=[identity])
        record = await self._prompts.create(permit, identity, Wording(new.prompt, new.variables))
        return json_response(_shown(default_version(record)))

    async def retrieve(self, request: Request) -> Response:
        """Answer with a prompt in the version that the query names, or in its default version."""
        number = _number(request, "version")
        record = await self._found(request)
        if number is None:
            return json_response(_shown(default_version(record)))
        try:
            return json_response(_shown(await self._prompts.version(record, number)))
        except NoSuchVersion:
            raise _no_such_version(number) from None

    async def versions(self, request: Request) -> Response:
        """Answer with a page of versions, newest first unless the query says otherwise; cursors are their numbers."""
        after, before = _number(request, "after"), _number(request, "before")
        query = list_query(request, default=MOST_LISTED, most=MOST_LISTED)
        record = await self._found(request)
        numbers = range(1, record.body["latest"] + 1)[:: -1 if query.newest_first else 1]
        for cursor in (after, before):
            if cursor is not None and cursor not in numbers:
                raise NotFound(str(cursor))
        shown, has_more = places_of(numbers, query, after, before)
        found = await self._prompts.versions(record, shown, from_end=query.is_backwards)
        has_more = has_more or len(found) < len(shown)
        default = record.body["default"]
        texts = (_text(record.id, number, part.text, is_default=number == default) for number, part in found)
        return await list_of_texts({"object": "list", "has_more": has_more}, texts)

    async def update(self, request: Request) -> Response:
        """Add a version after the latest, which the body must name."""
        _, new = await read_body(request, self._reader, VERSION)
        wording = Wording(new.prompt, new.variables)
        try:
            version = await self._prompts.add(
                gate_of(request.scope),
                request.path_params["prompt_id"],
                new.version,
                wording,
                default=new.set_as_default,
            )
        except NotLatest as conflict:
            raise _not_latest(conflict) from None
        except TooManyParts as fault:
            sentence = f"a prompt has at most {fault.most} versions; make another prompt"
            raise invalid(sentence, "version", "too_many_versions") from None
        return json_response(_shown(version))

    async def set_default(self, request: Request) -> Response:
        """Set the version that is shown if a query names none."""
        _, default = await read_body(request, self._reader, DEFAULT_VERSION)
        number = default.version
        try:
            version = await self._prompts.set_default(gate_of(request.scope), request.path_params["prompt_id"], number)
        except NoSuchVersion:
            raise _no_such_version(number) from None
        return json_response(_shown(version))

    async def delete(self, request: Request) -> Response:
        """Remove a prompt with all of its versions."""
        identity = request.path_params["prompt_id"]
        await self._prompts.records.delete(gate_of(request.scope), identity)
        return json_response({"id": identity, "object": "prompt.deleted", "deleted": True})

    async def _found(self, request: Request) -> Record:
        return await self._prompts.records.get(gate_of(request.scope), request.path_params["prompt_id"])


def _number(request: Request, name: str) -> int | None:
    """Return a parameter of the query that is the number of a version."""
    value = one_of_query(request, name)
    if value is not None and not _NUMBER.fullmatch(value):
        raise invalid(f"`{name}` must be the number of a version, a whole number from 1 on", name, "invalid_value")
    return None if value is None else int(value)


def _shown(version: Version) -> dict[str, Any]:
    return {
        "prompt_id": version.prompt_id,
        "version": version.number,
        "prompt": version.wording.prompt,
        "variables": [*version.wording.variables],
        "is_default": version.is_default,
    }


def _text(prompt_id: str, number: int, wording: bytes, *, is_default: bool) -> bytes:
    """Return what `_shown` returns as JSON, for the stored text of a wording.

    On a page of megabytes, to parse and to write the texts would take the event loop from others.
    """
    parts = encoded(prompt_id), number, wording[1:-1], encoded(is_default)
    return b'{"prompt_id":%b,"version":%d,%b,"is_default":%b}' % parts


def _text_of_default(record: Record) -> bytes:
    """Return the default version of a prompt as it is shown."""
    head = _HEAD.match(record.body.text)
    if head is None:
        return encoded(_shown(default_version(record)))
    return _text(record.id, int(head[1]), b"{" + record.body.text[head.end() :], is_default=True)


def _no_such_version(number: int) -> ApiError:
    sentence = f"the prompt has no version `{number}`"
    return ApiError(HTTPStatus.NOT_FOUND, sentence, code="not_found", param="version")


def _not_latest(conflict: NotLatest) -> ApiError:
    sentence = f"`version` must be the latest, which is {conflict.latest} by now; read that, and change it again"
    headers = {"x-should-retry": "false"}
    return ApiError(HTTPStatus.CONFLICT, sentence, code="conflict", param="version", headers=headers)
