"""The parts of a vector store that a caller may find, which every search asks for first and is limited to.

A part is found where its link is completed and meets the search's filter, and where its file exists and the policy
lets the caller read it: the filter of a list of files says so, as for `GET /v1/files`. So a file that is deleted, has
expired or may not be read any more is not found from that moment on, whatever the index still holds. A text that was
put in without a file is found by every caller who may read the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from server.api.vector_stores.filters import Filter, condition_of
from server.api.vector_stores.links import FILE_ID, MOST_LINKS, Link, Status
from server.api.vector_stores.store import VectorStores
from server.authz.request_authorization import Gate
from server.storage.database.database import Value
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Record

READ_AT_ONCE: Final = 1000
"""Links that one statement looks at."""

_PART: Final = {"sqlite": "json_extract(body, '$.part')", "postgresql": "CAST(CAST(body AS json) ->> 'part' AS bigint)"}
_BY_PARENT: Final = {"sqlite": ' INDEXED BY "{}_by_parent"', "postgresql": ""}


@dataclass(frozen=True, slots=True)
class Place:
    """The link that a part belongs to, by its record's id, and the file; empty for a text without one."""

    link: str
    file_id: str


class Findable:
    """Says what may be found in stores that the caller may read; `files` are the files as callers see them."""

    def __init__(self, stores: VectorStores, files: GuardedStore) -> None:
        self._stores = stores
        self._files = files
        links = stores.links
        self._select = (
            f"SELECT ordering, id, {_PART[links.database.kind]}, {FILE_ID[links.database.kind]} "  # noqa: S608 - a checked name
            f'FROM "{links.name}"{_BY_PARENT[links.database.kind].format(links.name)} '
            "WHERE parent = ?1 AND ordering >= ?2 AND (ordering, id) > (?2, ?3) AND facet = ?4"
        )

    async def parts(self, gate: Gate, store: Record, wanted: Filter | None) -> dict[int, Place]:
        """Return the parts of the store that the caller may find, and to which links they belong.

        Raises ListTooLong, Overlong, NoRoom, PolicyUnavailable and DatabaseUnavailable.
        """
        places = await self._completed(store, wanted)
        files = {place.file_id for place in places.values() if place.file_id}
        readable = await self._files.readable_among(gate, [*files]) if files else set[str]()
        return {part: place for part, place in places.items() if not place.file_id or place.file_id in readable}

    async def described(self, places: Iterable[Place]) -> Mapping[str, tuple[Link, str]]:
        """Return the links of these places by their ids, with the names of their files, as far as both are still there.

        The caller may find them, as `parts` has said.
        """
        wanted = {place.link: place for place in places}
        found = await self._stores.links.find_all([*wanted])
        links = await self._stores.links.whole([stored.record for stored in found])
        files = await self._files.known([place.file_id for place in wanted.values() if place.file_id])
        named = {record.id: record for record in await self._files.whole([*files.values()], held=True)}
        described = dict[str, tuple[Link, str]]()
        for link in map(Link, links):
            file = named.get(link.file_id)
            if link.status is Status.COMPLETED and (file is not None or not link.file_id):
                described[link.id] = (link, file.body["filename"] if file is not None else link.document or "")
        return described

    async def _completed(self, store: Record, wanted: Filter | None) -> dict[int, Place]:
        """Return the parts of completed links that meet the filter."""
        condition = None if wanted is None else condition_of(wanted, self._stores.links.database.kind, 5)
        filters, values = ("", ()) if condition is None else (f" AND ({condition.text})", condition.values)
        statement = f"{self._select}{filters} ORDER BY ordering, id LIMIT {READ_AT_ONCE}"
        places = dict[int, Place]()
        after: tuple[int, str] = (0, "")
        while len(places) < MOST_LINKS:
            bound: list[Value] = [store.id, *after, Status.COMPLETED.value, *values]
            rows = await self._stores.links.database.scan(statement, *bound)
            places |= {part: Place(link, file_id) for _, link, part, file_id in rows}
            if len(rows) < READ_AT_ONCE:
                break
            after = (rows[-1][0], rows[-1][1])
        return places
