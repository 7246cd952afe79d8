-- Calls of tools that wait for the approval of their callers: digests of what is to be done, and nothing of it itself.
CREATE TABLE "{table}" (
    id text COLLATE "C" PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    deed text COLLATE "C" NOT NULL,
    tool text COLLATE "C" NOT NULL,
    until bigint NOT NULL
);
CREATE INDEX "{table}_by_owner" ON "{table}" (owner, until);
CREATE INDEX "{table}_by_end" ON "{table}" (until);
