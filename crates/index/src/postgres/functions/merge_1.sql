-- Adds the elements of a JSON array without brackets to a JSON array of distinct texts, sorted. Elements are compared as they are written,
-- in quotes, so that what is there already is found without reading the array.
CREATE FUNCTION merge_1 (list text, more text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $merge$
BEGIN
    IF strpos(list, more) > 0 THEN
        RETURN list;
    ELSIF list = '[]' THEN
        RETURN '[' || more || ']';
    END IF;
    RETURN (
        SELECT '[' || string_agg(to_json(d.value)::text, ',' ORDER BY d.value COLLATE "C") || ']' FROM (
            SELECT json_array_elements_text(list::json) AS value
            UNION SELECT json_array_elements_text(('[' || more || ']')::json)
        ) d
    );
END $merge$
