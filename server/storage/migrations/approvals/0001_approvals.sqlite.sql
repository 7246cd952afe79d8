-- Calls of tools that wait for the approval of their callers: digests of what is to be done, and nothing of it itself.
CREATE TABLE "{table}" (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    deed TEXT NOT NULL,
    tool TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX "{table}_by_owner" ON "{table}" (owner, until);
CREATE INDEX "{table}_by_end" ON "{table}" (until);
