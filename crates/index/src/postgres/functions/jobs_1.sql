-- What changes jobs, each in one round trip. Letters of states and wants are those of the table `job`; times are microseconds.
-- Where many jobs may wait, the plan must not depend on how many the planner believes in: partial indexes are read in their order.

CREATE FUNCTION job_now_1 () RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- A job that does not run, and has not ended, from `a_until` on.
CREATE FUNCTION job_rest_1 (a_job uuid, a_state text, a_until bigint) RETURNS void LANGUAGE plpgsql AS $rest$
BEGIN
    UPDATE job j SET state = a_state, runtime = j.runtime + greatest(0, a_until - coalesce(j.started_at, a_until)),
        started_at = NULL, owner = NULL, want = NULL WHERE j.id = a_job;
END $rest$;

-- A job that has ended, and ran until `a_until`. No code: it succeeded.
CREATE FUNCTION job_end_1 (a_job uuid, a_code integer, a_details text, a_payload text, a_until bigint, a_now bigint)
RETURNS void LANGUAGE plpgsql AS $end$
BEGIN
    UPDATE job j SET state = CASE WHEN a_code IS NULL THEN 'S' ELSE 'F' END, error_code = coalesce(a_code, 0),
        error_details = coalesce(a_details, ''), error_payload = a_payload, completed_at = a_now,
        done_seq = nextval('job_done_seq'), runtime = j.runtime + greatest(0, a_until - coalesce(j.started_at, a_until)),
        started_at = NULL, owner = NULL, want = NULL WHERE j.id = a_job;
END $end$;

-- Removes jobs that the caller has locked.
CREATE FUNCTION job_forget_1 (a_jobs uuid[]) RETURNS void LANGUAGE plpgsql AS $forget$
BEGIN
    WITH gone AS (DELETE FROM job_output o WHERE o.job = ANY (a_jobs) RETURNING o.blob)
    INSERT INTO deleted_blob (blob) SELECT gone.blob FROM gone ON CONFLICT DO NOTHING;
    DELETE FROM job_waiter w WHERE w.job = ANY (a_jobs);
    DELETE FROM job_step s WHERE s.job = ANY (a_jobs);
    DELETE FROM job j WHERE j.id = ANY (a_jobs);
END $forget$;

-- Removes some of what is beyond the limits, the oldest first, save what somebody waits for.
CREATE FUNCTION job_trim_1 (a_history bigint, a_outputs bigint, a_most bigint) RETURNS void LANGUAGE plpgsql
SET enable_seqscan TO off SET enable_bitmapscan TO off SET enable_sort TO off AS $trim$
DECLARE
    last bigint;
    gone uuid[];
BEGIN
    SELECT j.done_seq INTO last FROM job j WHERE j.done_seq IS NOT NULL ORDER BY j.done_seq DESC LIMIT 1 OFFSET a_history;
    IF last IS NOT NULL THEN
        gone := ARRAY(
            SELECT j.id FROM job j WHERE j.done_seq IS NOT NULL AND j.done_seq <= last
                AND NOT EXISTS (SELECT FROM job_waiter w WHERE w.job = j.id)
            ORDER BY j.done_seq LIMIT a_most FOR UPDATE SKIP LOCKED);
        IF cardinality(gone) > 0 THEN
            PERFORM job_forget_1(gone);
        END IF;
    END IF;
    SELECT o.used_seq INTO last FROM job_output o ORDER BY o.used_seq DESC LIMIT 1 OFFSET a_outputs;
    IF last IS NOT NULL THEN
        WITH old AS (
            SELECT o.ctid AS place FROM job_output o WHERE o.used_seq <= last
                AND NOT EXISTS (SELECT FROM job_waiter w WHERE w.job = o.job)
            ORDER BY o.used_seq LIMIT a_most FOR UPDATE SKIP LOCKED
        ), removed AS (
            DELETE FROM job_output o WHERE o.ctid = ANY (ARRAY(SELECT old.place FROM old)) RETURNING o.blob
        ) INSERT INTO deleted_blob (blob) SELECT removed.blob FROM removed ON CONFLICT DO NOTHING;
    END IF;
END $trim$;

-- Hands waiting jobs to a process whose lease lives, in order; suspects are those that have crashed twice.
CREATE FUNCTION job_claim_1 (a_node uuid, a_most bigint, a_suspects boolean) RETURNS TABLE (
    job_id uuid, job_epoch bigint, job_kind text, job_version integer, job_arguments text, job_content text,
    job_progress double precision, job_pinned boolean, job_crashes integer, positions bigint[], outcomes text[]
) LANGUAGE plpgsql SET enable_seqscan TO off SET enable_bitmapscan TO off SET enable_sort TO off AS $claim$
DECLARE
    now bigint := job_now_1();
    may text[];
    newer bigint;
    chosen uuid[];
