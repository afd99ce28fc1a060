-- Stores a batch of instances that are all new, in one transaction and one round trip, or tells which are not.
--
-- p_, s_, e_, i_: patients, studies, series and instances, each once. *_patient, *_study, *_series are positions in the arrays above,
-- *_first the position of the first instance below. Patients, studies and series are sorted by public id: every writer locks in this order,
-- patients first. *_n, *_bytes, *_stored are sums of the batch. Lists of classes are JSON without brackets. b_: blocks of blob names and the
-- bits to settle. Returns nothing if everything was stored; otherwise nothing was written, and each row is an instance that is there
-- already: its position, its row, whether it is the leftover of a deleted series, and size and checksum of its file.
-- Raises 40001 if another transaction was faster, and PL001 if the intent of a blob is gone.
CREATE FUNCTION store_1 (
    b_node uuid, b_shard integer, b_age bigint, b_prefix bytea[], b_mask text[],
    p_public bytea[], p_first integer[], p_patient_id text[], p_name text[], p_birth_date text[], p_sex text[], p_tags text[],
    p_metadata text[], p_n bigint[], p_bytes bigint[], p_stored bigint[],
    s_public bytea[], s_first integer[], s_patient integer[], s_study_uid text[], s_study_date text[], s_study_time text[],
    s_accession text[], s_study_id text[], s_description text[], s_referring text[], s_institution text[], s_patient_tags text[],
    s_patient_id text[], s_name text[], s_birth_date text[], s_sex text[], s_classes text[], s_tags text[], s_metadata text[],
    s_n bigint[], s_bytes bigint[], s_stored bigint[],
    e_public bytea[], e_first integer[], e_study integer[], e_series_uid text[], e_modality text[], e_description text[],
    e_body_part text[], e_modality_json text[], e_classes text[], e_expected bigint[], e_tags text[], e_metadata text[],
    e_n bigint[], e_bytes bigint[], e_stored bigint[],
    i_public bytea[], i_series integer[], i_index bigint[], i_sop_uid text[], i_sop_class text[], i_blob uuid[],
    i_compression smallint[], i_bytes bigint[], i_stored bigint[], i_checksum bigint[], i_md5 text[], i_stored_md5 text[],
    i_pixel bigint[], i_tail bigint[], i_tags text[], i_metadata text[]
) RETURNS TABLE (at integer, instance_row bigint, hidden boolean, their_bytes bigint, their_checksum bigint) LANGUAGE plpgsql AS $store$
#variable_conflict use_column
DECLARE
    now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
    now_s bigint := now_ms / 1000;
    due bigint := now_ms + b_age;
    p_id bigint[];
    s_id bigint[];
    e_id bigint[];
    i_id bigint[];
    p_new boolean[];
    s_new boolean[];
    e_new boolean[];
    p_studies bigint[] := array_fill(0::bigint, ARRAY[cardinality(p_public)]);
    p_series bigint[] := p_studies;
    s_series bigint[] := array_fill(0::bigint, ARRAY[cardinality(s_public)]);
    s_modalities text[] := array_fill(''::text, ARRAY[cardinality(s_public)]);
    news integer[] := ARRAY[0, 0, 0];
    full_series bigint[];
    full_blocks boolean;
    n bigint;
    seq bigint;
