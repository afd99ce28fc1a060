-- Makes at most `many` due resources of each level stable and appends their changes. How many, and whether more are due. Rows that another
-- transaction holds are left alone: it moves their deadline, or makes them stable itself.
CREATE FUNCTION stable_1 (many integer, OUT total bigint, OUT more boolean) LANGUAGE plpgsql AS $stable$
DECLARE
    now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
    series_rows bigint[];
    series_ids bytea[];
    study_rows bigint[];
    study_ids bytea[];
    patient_rows bigint[];
    patient_ids bytea[];
    n integer[];
BEGIN
    WITH due AS MATERIALIZED (
        SELECT r.id FROM series r WHERE NOT r.is_stable AND r.stable_at <= now_ms LIMIT many FOR NO KEY UPDATE SKIP LOCKED
    ), done AS (UPDATE series r SET is_stable = true FROM due WHERE r.id = due.id RETURNING r.id, r.public_id)
    SELECT array_agg(d.id ORDER BY d.id), array_agg(d.public_id ORDER BY d.id) INTO series_rows, series_ids FROM done d;
    WITH due AS MATERIALIZED (
        SELECT r.id FROM study r WHERE NOT r.is_stable AND r.stable_at <= now_ms LIMIT many FOR NO KEY UPDATE SKIP LOCKED
    ), done AS (UPDATE study r SET is_stable = true FROM due WHERE r.id = due.id RETURNING r.id, r.public_id)
    SELECT array_agg(d.id ORDER BY d.id), array_agg(d.public_id ORDER BY d.id) INTO study_rows, study_ids FROM done d;
    WITH due AS MATERIALIZED (
        SELECT r.id FROM patient r WHERE NOT r.is_stable AND r.stable_at <= now_ms LIMIT many FOR NO KEY UPDATE SKIP LOCKED
    ), done AS (UPDATE patient r SET is_stable = true FROM due WHERE r.id = due.id RETURNING r.id, r.public_id)
    SELECT array_agg(d.id ORDER BY d.id), array_agg(d.public_id ORDER BY d.id) INTO patient_rows, patient_ids FROM done d;
    n := ARRAY[coalesce(cardinality(series_rows), 0), coalesce(cardinality(study_rows), 0), coalesce(cardinality(patient_rows), 0)];
    total := n[1] + n[2] + n[3];
    more := many = ANY (n);
    IF total > 0 THEN
        PERFORM change_1(
            array_fill(14::smallint, n[1:1]) || array_fill(13::smallint, n[2:2]) || array_fill(12::smallint, n[3:3]),
            array_fill(2::smallint, n[1:1]) || array_fill(1::smallint, n[2:2]) || array_fill(0::smallint, n[3:3]),
            series_rows || study_rows || patient_rows, series_ids || study_ids || patient_ids
        );
    END IF;
END $stable$
