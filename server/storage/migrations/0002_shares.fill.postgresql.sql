WITH taken AS (
    SELECT id, ordering, access_attributes FROM "{table}" WHERE id > ?1 AND id <= ?2 AND access_attributes <> '{}'
    FOR KEY SHARE
)
INSERT INTO "{table}$shares" (attribute, value, ordering, record)
SELECT held.attribute, held.value, taken.ordering, taken.id
FROM taken, LATERAL "{table}_shares_of"(taken.access_attributes) AS held
ON CONFLICT DO NOTHING
