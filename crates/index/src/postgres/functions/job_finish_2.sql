-- Ends runs as `a_end` says, each in the letter of the state that it asks for, and trims once. Returns the letters of the new states in the
-- same order. If one of several claims is not the current one it raises PL002, of one alone it returns NULL; it raises PL001 if the intent
-- of an output's blob is gone. `s_at` and `o_at` say which end a step or an output is of, from 1.
CREATE FUNCTION job_finish_2 (
    a_job uuid[], a_owner uuid[], a_epoch bigint[], a_progress double precision[], a_content text[],
    a_end text[], a_code integer[], a_details text[], a_payload text[], a_canceled integer,
    s_at bigint[], s_position bigint[], s_outcome text[],
    a_node uuid, a_prefix bytea[], a_mask text[],
    o_at bigint[], o_key text[], o_blob uuid[], o_size bigint[], o_mime text[], o_file text[],
    a_history bigint, a_outputs bigint, a_most bigint
) RETURNS text[] LANGUAGE plpgsql AS $finish$
DECLARE
    now bigint := job_now_1();
    letters text[];
    n bigint;
BEGIN
    -- What a client wants decides about a run that neither succeeded nor failed.
    WITH ended AS (
        UPDATE job j SET progress = e.progress, content = e.content,
            state = CASE WHEN e.letter IN ('S', 'F') THEN e.letter WHEN j.want = 'C' THEN 'F' WHEN j.want = 'P' THEN 'H' ELSE e.letter END,
            error_code = CASE WHEN e.letter IN ('S', 'F') OR j.want IS DISTINCT FROM 'C' THEN e.code ELSE a_canceled END,
            error_details = e.details, error_payload = e.payload,
            completed_at = CASE WHEN e.letter IN ('S', 'F') OR j.want = 'C' THEN now END,
            done_seq = CASE WHEN e.letter IN ('S', 'F') OR j.want = 'C' THEN nextval('job_done_seq') END,
            runtime = j.runtime + greatest(0, now - coalesce(j.started_at, now)), started_at = NULL, owner = NULL, want = NULL
        FROM unnest(a_job, a_owner, a_epoch, a_progress, a_content, a_end, a_code, a_details, a_payload) WITH ORDINALITY
            e (job, owner, epoch, progress, content, letter, code, details, payload, at)
        WHERE j.id = e.job AND j.state = 'R' AND j.owner = e.owner AND j.epoch = e.epoch
        RETURNING e.at, j.state
    ) SELECT array_agg(d.state ORDER BY d.at), count(*) INTO letters, n FROM ended d;
    IF n < cardinality(a_job) THEN
        IF cardinality(a_job) = 1 THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'a job is owned by another process now' USING ERRCODE = 'PL002';
    END IF;
    IF cardinality(s_at) > 0 THEN
        WITH kept AS (
            INSERT INTO job_step (job, position, outcome)
            SELECT a_job[u.at], u.position, u.outcome FROM unnest(s_at, s_position, s_outcome) u (at, position, outcome)
            ON CONFLICT DO NOTHING RETURNING job
        ) UPDATE job j SET crashes = 0, crashed_on = '' WHERE j.id = ANY (ARRAY(SELECT k.job FROM kept k)) AND j.crashes > 0;
    END IF;
    IF cardinality(o_at) > 0 THEN
        WITH kept AS (
            UPDATE blob_intent b SET settled = b.settled | d.mask
            FROM (SELECT u.prefix, u.mask::bit varying AS mask FROM unnest(a_prefix, a_mask) u (prefix, mask)) d
            WHERE b.prefix = d.prefix AND b.node = a_node AND position(B'1' IN b.settled & d.mask) = 0
            RETURNING b.prefix
        ) SELECT count(*) INTO n FROM kept;
        IF n <> cardinality(a_prefix) THEN
            RAISE EXCEPTION 'the blob is not reserved any more' USING ERRCODE = 'PL001';
        END IF;
        DELETE FROM blob_intent b WHERE b.prefix = ANY (a_prefix) AND position(B'0' IN b.settled) = 0;
        INSERT INTO job_output (job, blob, size_bytes, used_seq, key, mime, file_name)
            SELECT a_job[u.at], u.blob, u.size, nextval('job_output_seq'), u.key, u.mime, u.file
            FROM unnest(o_at, o_blob, o_size, o_key, o_mime, o_file) u (at, blob, size, key, mime, file);
    END IF;
    IF 'S' = ANY (letters) OR 'F' = ANY (letters) THEN
        PERFORM job_trim_1(a_history, a_outputs, a_most);
    END IF;
    RETURN letters;
END $finish$;
