-- One table of records. The owner is stamped from a decision, and no statement ever changes it.
CREATE TABLE "{table}" (
    id text COLLATE "C" PRIMARY KEY,
    parent text COLLATE "C" {references},
    ordering bigint NOT NULL,
    created_at bigint NOT NULL,
    owner_principal text COLLATE "C",
    owner_issuer text COLLATE "C",
    access_attributes text NOT NULL CHECK (access_attributes::jsonb IS NOT NULL),
    origin text COLLATE "C" NOT NULL CHECK (origin IN ('config', 'created')),
    facet text COLLATE "C" NOT NULL,
    expires_at bigint,
    version bigint NOT NULL,
    labels text NOT NULL CHECK (labels::jsonb IS NOT NULL),
    body text NOT NULL CHECK (body::json IS NOT NULL),
    CHECK ((owner_principal IS NULL) = (owner_issuer IS NULL))
);
CREATE INDEX "{table}_by_owner" ON "{table}" (owner_principal, owner_issuer, ordering, id);
CREATE INDEX "{table}_by_parent" ON "{table}" (parent, ordering, id);
CREATE INDEX "{table}_by_origin" ON "{table}" (origin) WHERE origin = 'config';
-- Of an expression, so that no statement uses it that doesn't say so: see `server.storage.selecting`.
CREATE INDEX "{table}_by_age" ON "{table}" ((ordering + 0), id);
CREATE INDEX "{table}_by_end" ON "{table}" (expires_at) WHERE expires_at IS NOT NULL;
CREATE FUNCTION "{table}_owner_never_changes"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the owner of a record never changes';
END
$body$;
CREATE TRIGGER "{table}_owner_never_changes"
BEFORE UPDATE ON "{table}" FOR EACH ROW
WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.parent IS DISTINCT FROM OLD.parent
    OR NEW.ordering IS DISTINCT FROM OLD.ordering OR NEW.created_at IS DISTINCT FROM OLD.created_at
    OR NEW.owner_principal IS DISTINCT FROM OLD.owner_principal OR NEW.owner_issuer IS DISTINCT FROM OLD.owner_issuer
    OR NEW.access_attributes IS DISTINCT FROM OLD.access_attributes OR NEW.origin IS DISTINCT FROM OLD.origin)
EXECUTE FUNCTION "{table}_owner_never_changes"();
