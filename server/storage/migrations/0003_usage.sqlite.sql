-- What each owner keeps, counted in the transaction that changes it. The parts of a record have no owner: they count with
-- the one that their `facet` names, as `server.storage.records.usage.owner_key` has it.
CREATE TABLE IF NOT EXISTS ostiary_usage (
    key TEXT PRIMARY KEY,
    records INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE "{table}" ADD COLUMN counted_with TEXT GENERATED ALWAYS AS (
    'owner:' || CASE WHEN {is_part} THEN facet WHEN owner_principal IS NULL THEN ''
        ELSE length(owner_issuer) || ':' || owner_issuer || owner_principal END
) VIRTUAL;
ALTER TABLE "{table}" ADD COLUMN size INTEGER GENERATED ALWAYS AS (
    length(CAST(body AS BLOB))
    + CASE WHEN {has_blobs} AND json_type(body, '$.bytes') = 'integer' THEN json_extract(body, '$.bytes') ELSE 0 END
) VIRTUAL;
-- To remove a large row takes long, so those of one parent are found apart from the others.
CREATE INDEX "{table}_large" ON "{table}" (parent, ordering, id) WHERE length(CAST(body AS BLOB)) > 4096;
UPDATE "{table}" SET facet = (
    SELECT substr(whole.counted_with, length('owner:') + 1) FROM "{parent}" AS whole WHERE whole.id = "{table}".parent
) WHERE {is_part};
INSERT INTO ostiary_usage (key, records, bytes)
SELECT counted_with, sum(iif({is_part}, 0, 1)), sum(size) FROM "{table}" WHERE {is_counted} GROUP BY counted_with
ON CONFLICT (key) DO UPDATE SET records = records + excluded.records, bytes = bytes + excluded.bytes;
INSERT INTO ostiary_usage (key, records, bytes)
SELECT 'parts:{table}/' || parent, count(*), 0 FROM "{table}" WHERE {by_parent} GROUP BY parent
ON CONFLICT (key) DO UPDATE SET records = records + excluded.records;
CREATE TRIGGER "{table}_counted" AFTER INSERT ON "{table}" WHEN {is_counted}
BEGIN
    INSERT INTO ostiary_usage (key, records, bytes) VALUES (NEW.counted_with, iif({is_part}, 0, 1), NEW.size)
    ON CONFLICT (key) DO UPDATE SET records = records + excluded.records, bytes = bytes + excluded.bytes;
    INSERT INTO ostiary_usage (key, records, bytes) SELECT 'parts:{table}/' || NEW.parent, 1, 0 WHERE {by_parent}
    ON CONFLICT (key) DO UPDATE SET records = records + 1;
END;
CREATE TRIGGER "{table}_discounted" AFTER DELETE ON "{table}" WHEN {is_counted}
BEGIN
    UPDATE ostiary_usage SET records = records - iif({is_part}, 0, 1), bytes = bytes - OLD.size
    WHERE key = OLD.counted_with;
    DELETE FROM ostiary_usage WHERE key = OLD.counted_with AND records = 0 AND bytes = 0;
    UPDATE ostiary_usage SET records = records - 1 WHERE {by_parent} AND key = 'parts:{table}/' || OLD.parent;
    DELETE FROM ostiary_usage WHERE {by_parent} AND key = 'parts:{table}/' || OLD.parent AND records = 0;
END;
CREATE TRIGGER "{table}_recounted" AFTER UPDATE OF body ON "{table}" WHEN {is_counted} AND NEW.size <> OLD.size
BEGIN
    UPDATE ostiary_usage SET bytes = bytes + NEW.size - OLD.size WHERE key = NEW.counted_with;
END;
CREATE TRIGGER "{table}_payer_never_changes" BEFORE UPDATE OF facet ON "{table}" WHEN {is_part} AND NEW.facet <> OLD.facet
BEGIN
    SELECT RAISE(ABORT, 'the payer of a part never changes');
END;
