"""Entries of the configuration as records, so that lists and lookups show them beside those that callers register."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from policy.vocabulary import Origin
from server.storage.database.database import AlreadyThere, Overtaken
from server.storage.records.record import Draft, Json
from server.storage.records.table import RecordTable

MOST_LOOKED_AT: Final = 1000
"""Entries of earlier configurations that a start looks for."""

_log: Final = logging.getLogger("ostiary.storage")


async def write_entries(table: RecordTable, configured: Mapping[str, Json], what: str) -> None:
    """Write the records of the configuration as it has them, without an owner; raises DatabaseUnavailable.

    Those of earlier configurations go. A record that a caller has registered under a name that the configuration has
    now gives way, which is logged: rules that are about the name are about the configuration's entry. `what` is the
    word for such an entry.
    """
    for stored in await table.chosen("origin = 'config'", limit=MOST_LOOKED_AT):
        if configured.get(stored.id) != {**stored.record.body}:
            with suppress(Overtaken):
                await table.database.write(table.removing_this(stored.record))
    for identity, body in configured.items():
        found = await table.find(identity)
        if found is not None and found.origin is not Origin.CONFIG:
            _log.warning("the %s `%s` that a caller has registered gives way to the configuration's", what, identity)
            with suppress(Overtaken):
                await table.database.write(table.removing_this(found.record))
            found = None
        if found is None:
            record = replace(Draft(identity, body).owned_by(None), origin=Origin.CONFIG)
            # Another server that starts at the same time has made it.
            with suppress(AlreadyThere):
                await table.database.write(table.inserting(record))
