-- Adds new instances to a series that is there, in one transaction and one round trip: what `store_1` does, for most batches, with single
-- values for the parents instead of sets, since most of what a small transaction costs is to set its statements up. One block of blob
-- names; `b_classes` is JSON without brackets, `b_bytes` and `b_stored` are sums. The order of locks is that of `store_1`.
-- Returns whether it was done; nothing was written if the series is not there, or one of the instances is there already.
-- Raises 40001 if another transaction was faster, and PL001 if the intent of a blob is gone.
CREATE FUNCTION store_more_1 (
    b_node uuid, b_shard integer, b_age bigint, b_prefix bytea, b_mask text, b_series bytea, b_classes text, b_bytes bigint,
    b_stored bigint,
    i_public bytea[], i_index bigint[], i_sop_uid text[], i_sop_class text[], i_blob uuid[], i_compression smallint[],
    i_bytes bigint[], i_stored bigint[], i_checksum bigint[], i_md5 text[], i_stored_md5 text[], i_pixel bigint[], i_tail bigint[],
    i_tags text[], i_metadata text[]
) RETURNS boolean LANGUAGE plpgsql AS $store$
DECLARE
    now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
    now_s bigint := now_ms / 1000;
    due bigint := now_ms + b_age;
    many bigint := cardinality(i_public);
    its_patient bigint;
    its_study bigint;
    its_series bigint;
    i_id bigint[];
    full_series bigint[];
    is_full boolean;
    is_full_block boolean;
    next bigint;
BEGIN
    SELECT p.id, s.id, e.id INTO its_patient, its_study, its_series
        FROM series e JOIN study s ON s.id = e.study JOIN patient p ON p.id = s.patient
        WHERE e.public_id = b_series AND e.deleted = 0 AND s.deleted = 0 AND p.deleted = 0
            AND NOT EXISTS (SELECT FROM instance i WHERE i.public_id = ANY (i_public));
    IF its_series IS NULL THEN
        RETURN false;
    END IF;

    UPDATE patient r SET instance_count = r.instance_count + many, size_bytes = r.size_bytes + b_bytes,
        stored_bytes = r.stored_bytes + b_stored, dicom_bytes = r.dicom_bytes + b_bytes,
        dicom_stored_bytes = r.dicom_stored_bytes + b_stored, last_update = now_s, stable_at = due, is_stable = false
    WHERE r.id = its_patient AND r.deleted = 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a patient was deleted meanwhile' USING ERRCODE = '40001';
    END IF;
    UPDATE study r SET instance_count = r.instance_count + many, size_bytes = r.size_bytes + b_bytes,
        stored_bytes = r.stored_bytes + b_stored, dicom_bytes = r.dicom_bytes + b_bytes,
        dicom_stored_bytes = r.dicom_stored_bytes + b_stored, last_update = now_s, update_slot = now_s >> 8, stable_at = due,
        is_stable = false,
        sop_classes = CASE WHEN strpos(r.sop_classes, b_classes) > 0 THEN r.sop_classes ELSE merge_1(r.sop_classes, b_classes) END
    WHERE r.id = its_study AND r.deleted = 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a study was deleted meanwhile' USING ERRCODE = '40001';
    END IF;
    UPDATE series r SET instance_count = r.instance_count + many, size_bytes = r.size_bytes + b_bytes,
        stored_bytes = r.stored_bytes + b_stored, dicom_bytes = r.dicom_bytes + b_bytes,
        dicom_stored_bytes = r.dicom_stored_bytes + b_stored, last_update = now_s, stable_at = due, is_stable = false,
        sop_classes = CASE WHEN strpos(r.sop_classes, b_classes) > 0 THEN r.sop_classes ELSE merge_1(r.sop_classes, b_classes) END
    WHERE r.id = its_series AND r.deleted = 0
    RETURNING NOT r.completed AND r.expected_instances > 0 AND r.instance_count >= r.expected_instances INTO is_full;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a series was deleted meanwhile' USING ERRCODE = '40001';
    END IF;

    -- In the order of their arrival.
    WITH made AS (
        INSERT INTO instance (series, index_in_series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes,
            dicom_stored_bytes, checksum, md5, stored_md5, pixel_offset, tail_offset, size_bytes, stored_bytes, tags, metadata)
        SELECT its_series, unnest(i_index), unnest(i_public), unnest(i_sop_uid), unnest(i_sop_class), unnest(i_blob),
            unnest(i_compression), unnest(i_bytes), unnest(i_stored), unnest(i_checksum), unnest(i_md5), unnest(i_stored_md5),
            unnest(i_pixel), unnest(i_tail), unnest(i_bytes), unnest(i_stored), unnest(i_tags), unnest(i_metadata)
        ON CONFLICT DO NOTHING RETURNING id
    ) SELECT array_agg(m.id) INTO i_id FROM made m;
    IF cardinality(i_id) IS DISTINCT FROM many THEN
        RAISE EXCEPTION 'an instance was made meanwhile' USING ERRCODE = '40001';
    END IF;

    -- The intents of their blobs: the fence.
    UPDATE blob_intent b SET settled = b.settled | b_mask::bit varying
    WHERE b.prefix = b_prefix AND b.node = b_node AND position(B'1' IN b.settled & b_mask::bit varying) = 0
    RETURNING position(B'0' IN b.settled) = 0 INTO is_full_block;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the blob is not reserved any more' USING ERRCODE = 'PL001';
    END IF;
    IF is_full_block THEN
        DELETE FROM blob_intent b WHERE b.prefix = b_prefix;
    END IF;

    UPDATE stat_shard t SET instances = t.instances + many, size_bytes = t.size_bytes + b_bytes,
        stored_bytes = t.stored_bytes + b_stored
    WHERE t.shard = b_shard;

    IF is_full THEN
        full_series := complete_1(ARRAY[its_series]);
    END IF;

    -- Changes, last: from here to the end of the transaction other writers wait.
    UPDATE counter c SET value = c.value + many + coalesce(cardinality(full_series), 0) WHERE c.name = 'change'
    RETURNING c.value - many - coalesce(cardinality(full_series), 0) INTO next;
    INSERT INTO change (seq, type, level, resource, public_id, at)
    SELECT next + generate_subscripts(i_id, 1), 2, 3, unnest(i_id), unnest(i_public), now_s;
    IF full_series IS NOT NULL THEN
        INSERT INTO change (seq, type, level, resource, public_id, at) VALUES (next + many + 1, 1, 2, its_series, b_series, now_s);
    END IF;
    RETURN true;
END $store$
