"""Limits of what callers use of a database at the same time, and of the time of one statement."""

from __future__ import annotations

from typing import Final

from server.fairness.shares import Share

LIST_SECONDS: Final = 5.0
"""Seconds that one statement of a list may take; a list is many statements, most of which take milliseconds."""

SQLITE_READS: Final = Share("reads of records", 64, each=32, waiting=8192, waiting_each=2048, seconds=10.0)
"""Short statements under way on the connections that read an SQLite file, by one process."""

SQLITE_WRITES: Final = Share("writes of records", 64, each=32, waiting=8192, waiting_each=2048, seconds=10.0)
"""Statements of changes that share a transaction in an SQLite file, by one process."""

SQLITE_LISTS: Final = Share("lists of records", 2, each=1, waiting=1024, waiting_each=128, seconds=10.0)
"""Statements of lists under way in an SQLite file, each on a connection of its own, by one process."""

POSTGRES_CALLS: Final = Share("reads and writes of records", 12, each=8, waiting=8192, waiting_each=2048, seconds=10.0)
"""Connections to PostgreSQL for short statements and changes, in one process."""

POSTGRES_LISTS: Final = Share("lists of records", 4, each=2, waiting=1024, waiting_each=128, seconds=10.0)
"""Connections to PostgreSQL for statements of lists, in one process."""
