"""Vector stores of the configuration, which are there from the start on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from policy.vocabulary import Origin
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.store_record import NewStore
from server.storage.database.database import AlreadyThere
from server.storage.records.record import Draft, Record

MOST_LOOKED_AT: Final = 1000
"""Stores of earlier configurations that a start looks for."""

_FIXED: Final = {"embedding_model": "model", "dimensions": "dimensions", "provider_id": "provider"}

_log: Final = logging.getLogger("ostiary.vectors")


async def write_configured(stores: VectorStores, configured: Mapping[str, NewStore]) -> None:
    """Make the stores of the configuration that there are not, without an owner, and say what else there is of it.

    A store keeps what it was made with, and one that the configuration has no more stays: what is in them would be
    lost. Raises DatabaseUnavailable.
    """
    there = await stores.from_configuration(MOST_LOOKED_AT)
    for identity, new in configured.items():
        found = there.pop(identity, None) or await stores.find(identity)
        if found is None:
            record = replace(Draft(identity, new.body()).owned_by(None), origin=Origin.CONFIG)
            # Another server that starts at the same time has made it.
            with suppress(AlreadyThere):
                await stores.insert(record)
        elif found.origin is not Origin.CONFIG:
            _log.warning(
                "the vector store `%s` of the configuration is not there: a caller has registered that id; choose "
                "another one, or let the store be deleted",
                identity,
            )
        else:
            _compare(found, new)
    for identity in there:
        _log.warning(
            "the vector store `%s` is in no configuration any more, and stays with its content; to remove it, send "
            "`DELETE /v1/vector_stores/%s`",
            identity,
            identity,
        )


def _compare(found: Record, new: NewStore) -> None:
    """Log what a store was made with that the configuration says otherwise now."""
    body = new.body()
    for member, what in _FIXED.items():
        before, now = found.body[member], body[member]
        if before != now and not (member == "dimensions" and None in (before, now)):
            _log.warning(
                "the vector store `%s` keeps the %s `%s` that it was made with, and not `%s` as the configuration says "
                "now; give a store with that another id",
                found.id,
                what,
                before,
                now,
            )
