-- Events of jobs that wait for their delivery. Triggers write them, so that no way to end a job forgets them, in the transaction of what
-- happened. Nobody may listen: then the newest ten thousand remain.

CREATE TABLE job_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job BLOB NOT NULL,
    -- Job submitted, Success, Failure
    kind TEXT NOT NULL CHECK (kind IN ('J', 'S', 'F')),
    at INTEGER NOT NULL,
    -- who delivers it, and until when nobody else may
    taken_by BLOB,
    taken_until INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TRIGGER job_submitted AFTER INSERT ON job BEGIN
    INSERT INTO job_event (job, kind, at) VALUES (NEW.id, 'J', NEW.created_at);
    DELETE FROM job_event WHERE seq <= (SELECT max(seq) FROM job_event) - 10000;
END;

CREATE TRIGGER job_ended AFTER UPDATE OF done_seq ON job WHEN OLD.done_seq IS NULL AND NEW.done_seq IS NOT NULL BEGIN
    INSERT INTO job_event (job, kind, at) VALUES (NEW.id, NEW.state, NEW.completed_at);
    DELETE FROM job_event WHERE seq <= (SELECT max(seq) FROM job_event) - 10000;
END;
