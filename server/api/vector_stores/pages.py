"""Pages of the files of a store or of a batch: full ones, of the files that the caller may read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from server.api.vector_stores.links import Link, Status, link_id
from server.api.vector_stores.store import VectorStores
from server.authz.request_authorization import Gate
from server.fairness.outgoing import hold
from server.http.pagination import ListQuery
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Page, Record
from server.storage.records.sql_filter import RowVerdict, SqlFilter

_WINDOW: Final = 1000
"""Links that one statement looks at."""

_LARGEST: Final = 250
"""Links whose files are asked about together."""


@dataclass(frozen=True, slots=True)
class LinkPage:
    """Links in the order of the page; `has_more` is exact."""

    links: tuple[Link, ...]
    has_more: bool


class LinkPages:
    """Finds links whose files the caller may read; a store has few enough of them for every page to be full."""

    def __init__(self, stores: VectorStores, files: GuardedStore) -> None:
        self._stores = stores
        self._files = files

    async def find(self, gate: Gate, store: Record, file_id: str) -> Link:
        """Return the link to a file; raises NotFound, also where the caller may not read the file."""
        link = await self._stores.link(link_id(store, file_id))
        readable = await self._files.readable(gate, [file_id])
        if link is None or file_id not in readable:
            raise NotFound(file_id)
        return link

    async def page(
        self, gate: Gate, store: Record, query: ListQuery, status: Status | None, batch: Record | None = None
    ) -> LinkPage:
        """Return the page that the query asks for, of all files of the store or of one batch.

        Raises NotFound for a cursor that is no file of the store that the caller may read, Overlong and NoRoom.
        """
        after, before = [
            None if cursor is None else (await self.find(gate, store, cursor)).record
            for cursor in (query.after, query.before)
        ]
        facet = None if status is None else status.value
        wanted = Page(query.limit + 1, after, before, query.newest_first, store.id, facet)
        chosen = self._chosen(batch)
        found: list[Link] = []
        while True:
            window = await self._stores.links.page(chosen, wanted, _WINDOW)
            kept = await self._readable(gate, [stored.record for stored, _ in window.rows])
            found = [*kept, *found] if wanted.is_backwards else [*found, *kept]
            if len(found) > query.limit or window.end is None:
                break
            more = min(2 * wanted.limit, _LARGEST)
            if wanted.is_backwards:
                wanted = replace(wanted, limit=more, before=window.end)
            else:
                wanted = replace(wanted, limit=more, after=window.end)
        links = found[-query.limit :] if wanted.is_backwards else found[: query.limit]
        await hold(sum(link.record.body.size for link in links))
        return LinkPage(tuple(links), len(found) > query.limit)

    async def _readable(self, gate: Gate, records: Sequence[Record]) -> list[Link]:
        links = [Link(record) for record in await self._stores.links.whole(records)]
        if not links:
            return []
        readable = await self._files.readable_among(gate, [link.file_id for link in links])
        return [link for link in links if link.file_id in readable]

    def _chosen(self, batch: Record | None) -> SqlFilter:
        """Return the filter of the links to files, or of those of a batch."""
        kind = self._stores.links.database.kind
        where = _FILES[kind]
        if batch is not None:
            where += f" AND {_OF_BATCH[kind].format(self._stores.batches.name)}"
        verdict = f"CASE WHEN {where} THEN '{RowVerdict.PERMIT}' ELSE '{RowVerdict.DENY}' END"
        parameters = () if batch is None else (batch.id,)
        outcomes = frozenset((RowVerdict.PERMIT, RowVerdict.DENY))
        return SqlFilter(verdict, "1 = 1", parameters, outcomes, len(parameters))


_FILES: Final = {
    "sqlite": "json_type(body, '$.document') IS NOT 'text'",
    "postgresql": "json_typeof(CAST(body AS json) -> 'document') IS DISTINCT FROM 'string'",
}
_OF_BATCH: Final = {
    "sqlite": "id IN (SELECT file.value FROM \"{0}\" AS batch, json_each(batch.body, '$.files') AS file "
    "WHERE batch.id = ?1)",
    "postgresql": "id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(batch.body AS jsonb) -> 'files') "
    'FROM "{0}" AS batch WHERE batch.id = CAST(?1 AS text)))',
}
