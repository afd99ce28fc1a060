-- Removes at most `budget` rows of one deleted subtree, from the bottom. Whether more remain. Several processes take different ones.
CREATE FUNCTION sweep_1 (budget integer) RETURNS boolean LANGUAGE plpgsql AS $sweep$
DECLARE
    root record;
    all_studies bigint[] := '{}';
    all_series bigint[];
    ids bigint[];
BEGIN
    SELECT t.level, t.resource INTO root FROM tombstone t LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF root.level = 0 THEN
        all_studies := ARRAY(SELECT r.id FROM study r WHERE r.patient = root.resource);
    ELSIF root.level = 1 THEN
        all_studies := ARRAY[root.resource];
    END IF;
    all_series := CASE root.level WHEN 2 THEN ARRAY[root.resource]
        ELSE ARRAY(SELECT r.id FROM series r WHERE r.study = ANY (all_studies)) END;
    ids := ARRAY(SELECT r.id FROM instance r WHERE r.series = ANY (all_series) LIMIT budget);
    PERFORM purge_1(3, ids);
    budget := budget - cardinality(ids);
    IF budget <= 0 THEN
        RETURN true;
    END IF;
    PERFORM purge_1(2, all_series[1:budget]);
    budget := budget - cardinality(all_series);
    IF budget <= 0 THEN
        RETURN true;
    END IF;
    PERFORM purge_1(1, all_studies[1:budget]);
    budget := budget - cardinality(all_studies);
    IF budget <= 0 THEN
        RETURN true;
    END IF;
    IF root.level = 0 THEN
        PERFORM purge_1(0, ARRAY[root.resource]);
    END IF;
    DELETE FROM tombstone t WHERE t.level = root.level AND t.resource = root.resource;
    RETURN EXISTS (SELECT FROM tombstone);
END $sweep$
