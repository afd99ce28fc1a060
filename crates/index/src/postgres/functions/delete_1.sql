-- Deletes a resource with all below it, and the ancestors that it leaves empty; tells the nearest ancestor that remains. Subtrees with more
-- than `at_once` instances are marked, and their rows are left to the sweep.
CREATE FUNCTION delete_1 (
    of_level integer, of_id bytea, d_shard integer, at_once bigint,
    OUT there boolean, OUT remaining_level integer, OUT remaining_id bytea
) LANGUAGE plpgsql AS $delete$
DECLARE
    path record;
    p patient;
    s study;
    e series;
    f instance;
    n bigint[];
    root integer := of_level;
    lost_studies bigint := 0;
    lost_series bigint := 0;
    lost bigint := 1;
    size bigint;
    stored bigint;
    dicom bigint;
    dicom_stored bigint;
    all_studies bigint[];
    all_series bigint[];
    now_s bigint := floor(extract(epoch FROM clock_timestamp()));
BEGIN
    SELECT * INTO path FROM path_1(of_level, of_id);
    there := path.p IS NOT NULL;
    IF NOT there THEN
        RETURN;
    END IF;
    SELECT * INTO p FROM patient r WHERE r.id = path.p;
    SELECT * INTO s FROM study r WHERE r.id = path.s;
    SELECT * INTO e FROM series r WHERE r.id = path.e;
    SELECT * INTO f FROM instance r WHERE r.id = path.i;

    -- An ancestor without other instances goes with it.
    n := ARRAY[p.instance_count, s.instance_count, e.instance_count, 1];
    WHILE root > 0 AND n[root] = n[root + 1] LOOP
        root := root - 1;
    END LOOP;
    IF root = 3 THEN
        SELECT f.size_bytes, f.stored_bytes, f.dicom_bytes, f.dicom_stored_bytes INTO size, stored, dicom, dicom_stored;
    ELSIF root = 2 THEN
        lost_series := 1;
        SELECT e.instance_count, e.size_bytes, e.stored_bytes, e.dicom_bytes, e.dicom_stored_bytes
        INTO lost, size, stored, dicom, dicom_stored;
    ELSIF root = 1 THEN
        lost_studies := 1;
        SELECT s.series_count, s.instance_count, s.size_bytes, s.stored_bytes, s.dicom_bytes, s.dicom_stored_bytes
        INTO lost_series, lost, size, stored, dicom, dicom_stored;
    ELSE
        SELECT p.study_count, p.series_count, p.instance_count, p.size_bytes, p.stored_bytes, p.dicom_bytes, p.dicom_stored_bytes
        INTO lost_studies, lost_series, lost, size, stored, dicom, dicom_stored;
    END IF;

    -- What remains above.
    IF root > 0 THEN
        UPDATE patient r SET study_count = r.study_count - lost_studies, series_count = r.series_count - lost_series,
            instance_count = r.instance_count - lost, size_bytes = r.size_bytes - size, stored_bytes = r.stored_bytes - stored,
            dicom_bytes = r.dicom_bytes - dicom, dicom_stored_bytes = r.dicom_stored_bytes - dicom_stored, last_update = now_s
        WHERE r.id = p.id;
        remaining_level := 0;
        remaining_id := p.public_id;
    END IF;
    IF root > 1 THEN
        UPDATE study r SET series_count = r.series_count - lost_series,
            instance_count = r.instance_count - lost, size_bytes = r.size_bytes - size, stored_bytes = r.stored_bytes - stored,
            dicom_bytes = r.dicom_bytes - dicom, dicom_stored_bytes = r.dicom_stored_bytes - dicom_stored, last_update = now_s,
            update_slot = now_s >> 8
        WHERE r.id = s.id;
        remaining_level := 1;
        remaining_id := s.public_id;
    END IF;
    IF root > 2 THEN
        UPDATE series r SET
            instance_count = r.instance_count - lost, size_bytes = r.size_bytes - size, stored_bytes = r.stored_bytes - stored,
            dicom_bytes = r.dicom_bytes - dicom, dicom_stored_bytes = r.dicom_stored_bytes - dicom_stored, last_update = now_s,
            completed = false
        WHERE r.id = e.id;
        remaining_level := 2;
        remaining_id := e.public_id;
    END IF;

    -- What goes. Rows that were marked before have a tombstone of their own.
    all_studies := CASE root WHEN 0 THEN ARRAY(SELECT r.id FROM study r WHERE r.patient = p.id AND r.deleted = 0)
        WHEN 1 THEN ARRAY[s.id] ELSE '{}' END;
    all_series := CASE root WHEN 3 THEN '{}' WHEN 2 THEN ARRAY[e.id]
        ELSE ARRAY(SELECT r.id FROM series r WHERE r.study = ANY (all_studies) AND r.deleted = 0) END;
    IF lost <= at_once THEN
        PERFORM purge_1(3, CASE root WHEN 3 THEN ARRAY[f.id] ELSE ARRAY(SELECT r.id FROM instance r WHERE r.series = ANY (all_series)) END);
        PERFORM purge_1(2, all_series);
        PERFORM purge_1(1, all_studies);
        IF root = 0 THEN
            PERFORM purge_1(0, ARRAY[p.id]);
        END IF;
    ELSE
        UPDATE series r SET deleted = 1, is_stable = true WHERE r.id = ANY (all_series);
        UPDATE study r SET deleted = 1, is_stable = true WHERE r.id = ANY (all_studies);
        IF root = 0 THEN
            UPDATE patient r SET deleted = 1, is_stable = true WHERE r.id = p.id;
        END IF;
        DELETE FROM label l WHERE l.level = 2 AND l.resource = ANY (all_series);
        DELETE FROM label l WHERE l.level = 1 AND l.resource = ANY (all_studies);
        DELETE FROM label l WHERE l.level = 0 AND l.resource = p.id AND root = 0;
        IF EXISTS (SELECT FROM label l WHERE l.level = 3) THEN
            DELETE FROM label l USING instance r WHERE r.series = ANY (all_series) AND l.level = 3 AND l.resource = r.id;
        END IF;
        INSERT INTO tombstone (level, resource) VALUES (root, CASE root WHEN 0 THEN p.id WHEN 1 THEN s.id ELSE e.id END);
    END IF;
    IF root = 3 THEN
        PERFORM refresh_1(s.id, e.id, false);
    ELSIF root = 2 THEN
        PERFORM refresh_1(s.id, NULL, false);
    END IF;
    UPDATE stat_shard t SET patients = t.patients - (root = 0)::integer, studies = t.studies - lost_studies,
        series = t.series - lost_series, instances = t.instances - lost, size_bytes = t.size_bytes - size,
        stored_bytes = t.stored_bytes - stored
    WHERE t.shard = d_shard;
END $delete$