BEGIN
    SELECT n.kinds, CASE WHEN n.new_jobs_only THEN n.started_at ELSE -1 END INTO may, newer FROM node n
        WHERE n.id = a_node AND n.lease_until > now AND NOT n.draining;
    IF NOT FOUND THEN
        RETURN;
    ELSIF a_suspects THEN
        chosen := ARRAY(
            SELECT j.id FROM job j WHERE j.state = 'P' AND j.crashes >= 2 AND (j.pin IS NULL OR j.pin = a_node)
                AND j.kind = ANY (may) AND j.created_at > newer
            ORDER BY j.priority DESC, j.seq LIMIT a_most FOR UPDATE SKIP LOCKED);
    ELSE
        chosen := ARRAY(
            SELECT j.id FROM job j WHERE j.state = 'P' AND j.crashes < 2 AND (j.pin IS NULL OR j.pin = a_node)
                AND j.kind = ANY (may) AND j.created_at > newer
            ORDER BY j.priority DESC, j.seq LIMIT a_most FOR UPDATE SKIP LOCKED);
    END IF;
    IF cardinality(chosen) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY WITH claimed AS (
        UPDATE job j SET state = 'R', owner = a_node, epoch = j.epoch + 1, started_at = now, want = NULL WHERE j.id = ANY (chosen)
        RETURNING j.*
    ) SELECT c.id, c.epoch, c.kind, c.version, c.arguments, c.content, c.progress, c.pin IS NOT NULL, c.crashes,
        ARRAY(SELECT s.position FROM job_step s WHERE s.job = c.id ORDER BY s.position),
        ARRAY(SELECT s.outcome FROM job_step s WHERE s.job = c.id ORDER BY s.position)
    FROM claimed c ORDER BY c.priority DESC, c.seq;
END $claim$;

-- Keeps steps, progress and content, if the claim is the current one. A step that is new clears the crashes.
CREATE FUNCTION job_keep_1 (
    a_job uuid, a_owner uuid, a_epoch bigint, a_positions bigint[], a_outcomes text[], a_progress double precision, a_content text
) RETURNS boolean LANGUAGE plpgsql AS $keep$
BEGIN
    UPDATE job j SET progress = a_progress, content = a_content
    WHERE j.id = a_job AND j.state = 'R' AND j.owner = a_owner AND j.epoch = a_epoch;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF cardinality(a_positions) > 0 THEN
        INSERT INTO job_step (job, position, outcome)
            SELECT a_job, u.position, u.outcome FROM unnest(a_positions, a_outcomes) u (position, outcome) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            UPDATE job j SET crashes = 0, crashed_on = '' WHERE j.id = a_job AND j.crashes > 0;
        END IF;
    END IF;
    RETURN true;
END $keep$;

-- Ends a run as `a_end` says, in the letter of the state that it asks for. Returns the letter of the new state, NULL if the claim is not
-- the current one. Raises PL001 if the intent of an output's blob is gone.
CREATE FUNCTION job_finish_1 (
    a_job uuid, a_owner uuid, a_epoch bigint, a_positions bigint[], a_outcomes text[], a_progress double precision, a_content text,
    a_end text, a_code integer, a_details text, a_payload text, a_canceled integer,
    a_node uuid, a_prefix bytea[], a_mask text[],
    o_key text[], o_blob uuid[], o_size bigint[], o_mime text[], o_file text[],
    a_history bigint, a_outputs bigint, a_most bigint
) RETURNS text LANGUAGE plpgsql AS $finish$
DECLARE
    now bigint := job_now_1();
    wanted text;
    n bigint;
BEGIN
    IF NOT job_keep_1(a_job, a_owner, a_epoch, a_positions, a_outcomes, a_progress, a_content) THEN
        RETURN NULL;
    END IF;
    SELECT j.want INTO wanted FROM job j WHERE j.id = a_job;
    IF a_end = 'S' THEN
        IF cardinality(a_prefix) > 0 THEN
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
                SELECT a_job, u.blob, u.size, nextval('job_output_seq'), u.key, u.mime, u.file
                FROM unnest(o_key, o_blob, o_size, o_mime, o_file) u (key, blob, size, mime, file);
        END IF;
        PERFORM job_end_1(a_job, NULL, NULL, NULL, now, now);
    ELSIF a_end = 'F' THEN
        PERFORM job_end_1(a_job, a_code, a_details, a_payload, now, now);
    ELSIF wanted = 'C' THEN
        PERFORM job_end_1(a_job, a_canceled, '', NULL, now, now);
        a_end := 'F';
    ELSE
        IF wanted = 'P' THEN
            a_end := 'H';
        END IF;
        PERFORM job_rest_1(a_job, a_end, now);
        RETURN a_end;
    END IF;
    PERFORM job_trim_1(a_history, a_outputs, a_most);
    RETURN a_end;
