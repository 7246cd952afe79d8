-- The usage of models. An account is a principal with the attributes that it had: its owner never changes, so that a
-- decision about an account is about everything that is counted for it. Without an owner it is that of several callers.
CREATE TABLE "{table}" (
    account TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    owner_principal TEXT,
    owner_issuer TEXT,
    access_attributes TEXT NOT NULL CHECK (json_valid(access_attributes)),
    origin TEXT NOT NULL DEFAULT 'created' CHECK (origin = 'created'),
    CHECK ((owner_principal IS NULL) = (owner_issuer IS NULL))
) STRICT;
CREATE INDEX "{table}_by_name" ON "{table}" (id);
CREATE INDEX "{table}_by_owner" ON "{table}" (owner_principal, owner_issuer);
CREATE TRIGGER "{table}_never_changes" BEFORE UPDATE ON "{table}"
BEGIN
    SELECT RAISE(ABORT, 'the owner of usage never changes');
END;
CREATE TABLE "{table}$days" (
    account TEXT NOT NULL REFERENCES "{table}" (account),
    day INTEGER NOT NULL,
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    PRIMARY KEY (account, day, team, model, provider)
) STRICT, WITHOUT ROWID;
CREATE INDEX "{table}$days_by_day" ON "{table}$days" (day);
-- The number of the last batch of each process, so that one is written once though its commit was in doubt.
CREATE TABLE "{table}$writers" (
    writer TEXT PRIMARY KEY,
    batch INTEGER NOT NULL,
    written_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
