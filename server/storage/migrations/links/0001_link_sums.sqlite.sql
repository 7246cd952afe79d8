-- The number of links, of their chunks, and of bytes that these take, of each store and state: kept in the transaction of
-- each change of a link. Texts that a caller has put in without a file count as `document`, whatever their state.
CREATE TABLE "{table}" (
    store TEXT NOT NULL,
    state TEXT NOT NULL,
    links INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    PRIMARY KEY (store, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX "{parent}_by_file" ON "{parent}" (json_extract(body, '$.file_id'), id);
CREATE TRIGGER "{parent}_summed_up" AFTER INSERT ON "{parent}"
BEGIN
    INSERT INTO "{table}" (store, state, links, bytes, chunks)
    VALUES (NEW.parent, iif(json_type(NEW.body, '$.document') = 'text', 'document', NEW.facet), 1,
        COALESCE(json_extract(NEW.body, '$.bytes'), 0), COALESCE(json_extract(NEW.body, '$.chunks'), 0))
    ON CONFLICT (store, state) DO UPDATE SET links = links + 1, bytes = bytes + excluded.bytes,
        chunks = chunks + excluded.chunks;
END;
CREATE TRIGGER "{parent}_summed_down" AFTER DELETE ON "{parent}"
BEGIN
    UPDATE "{table}" SET links = links - 1, bytes = bytes - COALESCE(json_extract(OLD.body, '$.bytes'), 0),
        chunks = chunks - COALESCE(json_extract(OLD.body, '$.chunks'), 0)
    WHERE store = OLD.parent AND state = iif(json_type(OLD.body, '$.document') = 'text', 'document', OLD.facet);
    DELETE FROM "{table}" WHERE store = OLD.parent AND links = 0;
END;
CREATE TRIGGER "{parent}_summed_again" AFTER UPDATE OF facet, body ON "{parent}"
WHEN NEW.facet <> OLD.facet OR json_extract(NEW.body, '$.bytes') IS NOT json_extract(OLD.body, '$.bytes')
    OR json_extract(NEW.body, '$.chunks') IS NOT json_extract(OLD.body, '$.chunks')
    OR json_type(NEW.body, '$.document') IS NOT json_type(OLD.body, '$.document')
BEGIN
    INSERT INTO "{table}" (store, state, links, bytes, chunks)
    VALUES (NEW.parent, iif(json_type(NEW.body, '$.document') = 'text', 'document', NEW.facet), 1,
        COALESCE(json_extract(NEW.body, '$.bytes'), 0), COALESCE(json_extract(NEW.body, '$.chunks'), 0))
    ON CONFLICT (store, state) DO UPDATE SET links = links + 1, bytes = bytes + excluded.bytes,
        chunks = chunks + excluded.chunks;
    UPDATE "{table}" SET links = links - 1, bytes = bytes - COALESCE(json_extract(OLD.body, '$.bytes'), 0),
        chunks = chunks - COALESCE(json_extract(OLD.body, '$.chunks'), 0)
    WHERE store = OLD.parent AND state = iif(json_type(OLD.body, '$.document') = 'text', 'document', OLD.facet);
    DELETE FROM "{table}" WHERE store = OLD.parent AND links = 0;
END;
