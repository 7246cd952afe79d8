-- What each owner keeps, counted in the transaction that changes it. The parts of a record have no owner: they count with
-- the one that their `facet` names, as `server.storage.records.usage.owner_key` has it.
SET LOCAL enable_seqscan = on;
CREATE TABLE IF NOT EXISTS ostiary_usage (
    key text COLLATE "C" PRIMARY KEY,
    records bigint NOT NULL,
    bytes bigint NOT NULL
);
CREATE FUNCTION "{table}_counted_with"(facet text, principal text, issuer text) RETURNS text IMMUTABLE LANGUAGE sql AS
$body$
    SELECT 'owner:' || CASE WHEN {is_part} THEN facet WHEN principal IS NULL THEN ''
        ELSE length(issuer) || ':' || issuer || principal END
$body$;
CREATE FUNCTION "{table}_size"(body text) RETURNS bigint IMMUTABLE LANGUAGE sql AS
$body$
    SELECT octet_length(body) + CASE WHEN {has_blobs}
        THEN CASE WHEN json_typeof(body::json -> 'bytes') = 'number' THEN (body::json ->> 'bytes')::bigint ELSE 0 END
        ELSE 0 END
$body$;
-- To remove a large row takes long, so those of one parent are found apart from the others.
CREATE INDEX "{table}_large" ON "{table}" (parent, ordering, id) WHERE octet_length(body) > 4096;
UPDATE "{table}" AS part SET facet = (
    SELECT substr("{parent}_counted_with"(whole.facet, whole.owner_principal, whole.owner_issuer), length('owner:') + 1)
    FROM "{parent}" AS whole WHERE whole.id = part.parent
) WHERE {is_part};
-- The keys of one statement are taken in their order, so that two transactions never wait for each other.
CREATE FUNCTION "{table}_counted"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO ostiary_usage AS kept (key, records, bytes)
    SELECT key, sum(changed.records), sum(changed.bytes) FROM (
        SELECT "{table}_counted_with"(facet, owner_principal, owner_issuer) AS key,
            CASE WHEN {is_part} THEN 0 ELSE 1 END AS records, "{table}_size"(body) AS bytes
        FROM came WHERE {is_counted}
        UNION ALL SELECT 'parts:{table}/' || parent, 1, 0 FROM came WHERE {by_parent}
    ) AS changed GROUP BY key HAVING sum(changed.records) <> 0 OR sum(changed.bytes) <> 0 ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET records = kept.records + excluded.records, bytes = kept.bytes + excluded.bytes;
    RETURN NULL;
END
$body$;
CREATE FUNCTION "{table}_discounted"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO ostiary_usage AS kept (key, records, bytes)
    SELECT key, sum(changed.records), sum(changed.bytes) FROM (
        SELECT "{table}_counted_with"(facet, owner_principal, owner_issuer) AS key,
            -CASE WHEN {is_part} THEN 0 ELSE 1 END AS records, -"{table}_size"(body) AS bytes
        FROM gone WHERE {is_counted}
        UNION ALL SELECT 'parts:{table}/' || parent, -1, 0 FROM gone WHERE {by_parent}
    ) AS changed GROUP BY key HAVING sum(changed.records) <> 0 OR sum(changed.bytes) <> 0 ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET records = kept.records + excluded.records, bytes = kept.bytes + excluded.bytes;
    DELETE FROM ostiary_usage WHERE records = 0 AND bytes = 0 AND key = ANY (ARRAY(
        SELECT "{table}_counted_with"(facet, owner_principal, owner_issuer) FROM gone WHERE {is_counted}
        UNION SELECT 'parts:{table}/' || parent FROM gone WHERE {by_parent}
    ));
    RETURN NULL;
END
$body$;
CREATE FUNCTION "{table}_recounted"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO ostiary_usage AS kept (key, records, bytes)
    SELECT key, sum(changed.records), sum(changed.bytes) FROM (
        SELECT "{table}_counted_with"(facet, owner_principal, owner_issuer) AS key,
            CASE WHEN {is_part} THEN 0 ELSE 1 END AS records, "{table}_size"(body) AS bytes
        FROM came WHERE {is_counted}
        UNION ALL SELECT 'parts:{table}/' || parent, 1, 0 FROM came WHERE {by_parent}
        UNION ALL
        SELECT "{table}_counted_with"(facet, owner_principal, owner_issuer) AS key,
            -CASE WHEN {is_part} THEN 0 ELSE 1 END AS records, -"{table}_size"(body) AS bytes
        FROM gone WHERE {is_counted}
        UNION ALL SELECT 'parts:{table}/' || parent, -1, 0 FROM gone WHERE {by_parent}
    ) AS changed GROUP BY key HAVING sum(changed.records) <> 0 OR sum(changed.bytes) <> 0 ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET records = kept.records + excluded.records, bytes = kept.bytes + excluded.bytes;
    RETURN NULL;
END
$body$;
CREATE TRIGGER "{table}_counted" AFTER INSERT ON "{table}" REFERENCING NEW TABLE AS came
FOR EACH STATEMENT WHEN ({is_counted}) EXECUTE FUNCTION "{table}_counted"();
CREATE TRIGGER "{table}_discounted" AFTER DELETE ON "{table}" REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT WHEN ({is_counted}) EXECUTE FUNCTION "{table}_discounted"();
CREATE TRIGGER "{table}_recounted" AFTER UPDATE ON "{table}" REFERENCING NEW TABLE AS came OLD TABLE AS gone
FOR EACH STATEMENT WHEN ({is_counted}) EXECUTE FUNCTION "{table}_recounted"();
CREATE FUNCTION "{table}_payer_never_changes"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the payer of a part never changes';
END
$body$;
CREATE TRIGGER "{table}_payer_never_changes" BEFORE UPDATE ON "{table}" FOR EACH ROW
WHEN ({is_part} AND NEW.facet <> OLD.facet) EXECUTE FUNCTION "{table}_payer_never_changes"();
-- Now that no other transaction can add rows: those that there are.
INSERT INTO ostiary_usage AS kept (key, records, bytes)
SELECT key, sum(changed.records), sum(changed.bytes) FROM (
    SELECT "{table}_counted_with"(facet, owner_principal, owner_issuer) AS key,
        CASE WHEN {is_part} THEN 0 ELSE 1 END AS records, "{table}_size"(body) AS bytes
    FROM "{table}" WHERE {is_counted}
    UNION ALL SELECT 'parts:{table}/' || parent, 1, 0 FROM "{table}" WHERE {by_parent}
) AS changed GROUP BY key HAVING sum(changed.records) <> 0 OR sum(changed.bytes) <> 0 ORDER BY key COLLATE "C"
ON CONFLICT (key) DO UPDATE SET records = kept.records + excluded.records, bytes = kept.bytes + excluded.bytes;
