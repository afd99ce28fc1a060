-- The table and the triggers of `sqlite/0005_job_events.sql`; what its comments say holds here.

CREATE TABLE job_event (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    taken_until bigint NOT NULL DEFAULT 0,
    job uuid NOT NULL,
    taken_by uuid,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('J', 'S', 'F'))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What is surplus goes by twos, so that no transaction has much to do; who finds it locked leaves it to the next.
CREATE FUNCTION job_event_1 () RETURNS trigger LANGUAGE plpgsql AS $event$
DECLARE
    last bigint;
BEGIN
    INSERT INTO job_event (job, kind, at) SELECT NEW.id, CASE WHEN TG_OP = 'INSERT' THEN 'J' ELSE NEW.state END,
        CASE WHEN TG_OP = 'INSERT' THEN NEW.created_at ELSE NEW.completed_at END RETURNING seq INTO last;
    DELETE FROM job_event e WHERE e.seq = ANY (ARRAY(
        SELECT o.seq FROM job_event o WHERE o.seq <= last - 10000 ORDER BY o.seq LIMIT 2 FOR UPDATE SKIP LOCKED));
    RETURN NULL;
END $event$;

CREATE TRIGGER job_submitted AFTER INSERT ON job FOR EACH ROW EXECUTE FUNCTION job_event_1();
CREATE TRIGGER job_ended AFTER UPDATE OF done_seq ON job FOR EACH ROW
    WHEN (OLD.done_seq IS NULL AND NEW.done_seq IS NOT NULL) EXECUTE FUNCTION job_event_1();
