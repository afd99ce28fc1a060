-- Removes rows of one level with their attachments, labels and changes. Their blobs go to the deletion list.
CREATE FUNCTION purge_1 (of_level integer, ids bigint[]) RETURNS void LANGUAGE plpgsql AS $purge$
DECLARE
    blobs uuid[];
    files uuid[];
BEGIN
    IF coalesce(cardinality(ids), 0) = 0 THEN
        RETURN;
    END IF;
    WITH gone AS (DELETE FROM attachment a WHERE a.level = of_level AND a.resource = ANY (ids) RETURNING a.blob)
    SELECT array_agg(gone.blob) INTO blobs FROM gone;
    DELETE FROM label l WHERE l.level = of_level AND l.resource = ANY (ids);
    DELETE FROM change c WHERE c.level = of_level AND c.resource = ANY (ids);
    IF of_level = 3 THEN
        WITH gone AS (DELETE FROM instance r WHERE r.id = ANY (ids) RETURNING r.blob)
        SELECT array_agg(gone.blob) INTO files FROM gone;
    ELSIF of_level = 2 THEN
        DELETE FROM series r WHERE r.id = ANY (ids);
    ELSIF of_level = 1 THEN
        DELETE FROM study r WHERE r.id = ANY (ids);
    ELSE
        DELETE FROM patient r WHERE r.id = ANY (ids);
    END IF;
    IF blobs IS NOT NULL OR files IS NOT NULL THEN
        INSERT INTO deleted_blob (blob) SELECT unnest(blobs || files) ON CONFLICT DO NOTHING;
    END IF;
END $purge$
