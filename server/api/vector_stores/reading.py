"""The texts of a vector store over HTTP: what a search finds, and what is kept of one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action
from server.api.vector_stores.filters import read_filter
from server.api.vector_stores.links import Link, Status
from server.api.vector_stores.pages import LinkPages
from server.api.vector_stores.ranking import AS_USUAL, Fusion, Mode, Ranking
from server.api.vector_stores.refusals import store_expired
from server.api.vector_stores.routes import FILE, STORE
from server.api.vector_stores.search import Found, IndexOf, Search, Wanted
from server.api.vector_stores.search_body import SEARCH
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import StoreExpired
from server.fairness.outgoing import hold
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid
from server.http.json_body import read_body
from server.http.pagination import one_of_query
from server.http.request_state import gate_of
from server.http.responses import list_response
from server.json_input.reader import Reader
from server.storage.records.permitted import MOST_PAGE_BYTES
from server.storage.records.record import Record
from server.storage.vectors.index import Chunk

CHUNKS_AT_ONCE: Final = 100
"""Chunks of a file that are read from an index in one turn."""

_PLACE: Final = re.compile("[0-9]{1,9}")


class VectorStoreTexts:
    """Searches stores, and shows the chunks of their files, to callers who may read both."""

    def __init__(
        self, stores: VectorStores, search: Search, pages: LinkPages, index_of: IndexOf, reader: Reader
    ) -> None:
        self._stores = stores
        self._search = search
        self._pages = pages
        self._index_of = index_of
        self._reader = reader

    def routes(self) -> list[ApiRoute]:
        """Return the routes of searches and of chunks."""
        one = "/v1/vector_stores/{vector_store_id}"
        return [
            AskingRoute(
                f"{one}/search",
                self.search,
                methods=["POST"],
                asks=[(Action.READ, STORE)],
                may_ask=[(Action.READ, "model"), (Action.READ, FILE)],
                name="vector_stores.search",
            ),
            AskingRoute(
                f"{one}/files/{{file_id}}/content",
                self.content,
                methods=["GET"],
                asks=[(Action.READ, FILE), (Action.READ, STORE)],
                name="vector_stores.files.content",
            ),
        ]

    async def search(self, request: Request) -> Response:
        """Answer with the chunks that are the best for the queries of the body."""
        _, body = await read_body(request, self._reader, SEARCH)
        gate = gate_of(request.scope)
        store = await self._stores.readable(gate, request.path_params["vector_store_id"])
        wanted = Wanted(
            tuple(body.queries),
            body.limit,
            None if body.filters is None else read_filter(body.filters),
            Mode(body.mode),
            ranked_by(body.ranking),
        )
        try:
            found = await self._search.found(request, gate, store, wanted)
        except StoreExpired as fault:
            raise store_expired(fault.identity) from None
        await hold(sum(len(each.text) for each in found))
        frame = {
            "object": "vector_store.search_results.page",
            "search_query": body.queries,
            "has_more": False,
            "next_page": None,
        }
        return await list_response(frame, map(_shown, found))

    async def content(self, request: Request) -> Response:
        """Answer with a page of the chunks of a file: with none while it isn't taken in."""
        page = one_of_query(request, "page")
        if page is not None and not _PLACE.fullmatch(page):
            raise invalid("`page` must be the `next_page` of a page before", "page", "invalid_value")
        gate, params = gate_of(request.scope), request.path_params
        store = await self._stores.readable(gate, params["vector_store_id"])
        link = await self._pages.find(gate, store, params["file_id"])
        async with WhileConnected(request.receive):
            chunks, following = await self._chunks(store, link, int(page or 0))
        await hold(sum(len(chunk.text) for chunk in chunks))
        frame = {
            "object": "vector_store.file_content.page",
            "has_more": following is not None,
            "next_page": None if following is None else str(following),
        }
        return await list_response(frame, ({"type": "text", "text": chunk.text} for chunk in chunks))

    async def _chunks(self, store: Record, link: Link, first: int) -> tuple[Sequence[Chunk], int | None]:
        """Return the chunks from that one on which fit on a page, and the number of the next one; None for none."""
        if link.status is not Status.COMPLETED:
            return (), None
        index, found, size = self._index_of(store), list[Chunk](), 0
        while True:
            some = await index.chunks(store.body["index"], link.part, first + len(found), CHUNKS_AT_ONCE)
            for chunk in some:
                size += len(chunk.text.encode(errors="replace"))
                if found and size > MOST_PAGE_BYTES:
                    return found, first + len(found)
                found.append(chunk)
            if len(some) < CHUNKS_AT_ONCE:
                return found, None


def ranked_by(given: Mapping[str, Any]) -> Ranking:
    """Return the ranking of which a check has returned these options."""
    changes = dict(given)
    if "fusion" in changes:
        changes["fusion"] = Fusion(changes["fusion"])
    return replace(AS_USUAL, **changes)


def _shown(found: Found) -> dict[str, Any]:
    return {
        "file_id": found.file_id,
        "filename": found.filename,
        "score": found.score,
        "attributes": dict(found.attributes),
        "content": [{"type": "text", "text": found.text}],
    }
