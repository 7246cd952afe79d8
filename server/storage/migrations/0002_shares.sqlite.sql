-- The index of owner attributes: one row for each value that the owner of a record held, in the order of lists.
--
-- It follows from `access_attributes` and never decides anything: lists take candidates from it and judge the records
-- themselves. So a long text may stand abridged, and an attribute of more than 1000 values is one row with the value ''.
CREATE TABLE "{table}$shares" (
    attribute TEXT NOT NULL,
    value TEXT NOT NULL,
    ordering INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (attribute, value, ordering, record)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER "{table}_shares_come" AFTER INSERT ON "{table}"
WHEN NEW.access_attributes <> '{}'
BEGIN
    INSERT OR IGNORE INTO "{table}$shares" (attribute, value, ordering, record)
    SELECT
        CASE WHEN length(held.key) <= 128 THEN held.key
            ELSE substr(held.key, 1, 96) || '~' || length(held.key) || '~' || substr(held.key, -24) END,
        CASE WHEN length(owned.value) <= 128 THEN CAST(owned.value AS TEXT)
            ELSE substr(owned.value, 1, 96) || '~' || length(owned.value) || '~' || substr(owned.value, -24) END,
        NEW.ordering, NEW.id
    FROM json_each(NEW.access_attributes) AS held,
        json_each(CASE WHEN held.type <> 'array' THEN '[]' WHEN json_array_length(held.value) > 1000 THEN '[""]'
            ELSE held.value END) AS owned
    WHERE owned.value IS NOT NULL;
END;
CREATE TRIGGER "{table}_shares_go" AFTER DELETE ON "{table}"
WHEN OLD.access_attributes <> '{}'
BEGIN
    DELETE FROM "{table}$shares" WHERE (attribute, value) IN (
        SELECT
            CASE WHEN length(held.key) <= 128 THEN held.key
                ELSE substr(held.key, 1, 96) || '~' || length(held.key) || '~' || substr(held.key, -24) END,
            CASE WHEN length(owned.value) <= 128 THEN CAST(owned.value AS TEXT)
                ELSE substr(owned.value, 1, 96) || '~' || length(owned.value) || '~' || substr(owned.value, -24) END
        FROM json_each(OLD.access_attributes) AS held,
            json_each(CASE WHEN held.type <> 'array' THEN '[]' WHEN json_array_length(held.value) > 1000 THEN '[""]'
                ELSE held.value END) AS owned
        WHERE owned.value IS NOT NULL
    ) AND ordering = OLD.ordering AND record = OLD.id;
END;
CREATE TRIGGER "{table}_shares_never_change" BEFORE UPDATE ON "{table}$shares"
BEGIN
    SELECT RAISE(ABORT, 'the owner of a record never changes');
END;
CREATE TRIGGER "{table}_shares_stay" BEFORE DELETE ON "{table}$shares"
WHEN EXISTS (SELECT 1 FROM "{table}" WHERE id = OLD.record AND ordering = OLD.ordering)
BEGIN
    SELECT RAISE(ABORT, 'the owner of a record never changes');
END;
