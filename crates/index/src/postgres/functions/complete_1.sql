-- Of series that have as many instances as are expected, marks those as complete whose instances have all the expected positions.
-- Returns them; NULL if there are none.
CREATE FUNCTION complete_1 (full_series bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS $complete$
DECLARE
    completed bigint[];
BEGIN
    WITH done AS (
        UPDATE series r SET completed = true FROM unnest(full_series) u (id)
        WHERE r.id = u.id AND r.expected_instances = (
            SELECT count(DISTINCT i.index_in_series) FROM instance i
            WHERE i.series = r.id AND i.index_in_series BETWEEN 1 AND r.expected_instances
        ) RETURNING r.id
    ) SELECT array_agg(done.id ORDER BY done.id) INTO completed FROM done;
    RETURN completed;
END $complete$
