"""Building of the tables of usage for commands, which have no server."""

from __future__ import annotations

from typing import Final

from server.config import Config
from server.storage.usage.table import UsageTable
from server.wiring.databases import database_of, file_of, table_name

USAGE: Final = "usage"
"""The name of the table where the configuration has none."""


def usage_table(config: Config) -> UsageTable:
    """Return the tables; raises ValueError, with a sentence, for a file that isn't there, since none is to be made."""
    named = config.storage.stores.usage
    backend = None if named is None else named.backend
    path = file_of(config, backend)
    if path is not None and not path.is_file():
        raise ValueError(f"no server has kept anything in `{path}` yet; name the configuration of the server")
    return UsageTable(database_of(config, backend), table_name(named, USAGE))
