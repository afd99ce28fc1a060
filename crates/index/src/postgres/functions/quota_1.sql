-- The public id of the patient of a visible resource; NULL if it is not there.
CREATE FUNCTION patient_of_1 (of_level integer, of_id bytea) RETURNS bytea LANGUAGE sql STABLE AS $patient$
    SELECT p.public_id FROM patient p WHERE p.deleted = 0 AND p.id = CASE of_level
        WHEN 0 THEN (SELECT r.id FROM patient r WHERE r.public_id = of_id AND r.deleted = 0)
        WHEN 1 THEN (SELECT r.patient FROM study r WHERE r.public_id = of_id AND r.deleted = 0)
        WHEN 2 THEN (SELECT s.patient FROM series r JOIN study s ON s.id = r.study WHERE r.public_id = of_id AND r.deleted = 0)
        ELSE (SELECT s.patient FROM instance r JOIN series e ON e.id = r.series JOIN study s ON s.id = e.study WHERE r.public_id = of_id)
    END
$patient$;

-- Makes room within the quota for instances that are not there yet, in the transaction that stores them, before it holds any lock. How many
-- patients went. Those of `stay` do not go, nor those that are protected. NULL is no limit.
--
-- Whoever stores shares a lock as long as the quota is far, and has it alone when it is near. Far: so many bytes and patients are left that
-- 64 processes with 1 GiB and 64 patients each do not reach it together. So the totals never exceed it, and one process at a time recycles.
-- Raises 40001 if the quota came near meanwhile, and PL002 if there is no room.
CREATE FUNCTION quota_1 (
    a_shard integer, a_at_once bigint, most_bytes bigint, most_patients bigint, recycles boolean,
    instances bytea[], stay bytea[], more_bytes bigint
) RETURNS integer LANGUAGE plpgsql AS $quota$
DECLARE
    turn bigint := 'stat_shard'::regclass::oid::bigint;
    left_bytes bigint;
    left_patients bigint;
    more_patients bigint;
    is_near boolean;
    was_near boolean;
    victim bytea;
    recycled integer := 0;
BEGIN
    IF EXISTS (SELECT FROM unnest(instances) u (id) JOIN instance i ON i.public_id = u.id) THEN
        RETURN 0;
    END IF;
    LOOP
        SELECT most_bytes - sum(t.stored_bytes), most_patients - sum(t.patients) INTO left_bytes, left_patients FROM stat_shard t;
        is_near := coalesce(left_bytes < 64::bigint << 30, false) OR coalesce(left_patients < 64 * 64, false)
            OR most_bytes IS NOT NULL AND more_bytes > 1::bigint << 30;
        EXIT WHEN was_near IS NOT NULL;
        was_near := is_near;
        IF is_near THEN
            PERFORM pg_advisory_xact_lock(turn);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(turn);
        END IF;
    END LOOP;
    IF NOT was_near THEN
        IF is_near THEN
            RAISE EXCEPTION 'the quota came near' USING ERRCODE = '40001';
        END IF;
        RETURN 0;
    END IF;
    SELECT count(*) INTO more_patients FROM unnest(stay) u (id)
    WHERE NOT EXISTS (SELECT FROM patient r WHERE r.public_id = u.id AND r.deleted = 0);
    WHILE left_bytes < more_bytes OR left_patients < more_patients LOOP
        victim := NULL;
        IF recycles THEN
            SELECT r.public_id INTO victim FROM patient r WHERE r.deleted = 0 AND NOT r.protected AND r.public_id <> ALL (stay)
            ORDER BY r.recycle_slot, r.stable_at, r.id LIMIT 1 FOR NO KEY UPDATE;
        END IF;
        IF victim IS NULL THEN
            RAISE EXCEPTION 'there is no room' USING ERRCODE = 'PL002';
        END IF;
        PERFORM delete_1(0, victim, a_shard, a_at_once);
        recycled := recycled + 1;
        SELECT most_bytes - sum(t.stored_bytes), most_patients - sum(t.patients) INTO left_bytes, left_patients FROM stat_shard t;
    END LOOP;
    RETURN recycled;
END $quota$
