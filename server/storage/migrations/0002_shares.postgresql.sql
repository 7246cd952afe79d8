-- The index of owner attributes: one row for each value that the owner of a record held, in the order of lists.
--
-- It follows from `access_attributes` and never decides anything: lists take candidates from it and judge the records
-- themselves. So a long text may stand abridged, and an attribute of more than 1000 values is one row with the value ''.
CREATE TABLE "{table}$shares" (
    attribute text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    ordering bigint NOT NULL,
    record text COLLATE "C" NOT NULL,
    PRIMARY KEY (attribute, value, ordering, record)
);
CREATE FUNCTION "{table}_shares_of"(attributes text) RETURNS TABLE (attribute text, value text)
LANGUAGE sql IMMUTABLE AS $body$
    SELECT DISTINCT
        CASE WHEN length(held.key) <= 128 THEN held.key
            ELSE left(held.key, 96) || '~' || length(held.key) || '~' || right(held.key, 24) END,
        CASE WHEN length(owned.value) <= 128 THEN owned.value
            ELSE left(owned.value, 96) || '~' || length(owned.value) || '~' || right(owned.value, 24) END
    FROM jsonb_each(attributes::jsonb) AS held,
        jsonb_array_elements_text(CASE WHEN jsonb_typeof(held.value) <> 'array' THEN '[]'
            WHEN jsonb_array_length(held.value) > 1000 THEN '[""]' ELSE held.value END) AS owned
    WHERE owned.value IS NOT NULL
$body$;
CREATE FUNCTION "{table}_shares_come"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO "{table}$shares" (attribute, value, ordering, record)
    SELECT held.attribute, held.value, NEW.ordering, NEW.id FROM "{table}_shares_of"(NEW.access_attributes) AS held
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$body$;
CREATE TRIGGER "{table}_shares_come" AFTER INSERT ON "{table}" FOR EACH ROW
WHEN (NEW.access_attributes <> '{}') EXECUTE FUNCTION "{table}_shares_come"();
CREATE FUNCTION "{table}_shares_go"() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    held record;
BEGIN
    -- One by one: for all at once, PostgreSQL may read the whole index.
    FOR held IN SELECT attribute, value FROM "{table}_shares_of"(OLD.access_attributes) LOOP
        DELETE FROM "{table}$shares" AS gone WHERE gone.attribute = held.attribute AND gone.value = held.value
            AND gone.ordering = OLD.ordering AND gone.record = OLD.id;
    END LOOP;
    RETURN NULL;
END
$body$;
CREATE TRIGGER "{table}_shares_go" AFTER DELETE ON "{table}" FOR EACH ROW
WHEN (OLD.access_attributes <> '{}') EXECUTE FUNCTION "{table}_shares_go"();
CREATE TRIGGER "{table}_shares_never_change" BEFORE UPDATE OR TRUNCATE ON "{table}$shares"
FOR EACH STATEMENT EXECUTE FUNCTION "{table}_owner_never_changes"();
CREATE FUNCTION "{table}_shares_stay"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF EXISTS (SELECT 1 FROM "{table}" WHERE id = OLD.record AND ordering = OLD.ordering) THEN
        RAISE EXCEPTION 'the owner of a record never changes';
    END IF;
    RETURN OLD;
END
$body$;
CREATE TRIGGER "{table}_shares_stay" BEFORE DELETE ON "{table}$shares" FOR EACH ROW
EXECUTE FUNCTION "{table}_shares_stay"();
