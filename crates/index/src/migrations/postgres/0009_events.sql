-- The tables and the triggers of `sqlite/0009_events.sql`; what its comments say holds here.

DROP TRIGGER job_submitted ON job;
DROP TRIGGER job_ended ON job;
DROP FUNCTION job_event_1;
DROP TABLE job_event;

CREATE TABLE event (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_until bigint NOT NULL DEFAULT 0,
    taken_by uuid,
    kind smallint NOT NULL,
    level smallint,
    subject bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX event_subject ON event (subject, seq);

CREATE TABLE listening (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    kinds bigint NOT NULL,
    beat_at bigint NOT NULL
);
INSERT INTO listening (kinds, beat_at) VALUES (0, 0);

CREATE FUNCTION event_change_1 () RETURNS trigger LANGUAGE plpgsql AS $event$
DECLARE
    listened bigint := (SELECT l.kinds FROM listening l);
BEGIN
    IF listened <> 0 THEN
        INSERT INTO event (kind, level, subject)
        SELECT n.type, n.level, n.public_id FROM new_rows n WHERE (listened >> n.type) & 1 = 1 ORDER BY n.seq;
    END IF;
    RETURN NULL;
END $event$;

CREATE FUNCTION event_deleted_1 () RETURNS trigger LANGUAGE plpgsql AS $event$
BEGIN
    IF ((SELECT l.kinds FROM listening l) >> 32) & 1 = 1 THEN
        INSERT INTO event (kind, level, subject) SELECT 32, TG_ARGV[0]::smallint, o.public_id FROM old_rows o ORDER BY o.id;
    END IF;
    RETURN NULL;
END $event$;

CREATE FUNCTION event_job_1 () RETURNS trigger LANGUAGE plpgsql AS $event$
DECLARE
    happened integer := CASE WHEN TG_OP = 'INSERT' THEN 33 WHEN NEW.state = 'S' THEN 34 ELSE 35 END;
BEGIN
    IF ((SELECT l.kinds FROM listening l) >> happened) & 1 = 1 THEN
        INSERT INTO event (kind, subject) VALUES (happened, uuid_send(NEW.id));
    END IF;
    RETURN NULL;
END $event$;

CREATE TRIGGER event_change AFTER INSERT ON change
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION event_change_1();
CREATE TRIGGER event_patient AFTER DELETE ON patient
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION event_deleted_1('0');
CREATE TRIGGER event_study AFTER DELETE ON study
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION event_deleted_1('1');
CREATE TRIGGER event_series AFTER DELETE ON series
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION event_deleted_1('2');
CREATE TRIGGER event_instance AFTER DELETE ON instance
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION event_deleted_1('3');
CREATE TRIGGER event_job AFTER INSERT ON job FOR EACH ROW EXECUTE FUNCTION event_job_1();
CREATE TRIGGER event_job_end AFTER UPDATE OF done_seq ON job FOR EACH ROW
    WHEN (OLD.done_seq IS NULL AND NEW.done_seq IS NOT NULL) EXECUTE FUNCTION event_job_1();