END $finish$;

-- Acts by the present state. C(ancel), P(ause), R(esume), S: resubmit. Returns NULL for an unknown job, otherwise what happened: `!` it was
-- refused, `=` nothing, `W` it is wanted of the owner, or the letter of the new state.
CREATE FUNCTION job_act_1 (a_job uuid, a_action text, a_canceled integer, a_history bigint, a_outputs bigint, a_most bigint)
RETURNS text LANGUAGE plpgsql AS $act$
DECLARE
    now bigint := job_now_1();
    old text;
    pinned boolean;
BEGIN
    SELECT j.state, j.pin IS NOT NULL INTO old, pinned FROM job j WHERE j.id = a_job FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF a_action = 'C' AND old IN ('P', 'H', 'T') THEN
        PERFORM job_end_1(a_job, a_canceled, '', NULL, now, now);
        PERFORM job_trim_1(a_history, a_outputs, a_most);
        RETURN 'F';
    ELSIF a_action IN ('C', 'P') AND old = 'R' THEN
        UPDATE job j SET want = CASE WHEN a_action = 'C' THEN 'C' ELSE coalesce(j.want, 'P') END WHERE j.id = a_job;
        RETURN 'W';
    ELSIF a_action = 'P' AND old IN ('P', 'T') THEN
        PERFORM job_rest_1(a_job, 'H', now);
        RETURN 'H';
    ELSIF a_action IN ('C', 'P') THEN
        RETURN '=';
    ELSIF a_action = 'R' AND old = 'H' THEN
        PERFORM job_rest_1(a_job, 'P', now);
        RETURN 'P';
    ELSIF a_action = 'S' AND old = 'F' AND NOT pinned THEN
        UPDATE job j SET state = 'P', crashes = 0, crashed_on = '', runtime = 0, progress = 0, error_code = 0, error_details = '',
            error_payload = NULL, completed_at = NULL, done_seq = NULL WHERE j.id = a_job;
        DELETE FROM job_step s WHERE s.job = a_job;
        RETURN 'P';
    END IF;
    RETURN '!';
END $act$;

-- Forgets an ended job. Returns whether there was one.
CREATE FUNCTION job_delete_1 (a_job uuid) RETURNS boolean LANGUAGE plpgsql AS $delete$
BEGIN
    PERFORM FROM job j WHERE j.id = a_job AND j.done_seq IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM job_forget_1(ARRAY[a_job]);
    RETURN true;
END $delete$;

-- A process waits for these jobs no more.
CREATE FUNCTION job_unwait_1 (a_node uuid, a_jobs uuid[], a_history bigint, a_outputs bigint, a_most bigint)
RETURNS void LANGUAGE plpgsql AS $unwait$
BEGIN
    DELETE FROM job_waiter w WHERE w.job = ANY (a_jobs) AND w.node = a_node;
    PERFORM job_trim_1(a_history, a_outputs, a_most);
END $unwait$;

-- One beat: see `model::ports::Jobs::tick`. `a_poison`, `a_unpinned`, `a_canceled`: error codes; `a_unpinned_text`: details.
CREATE FUNCTION job_tick_1 (
    a_node uuid, a_running uuid[], a_lease bigint, a_draining boolean, a_settings bigint, a_history bigint, a_outputs bigint,
    a_most bigint, a_unknown bigint, a_canceled integer, a_poison integer, a_unpinned integer, a_unpinned_text text,
    OUT lost boolean, OUT work boolean, OUT due boolean, OUT rescued bigint, OUT settings bigint, OUT ended uuid[],
    OUT waiting boolean, OUT wanted uuid[], OUT epochs bigint[], OUT wants text[]
) LANGUAGE plpgsql SET enable_seqscan TO off SET enable_bitmapscan TO off SET enable_sort TO off AS $tick$
DECLARE
    now bigint := job_now_1();
    gone uuid[] := '{}';
    orphan record;
    me record;
