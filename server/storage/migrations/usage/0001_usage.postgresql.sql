-- The usage of models. An account is a principal with the attributes that it had: its owner never changes, so that a
-- decision about an account is about everything that is counted for it. Without an owner it is that of several callers.
CREATE TABLE "{table}" (
    account text COLLATE "C" PRIMARY KEY,
    id text COLLATE "C" NOT NULL,
    owner_principal text COLLATE "C",
    owner_issuer text COLLATE "C",
    access_attributes text NOT NULL CHECK (access_attributes::jsonb IS NOT NULL),
    origin text COLLATE "C" NOT NULL DEFAULT 'created' CHECK (origin = 'created'),
    CHECK ((owner_principal IS NULL) = (owner_issuer IS NULL))
);
CREATE INDEX "{table}_by_name" ON "{table}" (id);
CREATE INDEX "{table}_by_owner" ON "{table}" (owner_principal, owner_issuer);
CREATE FUNCTION "{table}_never_changes"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the owner of usage never changes';
END
$body$;
CREATE TRIGGER "{table}_never_changes" BEFORE UPDATE ON "{table}" FOR EACH ROW
EXECUTE FUNCTION "{table}_never_changes"();
CREATE TABLE "{table}$days" (
    account text COLLATE "C" NOT NULL REFERENCES "{table}" (account),
    day bigint NOT NULL,
    team text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    requests bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL,
    PRIMARY KEY (account, day, team, model, provider)
);
CREATE INDEX "{table}$days_by_day" ON "{table}$days" (day);
-- The number of the last batch of each process, so that one is written once though its commit was in doubt.
CREATE TABLE "{table}$writers" (
    writer text COLLATE "C" PRIMARY KEY,
    batch bigint NOT NULL,
    written_at bigint NOT NULL
);
