-- The number of links, of their chunks, and of bytes that these take, of each store and state: kept in the transaction of
-- each change of a link. Texts that a caller has put in without a file count as `document`, whatever their state.
SET LOCAL enable_seqscan = on;
CREATE TABLE "{table}" (
    store text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    links bigint NOT NULL,
    bytes bigint NOT NULL,
    chunks bigint NOT NULL,
    PRIMARY KEY (store, state)
);
CREATE INDEX "{parent}_by_file" ON "{parent}" ((CAST(body AS json) ->> 'file_id'), id);
CREATE FUNCTION "{parent}_state"(facet text, body text) RETURNS text IMMUTABLE LANGUAGE sql AS $body$
    SELECT CASE WHEN json_typeof(CAST(body AS json) -> 'document') = 'string' THEN 'document' ELSE facet END
$body$;
CREATE FUNCTION "{parent}_number"(body text, member text) RETURNS bigint IMMUTABLE LANGUAGE sql AS $body$
    SELECT COALESCE(CAST(CAST(body AS json) ->> member AS bigint), 0)
$body$;
-- The sums of one statement are taken in their order, so that two transactions never wait for each other.
CREATE FUNCTION "{parent}_summed_up"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}" AS kept (store, state, links, bytes, chunks)
    SELECT parent, "{parent}_state"(facet, body) AS state, count(*), sum("{parent}_number"(body, 'bytes')),
        sum("{parent}_number"(body, 'chunks')) FROM came
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (store, state) DO UPDATE SET links = kept.links + excluded.links, bytes = kept.bytes + excluded.bytes,
        chunks = kept.chunks + excluded.chunks;
    RETURN NULL;
END
$body$;
CREATE FUNCTION "{parent}_summed_down"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}" AS kept (store, state, links, bytes, chunks)
    SELECT parent, "{parent}_state"(facet, body) AS state, -count(*), -sum("{parent}_number"(body, 'bytes')),
        -sum("{parent}_number"(body, 'chunks')) FROM gone
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (store, state) DO UPDATE SET links = kept.links + excluded.links, bytes = kept.bytes + excluded.bytes,
        chunks = kept.chunks + excluded.chunks;
    DELETE FROM "{table}" WHERE links = 0 AND store IN (SELECT parent FROM gone);
    RETURN NULL;
END
$body$;
CREATE FUNCTION "{parent}_summed_again"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}" AS kept (store, state, links, bytes, chunks)
    SELECT store, state, sum(changed.links), sum(changed.bytes), sum(changed.chunks) FROM (
        SELECT parent AS store, "{parent}_state"(facet, body) AS state, 1 AS links,
            "{parent}_number"(body, 'bytes') AS bytes, "{parent}_number"(body, 'chunks') AS chunks
        FROM came
        UNION ALL
        SELECT parent, "{parent}_state"(facet, body), -1, -"{parent}_number"(body, 'bytes'),
            -"{parent}_number"(body, 'chunks') FROM gone
    ) AS changed GROUP BY 1, 2 HAVING sum(changed.links) <> 0 OR sum(changed.bytes) <> 0
        OR sum(changed.chunks) <> 0 ORDER BY 1, 2
    ON CONFLICT (store, state) DO UPDATE SET links = kept.links + excluded.links, bytes = kept.bytes + excluded.bytes,
        chunks = kept.chunks + excluded.chunks;
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
