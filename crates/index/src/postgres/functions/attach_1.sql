-- Adds, replaces or (without a blob) removes an attachment. `known`: the revision that the client expects, -1 for none; NULL for any.
-- `outcome`: 0 done, 1 unknown resource, 2 another revision is there, 3 nothing is there to remove.
-- Raises PL001 if the intent of the blob is gone.
CREATE FUNCTION attach_1 (
    of_level integer, of_id bytea, of_type integer, known bigint, new_blob uuid, a_node uuid, a_prefix bytea, a_mask text,
    new_compression smallint, new_size bigint, new_stored bigint, new_checksum bigint, new_md5 text,
    new_stored_md5 text, a_shard integer,
    OUT outcome integer, OUT revision bigint
) LANGUAGE plpgsql AS $attach$
#variable_conflict use_column
DECLARE
    path record;
    in_row boolean := of_level = 3 AND of_type = 1;
    own bigint;
    old record;
    more bigint;
    more_stored bigint;
    is_dicom integer := (of_type = 1)::integer;
BEGIN
    SELECT * INTO path FROM path_1(of_level, of_id);
    own := (ARRAY[path.p, path.s, path.e, path.i])[of_level + 1];
    IF own IS NULL THEN
        outcome := 1;
        RETURN;
    END IF;
    IF in_row THEN
        SELECT r.blob, r.dicom_bytes AS size, r.dicom_stored_bytes AS stored, r.blob_revision AS revision INTO old
        FROM instance r WHERE r.id = own;
    ELSE
        SELECT a.blob, a.size_bytes AS size, a.stored_bytes AS stored, a.revision INTO old
        FROM attachment a WHERE a.level = of_level AND a.resource = own AND a.type = of_type;
    END IF;
    IF old.blob IS NULL AND new_blob IS NULL THEN
        outcome := 3;
        RETURN;
    END IF;
    IF old.blob IS NOT NULL AND old.revision <> known THEN
        outcome := 2;
        revision := old.revision;
        RETURN;
    END IF;
    revision := coalesce(old.revision + 1, 0);
    more := coalesce(new_size, 0) - coalesce(old.size, 0);
    more_stored := coalesce(new_stored, 0) - coalesce(old.stored, 0);

    UPDATE patient r SET size_bytes = r.size_bytes + more, stored_bytes = r.stored_bytes + more_stored,
        dicom_bytes = r.dicom_bytes + more * is_dicom, dicom_stored_bytes = r.dicom_stored_bytes + more_stored * is_dicom
    WHERE r.id = path.p;
    UPDATE study r SET size_bytes = r.size_bytes + more, stored_bytes = r.stored_bytes + more_stored,
        dicom_bytes = r.dicom_bytes + more * is_dicom, dicom_stored_bytes = r.dicom_stored_bytes + more_stored * is_dicom
    WHERE r.id = path.s;
    UPDATE series r SET size_bytes = r.size_bytes + more, stored_bytes = r.stored_bytes + more_stored,
        dicom_bytes = r.dicom_bytes + more * is_dicom, dicom_stored_bytes = r.dicom_stored_bytes + more_stored * is_dicom
    WHERE r.id = path.e;
    UPDATE instance r SET size_bytes = r.size_bytes + more, stored_bytes = r.stored_bytes + more_stored,
        dicom_bytes = r.dicom_bytes + more * is_dicom, dicom_stored_bytes = r.dicom_stored_bytes + more_stored * is_dicom
    WHERE r.id = path.i;
    IF in_row THEN
        UPDATE instance r SET blob = new_blob, compression = new_compression, checksum = new_checksum, md5 = new_md5,
            stored_md5 = new_stored_md5, blob_revision = revision
        WHERE r.id = own;
    ELSIF new_blob IS NULL THEN
        DELETE FROM attachment a WHERE a.level = of_level AND a.resource = own AND a.type = of_type;
    ELSE
        INSERT INTO attachment (level, resource, type, blob, compression, size_bytes, stored_bytes, checksum, md5, stored_md5,
            revision)
        VALUES (of_level, own, of_type, new_blob, new_compression, new_size, new_stored, new_checksum, new_md5, new_stored_md5,
            revision)
        ON CONFLICT (level, resource, type) DO UPDATE SET blob = excluded.blob, compression = excluded.compression,
            size_bytes = excluded.size_bytes, stored_bytes = excluded.stored_bytes, checksum = excluded.checksum,
            md5 = excluded.md5, stored_md5 = excluded.stored_md5, revision = excluded.revision;
    END IF;
    IF new_blob IS NOT NULL THEN
        UPDATE blob_intent b SET settled = b.settled | a_mask::bit varying
        WHERE b.prefix = a_prefix AND b.node = a_node AND position(B'1' IN b.settled & a_mask::bit varying) = 0;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the blob is not reserved any more' USING ERRCODE = 'PL001';
        END IF;
    END IF;
    UPDATE stat_shard t SET size_bytes = t.size_bytes + more, stored_bytes = t.stored_bytes + more_stored WHERE t.shard = a_shard;
    IF old.blob IS NOT NULL THEN
        INSERT INTO deleted_blob (blob) VALUES (old.blob) ON CONFLICT DO NOTHING;
    END IF;
    IF of_type >= 1024 THEN
        PERFORM change_1(ARRAY[15::smallint], ARRAY[of_level::smallint], ARRAY[own], ARRAY[of_id]);
    END IF;
    outcome := 0;
END $attach$
