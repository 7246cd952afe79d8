INSERT OR IGNORE INTO "{table}$shares" (attribute, value, ordering, record)
SELECT
    CASE WHEN length(held.key) <= 128 THEN held.key
        ELSE substr(held.key, 1, 96) || '~' || length(held.key) || '~' || substr(held.key, -24) END,
    CASE WHEN length(owned.value) <= 128 THEN CAST(owned.value AS TEXT)
        ELSE substr(owned.value, 1, 96) || '~' || length(owned.value) || '~' || substr(owned.value, -24) END,
    whole.ordering, whole.id
FROM "{table}" AS whole, json_each(whole.access_attributes) AS held,
    json_each(CASE WHEN held.type <> 'array' THEN '[]' WHEN json_array_length(held.value) > 1000 THEN '[""]'
        ELSE held.value END) AS owned
WHERE whole.id > ?1 AND whole.id <= ?2 AND owned.value IS NOT NULL
