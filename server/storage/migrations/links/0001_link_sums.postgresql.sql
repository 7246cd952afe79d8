-- The number of links, and of bytes that their chunks take, of each store and state: kept in the transaction of each
-- change of a link. Texts that a caller has put in without a file count as `document`, whatever their state.
SET LOCAL enable_seqscan = on;
CREATE TABLE "{table}" (
    store text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    links bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (store, state)
);
CREATE INDEX "{parent}_by_file" ON "{parent}" ((CAST(body AS json) ->> 'file_id'), id);
CREATE FUNCTION "{parent}_state"(facet text, body text) RETURNS text IMMUTABLE LANGUAGE sql AS $body$
    SELECT CASE WHEN json_typeof(CAST(body AS json) -> 'document') = 'string' THEN 'document' ELSE facet END
$body$;
CREATE FUNCTION "{parent}_bytes"(body text) RETURNS bigint IMMUTABLE LANGUAGE sql AS $body$
    SELECT COALESCE(CAST(CAST(body AS json) ->> 'bytes' AS bigint), 0)
$body$;
-- The sums of one statement are taken in their order, so that two transactions never wait for each other.
CREATE FUNCTION "{parent}_summed_up"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}" AS kept (store, state, links, bytes)
    SELECT parent, "{parent}_state"(facet, body) AS state, count(*), sum("{parent}_bytes"(body)) FROM came
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (store, state) DO UPDATE SET links = kept.links + excluded.links, bytes = kept.bytes + excluded.bytes;
    RETURN NULL;
END
$body$;
CREATE FUNCTION "{parent}_summed_down"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}" AS kept (store, state, links, bytes)
    SELECT parent, "{parent}_state"(facet, body) AS state, -count(*), -sum("{parent}_bytes"(body)) FROM gone
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (store, state) DO UPDATE SET links = kept.links + excluded.links, bytes = kept.bytes + excluded.bytes;
    DELETE FROM "{table}" WHERE links = 0 AND store IN (SELECT parent FROM gone);
    RETURN NULL;
END
$body$;
CREATE FUNCTION "{parent}_summed_again"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}" AS kept (store, state, links, bytes)
    SELECT store, state, sum(changed.links), sum(changed.bytes) FROM (
        SELECT parent AS store, "{parent}_state"(facet, body) AS state, 1 AS links, "{parent}_bytes"(body) AS bytes
        FROM came
        UNION ALL
        SELECT parent, "{parent}_state"(facet, body), -1, -"{parent}_bytes"(body) FROM gone
    ) AS changed GROUP BY 1, 2 HAVING sum(changed.links) <> 0 OR sum(changed.bytes) <> 0 ORDER BY 1, 2
    ON CONFLICT (store, state) DO UPDATE SET links = kept.links + excluded.links, bytes = kept.bytes + excluded.bytes;
    DELETE FROM "{table}" WHERE links = 0 AND store IN (SELECT parent FROM gone);
    RETURN NULL;
END
$body$;
CREATE TRIGGER "{parent}_summed_up" AFTER INSERT ON "{parent}" REFERENCING NEW TABLE AS came
FOR EACH STATEMENT EXECUTE FUNCTION "{parent}_summed_up"();
CREATE TRIGGER "{parent}_summed_down" AFTER DELETE ON "{parent}" REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION "{parent}_summed_down"();
CREATE TRIGGER "{parent}_summed_again" AFTER UPDATE ON "{parent}" REFERENCING NEW TABLE AS came OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION "{parent}_summed_again"();
