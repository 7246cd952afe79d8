"""Building of the tables of usage for commands, which have no server."""

from __future__ import annotations

from server.config import Config
from server.storage.usage.table import UsageTable
from server.wiring.databases import database_of, file_of, usage_place


def usage_table(config: Config) -> UsageTable:
    """Return the tables; raises ValueError, with a sentence, for a file that isn't there, since none is to be made."""
    backend, table = usage_place(config)
    path = file_of(config, backend)
    if path is not None and not path.is_file():
        raise ValueError(f"no server has kept anything in `{path}` yet; name the configuration of the server")
    return UsageTable(database_of(config, backend), table)