BEGIN
    RETURN QUERY SELECT u.n::integer, i.id, se.deleted <> 0, i.dicom_bytes, i.checksum
        FROM unnest(i_public) WITH ORDINALITY u (id, n) JOIN instance i ON i.public_id = u.id JOIN series se ON se.id = i.series;
    IF FOUND THEN
        RETURN;
    END IF;

    -- Which parents are there, and how many of each are new.
    e_id := ARRAY(SELECT r.id FROM unnest(e_public) WITH ORDINALITY u (id, n)
        LEFT JOIN series r ON r.public_id = u.id AND r.deleted = 0 ORDER BY u.n);
    s_id := ARRAY(SELECT r.id FROM unnest(s_public) WITH ORDINALITY u (id, n)
        LEFT JOIN study r ON r.public_id = u.id AND r.deleted = 0 ORDER BY u.n);
    p_id := ARRAY(SELECT r.id FROM unnest(p_public) WITH ORDINALITY u (id, n)
        LEFT JOIN patient r ON r.public_id = u.id AND r.deleted = 0 ORDER BY u.n);
    FOR k IN 1..cardinality(p_id) LOOP
        p_new[k] := p_id[k] IS NULL;
        IF p_new[k] THEN
            p_id[k] := nextval('patient_id_seq');
            news[1] := news[1] + 1;
        END IF;
    END LOOP;
    FOR k IN 1..cardinality(s_id) LOOP
        s_new[k] := s_id[k] IS NULL;
        IF s_new[k] THEN
            s_id[k] := nextval('study_id_seq');
            news[2] := news[2] + 1;
            p_studies[s_patient[k]] := p_studies[s_patient[k]] + 1;
        END IF;
    END LOOP;
    FOR k IN 1..cardinality(e_id) LOOP
        e_new[k] := e_id[k] IS NULL;
        IF e_new[k] THEN
            e_id[k] := nextval('series_id_seq');
            news[3] := news[3] + 1;
            s_series[e_study[k]] := s_series[e_study[k]] + 1;
            p_series[s_patient[e_study[k]]] := p_series[s_patient[e_study[k]]] + 1;
            IF e_modality_json[k] <> '' THEN
                s_modalities[e_study[k]] := merge_1('[' || s_modalities[e_study[k]] || ']', e_modality_json[k]);
                s_modalities[e_study[k]] := substr(s_modalities[e_study[k]], 2, length(s_modalities[e_study[k]]) - 2);
            END IF;
        END IF;
    END LOOP;

    -- Patients.
    IF news[1] < cardinality(p_id) THEN
        UPDATE patient r SET study_count = r.study_count + d.studies, series_count = r.series_count + d.series,
            instance_count = r.instance_count + d.n, size_bytes = r.size_bytes + d.bytes, stored_bytes = r.stored_bytes + d.stored,
            dicom_bytes = r.dicom_bytes + d.bytes, dicom_stored_bytes = r.dicom_stored_bytes + d.stored,
            last_update = now_s, stable_at = due, is_stable = false
        FROM unnest(p_id, p_new, p_studies, p_series, p_n, p_bytes, p_stored) d (id, new, studies, series, n, bytes, stored)
        WHERE NOT d.new AND r.id = d.id AND r.deleted = 0;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(p_id) - news[1] THEN
            RAISE EXCEPTION 'a patient was deleted meanwhile' USING ERRCODE = '40001';
        END IF;
    END IF;
    IF news[1] > 0 THEN
        INSERT INTO patient (id, public_id, study_count, series_count, instance_count, size_bytes, stored_bytes, dicom_bytes,
            dicom_stored_bytes, last_update, stable_at, patient_id, name, birth_date, sex, tags, metadata)
        SELECT d.id, d.public_id, d.studies, d.series, d.n, d.bytes, d.stored, d.bytes, d.stored, now_s, due, d.patient_id, d.name,
            d.birth_date, d.sex, d.tags, d.metadata
        FROM unnest(p_id, p_new, p_public, p_studies, p_series, p_n, p_bytes, p_stored, p_patient_id, p_name, p_birth_date, p_sex,
            p_tags, p_metadata) d (id, new, public_id, studies, series, n, bytes, stored, patient_id, name, birth_date, sex, tags,
            metadata)
        WHERE d.new ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> news[1] THEN
            RAISE EXCEPTION 'a patient was made meanwhile' USING ERRCODE = '40001';
        END IF;
    END IF;

    -- Studies.
    IF news[2] < cardinality(s_id) THEN
        UPDATE study r SET series_count = r.series_count + d.series,
            instance_count = r.instance_count + d.n, size_bytes = r.size_bytes + d.bytes, stored_bytes = r.stored_bytes + d.stored,
            dicom_bytes = r.dicom_bytes + d.bytes, dicom_stored_bytes = r.dicom_stored_bytes + d.stored,
            last_update = now_s, update_slot = now_s >> 8, stable_at = due, is_stable = false,
            modalities = merge_1(r.modalities, d.modalities), sop_classes = merge_1(r.sop_classes, d.classes)
        FROM unnest(s_id, s_new, s_series, s_n, s_bytes, s_stored, s_modalities, s_classes)
            d (id, new, series, n, bytes, stored, modalities, classes)
        WHERE NOT d.new AND r.id = d.id AND r.deleted = 0;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(s_id) - news[2] THEN
            RAISE EXCEPTION 'a study was deleted meanwhile' USING ERRCODE = '40001';
        END IF;
    END IF;
    IF news[2] > 0 THEN
        INSERT INTO study (id, patient, public_id, series_count, instance_count, size_bytes, stored_bytes, dicom_bytes,
            dicom_stored_bytes, last_update, update_slot, stable_at, study_uid, study_date, study_time, accession, study_id,
            description, referring, institution, patient_tags, patient_id, name, birth_date, sex, modalities, sop_classes, tags,
            metadata)
        SELECT d.id, p_id[d.patient], d.public_id, d.series, d.n, d.bytes, d.stored, d.bytes, d.stored, now_s, now_s >> 8, due,
            d.study_uid, d.study_date, d.study_time, d.accession, d.study_id, d.description, d.referring, d.institution,
            d.patient_tags, d.patient_id, d.name, d.birth_date, d.sex, '[' || d.modalities || ']', '[' || d.classes || ']', d.tags,
            d.metadata
        FROM unnest(s_id, s_new, s_patient, s_public, s_series, s_n, s_bytes, s_stored, s_study_uid, s_study_date, s_study_time,
            s_accession, s_study_id, s_description, s_referring, s_institution, s_patient_tags, s_patient_id, s_name, s_birth_date,
            s_sex, s_modalities, s_classes, s_tags, s_metadata) d (id, new, patient, public_id, series, n, bytes, stored, study_uid,
            study_date, study_time, accession, study_id, description, referring, institution, patient_tags, patient_id, name,
            birth_date, sex, modalities, classes, tags, metadata)
        WHERE d.new ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> news[2] THEN
            RAISE EXCEPTION 'a study was made meanwhile' USING ERRCODE = '40001';
        END IF;
    END IF;

    -- Series. Those that may have become complete are noted.
    IF news[3] < cardinality(e_id) THEN
        WITH changed AS (
            UPDATE series r SET
                instance_count = r.instance_count + d.n, size_bytes = r.size_bytes + d.bytes, stored_bytes = r.stored_bytes + d.stored,
                dicom_bytes = r.dicom_bytes + d.bytes, dicom_stored_bytes = r.dicom_stored_bytes + d.stored,
                last_update = now_s, stable_at = due, is_stable = false, sop_classes = merge_1(r.sop_classes, d.classes)
            FROM unnest(e_id, e_new, e_n, e_bytes, e_stored, e_classes) d (id, new, n, bytes, stored, classes)
            WHERE NOT d.new AND r.id = d.id AND r.deleted = 0
            RETURNING r.id, NOT r.completed AND r.expected_instances > 0 AND r.instance_count >= r.expected_instances AS is_full
        ) SELECT count(*), array_agg(c.id) FILTER (WHERE c.is_full) INTO n, full_series FROM changed c;
        IF n <> cardinality(e_id) - news[3] THEN
            RAISE EXCEPTION 'a series was deleted meanwhile' USING ERRCODE = '40001';
        END IF;
    END IF;
    IF news[3] > 0 THEN
        INSERT INTO series (id, study, public_id, instance_count, size_bytes, stored_bytes, dicom_bytes, dicom_stored_bytes,
            last_update, stable_at, expected_instances, series_uid, modality, description, body_part, sop_classes, tags, metadata)
        SELECT d.id, s_id[d.study], d.public_id, d.n, d.bytes, d.stored, d.bytes, d.stored, now_s, due, d.expected, d.series_uid,
            d.modality, d.description, d.body_part, '[' || d.classes || ']', d.tags, d.metadata
        FROM unnest(e_id, e_new, e_study, e_public, e_n, e_bytes, e_stored, e_expected, e_series_uid, e_modality, e_description,
            e_body_part, e_classes, e_tags, e_metadata) d (id, new, study, public_id, n, bytes, stored, expected, series_uid,
            modality, description, body_part, classes, tags, metadata)
        WHERE d.new ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> news[3] THEN
            RAISE EXCEPTION 'a series was made meanwhile' USING ERRCODE = '40001';
        END IF;
        FOR k IN 1..cardinality(e_id) LOOP
            IF e_new[k] AND e_expected[k] > 0 AND e_n[k] >= e_expected[k] THEN
                full_series := full_series || e_id[k];
            END IF;
        END LOOP;
    END IF;

    -- Instances, in the order of their arrival.
    WITH made AS (
        INSERT INTO instance (series, index_in_series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes,
            dicom_stored_bytes, checksum, md5, stored_md5, pixel_offset, tail_offset, size_bytes, stored_bytes, tags, metadata)
        SELECT e_id[d.series], d.index, d.public_id, d.sop_uid, d.sop_class, d.blob, d.compression, d.bytes, d.stored, d.checksum,
            d.md5, d.stored_md5, d.pixel, d.tail, d.bytes, d.stored, d.tags, d.metadata
        FROM unnest(i_series, i_index, i_public, i_sop_uid, i_sop_class, i_blob, i_compression, i_bytes, i_stored, i_checksum,
            i_md5, i_stored_md5, i_pixel, i_tail, i_tags, i_metadata) d (series, index, public_id, sop_uid, sop_class, blob, compression,
            bytes, stored, checksum, md5, stored_md5, pixel, tail, tags, metadata)
        ON CONFLICT DO NOTHING RETURNING id
    ) SELECT array_agg(m.id) INTO i_id FROM made m;
    IF cardinality(i_id) IS DISTINCT FROM cardinality(i_public) THEN
        RAISE EXCEPTION 'an instance was made meanwhile' USING ERRCODE = '40001';
    END IF;

    -- The intents of their blobs: the fence.
    WITH kept AS (
        UPDATE blob_intent b SET settled = b.settled | d.mask
        FROM (SELECT u.prefix, u.mask::bit varying AS mask FROM unnest(b_prefix, b_mask) u (prefix, mask)) d
        WHERE b.prefix = d.prefix AND b.node = b_node AND position(B'1' IN b.settled & d.mask) = 0
        RETURNING position(B'0' IN b.settled) = 0 AS is_full
    ) SELECT count(*), bool_or(k.is_full) INTO n, full_blocks FROM kept k;
    IF n <> cardinality(b_prefix) THEN
        RAISE EXCEPTION 'the blob is not reserved any more' USING ERRCODE = 'PL001';
    END IF;
    IF full_blocks THEN
        DELETE FROM blob_intent b WHERE b.prefix = ANY (b_prefix) AND position(B'0' IN b.settled) = 0;
    END IF;

    UPDATE stat_shard t SET patients = t.patients + news[1], studies = t.studies + news[2], series = t.series + news[3],
        instances = t.instances + cardinality(i_id), size_bytes = t.size_bytes + d.bytes, stored_bytes = t.stored_bytes + d.stored
    FROM (SELECT sum(u.bytes) AS bytes, sum(u.stored) AS stored FROM unnest(p_bytes, p_stored) u (bytes, stored)) d
    WHERE t.shard = b_shard;

    IF full_series IS NOT NULL THEN
        full_series := complete_1(full_series);
    END IF;

    -- Changes, last: from here to the end of the transaction other writers wait.
    n := cardinality(i_id) + news[1] + news[2] + news[3] + coalesce(cardinality(full_series), 0);
    UPDATE counter c SET value = c.value + n WHERE c.name = 'change' RETURNING c.value - n INTO seq;
    IF news[3] = 0 AND full_series IS NULL THEN
        INSERT INTO change (seq, type, level, resource, public_id, at)
        SELECT seq + d.n, 2, 3, d.id, d.public_id, now_s FROM unnest(i_id, i_public) WITH ORDINALITY d (id, public_id, n);
    ELSE
        INSERT INTO change (seq, type, level, resource, public_id, at)
        SELECT seq + row_number() OVER (ORDER BY d.n, d.level DESC), d.type, d.level, d.id, d.public_id, now_s FROM (
            SELECT u.n, 2 AS type, 3 AS level, u.id, u.public_id FROM unnest(i_id, i_public) WITH ORDINALITY u (id, public_id, n)
            UNION ALL SELECT u.first, 4, 2, u.id, u.public_id FROM unnest(e_id, e_public, e_first, e_new) u (id, public_id, first, new)
                WHERE u.new
            UNION ALL SELECT u.first, 5, 1, u.id, u.public_id FROM unnest(s_id, s_public, s_first, s_new) u (id, public_id, first, new)
                WHERE u.new
            UNION ALL SELECT u.first, 3, 0, u.id, u.public_id FROM unnest(p_id, p_public, p_first, p_new) u (id, public_id, first, new)
                WHERE u.new
            UNION ALL SELECT cardinality(i_id) + 1, 1, 2, r.id, r.public_id FROM unnest(full_series) u (id) JOIN series r ON r.id = u.id
        ) d;
    END IF;
END $store$
