-- One table of records. The owner is stamped from a decision, and no statement ever changes it.
CREATE TABLE "{table}" (
    id TEXT PRIMARY KEY,
    parent TEXT {references},
    ordering INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    owner_principal TEXT,
    owner_issuer TEXT,
    access_attributes TEXT NOT NULL CHECK (json_valid(access_attributes)),
    origin TEXT NOT NULL CHECK (origin IN ('config', 'created')),
    facet TEXT NOT NULL,
    expires_at INTEGER,
    version INTEGER NOT NULL,
    labels TEXT NOT NULL CHECK (json_valid(labels)),
    body TEXT NOT NULL CHECK (json_valid(body)),
    CHECK ((owner_principal IS NULL) = (owner_issuer IS NULL))
) STRICT;
CREATE INDEX "{table}_by_owner" ON "{table}" (owner_principal, owner_issuer, ordering, id);
CREATE INDEX "{table}_by_parent" ON "{table}" (parent, ordering, id);
CREATE INDEX "{table}_by_origin" ON "{table}" (origin) WHERE origin = 'config';
-- Of an expression, so that no statement uses it that doesn't say so: see `server.storage.selecting`.
CREATE INDEX "{table}_by_age" ON "{table}" ((ordering + 0), id);
CREATE INDEX "{table}_by_end" ON "{table}" (expires_at) WHERE expires_at IS NOT NULL;
CREATE TRIGGER "{table}_owner_never_changes"
BEFORE UPDATE ON "{table}"
WHEN NEW.id IS NOT OLD.id OR NEW.parent IS NOT OLD.parent
    OR NEW.ordering IS NOT OLD.ordering OR NEW.created_at IS NOT OLD.created_at
    OR NEW.owner_principal IS NOT OLD.owner_principal OR NEW.owner_issuer IS NOT OLD.owner_issuer
    OR NEW.access_attributes IS NOT OLD.access_attributes OR NEW.origin IS NOT OLD.origin
BEGIN
    SELECT RAISE(ABORT, 'the owner of a record never changes');
END;