BEGIN
    rescued := 0;
    ended := '{}';
    waiting := false;
    UPDATE node n SET lease_until = now + a_lease, draining = a_draining, settings = a_settings WHERE n.id = a_node;
    lost := NOT FOUND;
    -- Just after the database started nobody can have beaten.
    IF (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint + a_lease < now THEN
        -- Who beats at this moment, or is being forgotten, is left to its own statement. The list of owners is made before any row
        -- is locked: a node without a row will never have one again.
        gone := ARRAY(SELECT n.id FROM node n WHERE n.lease_until <= now FOR UPDATE SKIP LOCKED)
            || ARRAY(SELECT DISTINCT j.owner FROM job j
                WHERE j.state = 'R' AND NOT EXISTS (SELECT FROM node n WHERE n.id = j.owner));
        FOR orphan IN
            SELECT j.id, j.want, j.pin, j.crashes, coalesce(n.lease_until, now) AS until,
                j.crashed_on || regexp_replace(coalesce(n.name, ''), '[\r\n]', ' ', 'g') || ' (' || j.owner || E')\n' AS crashed_on
            FROM job j LEFT JOIN node n ON n.id = j.owner
            WHERE j.state = 'R' AND j.owner = ANY (gone) FOR UPDATE OF j SKIP LOCKED
        LOOP
            rescued := rescued + 1;
            UPDATE job j SET crashes = j.crashes + 1, crashed_on = orphan.crashed_on WHERE j.id = orphan.id;
            IF orphan.want = 'C' THEN
                PERFORM job_end_1(orphan.id, a_canceled, '', NULL, orphan.until, now);
            ELSIF orphan.pin IS NOT NULL THEN
                PERFORM job_end_1(orphan.id, a_unpinned, a_unpinned_text, NULL, orphan.until, now);
            ELSIF orphan.want = 'P' THEN
                PERFORM job_rest_1(orphan.id, 'H', orphan.until);
                CONTINUE;
            ELSIF orphan.crashes >= 2 THEN
                PERFORM job_end_1(orphan.id, a_poison, orphan.crashes + 1 || ' processes ended while they ran the job: '
                    || replace(rtrim(orphan.crashed_on, E'\n'), E'\n', ', '), NULL, orphan.until, now);
            ELSE
                PERFORM job_rest_1(orphan.id, 'P', orphan.until);
                waiting := true;
                CONTINUE;
            END IF;
            ended := ended || orphan.id;
        END LOOP;
        DELETE FROM node n WHERE n.id = ANY (gone);
        FOR orphan IN
            SELECT j.id FROM job j WHERE j.pin IS NOT NULL AND j.done_seq IS NULL AND j.state <> 'R'
                AND NOT EXISTS (SELECT FROM node n WHERE n.id = j.pin) FOR UPDATE OF j SKIP LOCKED
        LOOP
            rescued := rescued + 1;
            PERFORM job_end_1(orphan.id, a_unpinned, a_unpinned_text, NULL, now, now);
            ended := ended || orphan.id;
        END LOOP;
        DELETE FROM job_waiter w WHERE NOT EXISTS (SELECT FROM node n WHERE n.id = w.node);
    END IF;
    -- The answer to a claim was lost.
    FOR orphan IN
        SELECT j.id, j.want FROM job j WHERE j.state = 'R' AND j.owner = a_node AND j.started_at <= now - a_unknown
            AND NOT j.id = ANY (a_running) FOR UPDATE
    LOOP
        IF orphan.want = 'C' THEN
            PERFORM job_end_1(orphan.id, a_canceled, '', NULL, now, now);
            ended := ended || orphan.id;
        ELSE
            PERFORM job_rest_1(orphan.id, CASE WHEN orphan.want = 'P' THEN 'H' ELSE 'P' END, now);
            waiting := true;
        END IF;
    END LOOP;
    PERFORM job_trim_1(a_history, a_outputs, a_most);
    SELECT coalesce(array_agg(j.id), '{}'), coalesce(array_agg(j.epoch), '{}'), coalesce(array_agg(j.want), '{}')
        INTO wanted, epochs, wants FROM job j WHERE j.state = 'R' AND j.owner = a_node AND j.want IS NOT NULL;
    work := false;
    IF NOT (lost OR a_draining) THEN
        SELECT n.kinds, CASE WHEN n.new_jobs_only THEN n.started_at ELSE -1 END AS newer INTO me FROM node n WHERE n.id = a_node;
        work := EXISTS (SELECT FROM job j WHERE j.state = 'P' AND j.crashes < 2 AND (j.pin IS NULL OR j.pin = a_node)
                AND j.kind = ANY (me.kinds) AND j.created_at > me.newer)
            OR EXISTS (SELECT FROM job j WHERE j.state = 'P' AND j.crashes >= 2 AND (j.pin IS NULL OR j.pin = a_node)
                AND j.kind = ANY (me.kinds) AND j.created_at > me.newer);
    END IF;
    due := EXISTS (SELECT FROM series e WHERE NOT e.is_stable AND e.stable_at <= now / 1000)
        OR EXISTS (SELECT FROM study s WHERE NOT s.is_stable AND s.stable_at <= now / 1000)
        OR EXISTS (SELECT FROM patient p WHERE NOT p.is_stable AND p.stable_at <= now / 1000)
        OR EXISTS (SELECT FROM tombstone) OR EXISTS (SELECT FROM deleted_blob)
        OR EXISTS (SELECT FROM blob_intent i WHERE NOT EXISTS (
            SELECT FROM blob_node b WHERE b.node = i.node AND b.alive_until > clock_timestamp()));
    SELECT c.value INTO settings FROM counter c WHERE c.name = 'settings';
END $tick$;
