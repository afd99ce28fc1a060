-- Forgets files; their blobs go to the deletion list.
CREATE FUNCTION upload_forget_1 (a_uploads bigint[]) RETURNS void LANGUAGE plpgsql AS $forget$
BEGIN
    WITH gone AS (
        DELETE FROM upload_piece p WHERE p.upload = ANY (a_uploads) RETURNING p.blob
    ) INSERT INTO deleted_blob (blob) SELECT g.blob FROM gone g ON CONFLICT DO NOTHING;
    DELETE FROM upload u WHERE u.id = ANY (a_uploads);
END $forget$;

-- Adds a piece to its file. `outcome`: Kept, Complete (then `upload` and its pieces are told), Misplaced (then `next` is where the next
-- piece begins), toO long, too Many. Raises PL001 if the intent of the blob is gone.
CREATE FUNCTION upload_1 (
    a_key bytea, a_file bigint, a_start bigint, a_blob uuid, a_bytes bigint, a_node uuid, a_prefix bytea, a_mask text,
    a_files bigint, a_pieces bigint, a_patience bigint, a_storing bigint,
    OUT outcome text, OUT upload bigint, OUT next bigint, OUT blobs uuid[], OUT sizes bigint[]
) LANGUAGE plpgsql AS $upload$
DECLARE
    now bigint := job_now_1();
    file record;
BEGIN
    LOOP
        SELECT u.* INTO file FROM upload u WHERE u.key = a_key FOR UPDATE;
        IF FOUND AND file.until <= now THEN
            PERFORM upload_forget_1(ARRAY[file.id]);
        ELSIF FOUND THEN
            EXIT;
        END IF;
        INSERT INTO upload AS u (key, received_bytes, pieces, until) VALUES (a_key, 0, 0, now) ON CONFLICT DO NOTHING
            RETURNING u.* INTO file;
        EXIT WHEN FOUND;
    END LOOP;
    outcome := CASE
        WHEN a_start <> file.received_bytes THEN 'X'
        WHEN file.received_bytes + a_bytes > a_file THEN 'O'
        WHEN file.pieces >= a_pieces THEN 'M'
        WHEN file.received_bytes + a_bytes = a_file THEN 'C'
        ELSE 'K'
    END;
    IF outcome = 'X' THEN
        next := file.received_bytes;
        DELETE FROM upload u WHERE u.id = file.id AND u.pieces = 0;
        RETURN;
    ELSIF outcome IN ('O', 'M') THEN
        PERFORM upload_forget_1(ARRAY[file.id]);
        RETURN;
    END IF;
    UPDATE blob_intent b SET settled = b.settled | a_mask::bit varying
    WHERE b.prefix = a_prefix AND b.node = a_node AND position(B'1' IN b.settled & a_mask::bit varying) = 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the blob is not reserved any more' USING ERRCODE = 'PL001';
    END IF;
    INSERT INTO upload_piece (upload, number, blob, size_bytes) VALUES (file.id, file.pieces, a_blob, a_bytes);
    UPDATE upload u SET received_bytes = u.received_bytes + a_bytes, pieces = u.pieces + 1,
        key = CASE WHEN outcome = 'C' THEN NULL ELSE u.key END,
        until = now + CASE WHEN outcome = 'C' THEN a_storing ELSE a_patience END
    WHERE u.id = file.id;
    IF outcome = 'C' THEN
        upload := file.id;
        SELECT array_agg(p.blob ORDER BY p.number), array_agg(p.size_bytes ORDER BY p.number) INTO blobs, sizes
        FROM upload_piece p WHERE p.upload = file.id;
    ELSIF file.pieces = 0 THEN
        -- A new file may be one too many.
        PERFORM upload_forget_1(ARRAY(
            SELECT u.id FROM upload u WHERE u.key IS NOT NULL AND u.id NOT IN (
                SELECT n.id FROM upload n WHERE n.key IS NOT NULL ORDER BY n.until DESC, n.id DESC LIMIT a_files
            ) AND u.id <> file.id FOR UPDATE SKIP LOCKED));
    END IF;
END $upload$
