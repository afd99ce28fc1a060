-- Events of resources and jobs that wait for their delivery, for who listens. Triggers write them, so that no way to change something forgets
-- them, in the transaction of what happened. They replace the events of jobs alone, to which nobody has listened yet.

DROP TRIGGER job_submitted;
DROP TRIGGER job_ended;
DROP TABLE job_event;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- the type of a change, or 32 deleted, 33 job submitted, 34 success, 35 failure
    kind INTEGER NOT NULL,
    -- of a resource
    level INTEGER,
    -- a public id, or that of a job
    subject BLOB NOT NULL,
    -- who delivers it, and until when nobody else may
    taken_by BLOB,
    taken_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX event_subject ON event (subject, seq);

-- One row: one bit for each kind that somebody listens to, and when the hearts of scripts beat last.
CREATE TABLE listening (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    kinds INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT;
INSERT INTO listening (one, kinds, beat_at) VALUES (1, 0, 0);

CREATE TRIGGER event_change AFTER INSERT ON change WHEN (SELECT kinds FROM listening) >> NEW.type & 1 BEGIN
    INSERT INTO event (kind, level, subject) VALUES (NEW.type, NEW.level, NEW.public_id);
END;
CREATE TRIGGER event_patient AFTER DELETE ON patient WHEN (SELECT kinds FROM listening) >> 32 & 1 BEGIN
    INSERT INTO event (kind, level, subject) VALUES (32, 0, OLD.public_id);
END;
CREATE TRIGGER event_study AFTER DELETE ON study WHEN (SELECT kinds FROM listening) >> 32 & 1 BEGIN
    INSERT INTO event (kind, level, subject) VALUES (32, 1, OLD.public_id);
END;
CREATE TRIGGER event_series AFTER DELETE ON series WHEN (SELECT kinds FROM listening) >> 32 & 1 BEGIN
    INSERT INTO event (kind, level, subject) VALUES (32, 2, OLD.public_id);
END;
CREATE TRIGGER event_instance AFTER DELETE ON instance WHEN (SELECT kinds FROM listening) >> 32 & 1 BEGIN
    INSERT INTO event (kind, level, subject) VALUES (32, 3, OLD.public_id);
END;
CREATE TRIGGER event_job AFTER INSERT ON job WHEN (SELECT kinds FROM listening) >> 33 & 1 BEGIN
    INSERT INTO event (kind, subject) VALUES (33, NEW.id);
END;
CREATE TRIGGER event_job_end AFTER UPDATE OF done_seq ON job
WHEN OLD.done_seq IS NULL AND NEW.done_seq IS NOT NULL AND (SELECT kinds FROM listening) >> iif(NEW.state = 'S', 34, 35) & 1 BEGIN
    INSERT INTO event (kind, subject) VALUES (iif(NEW.state = 'S', 34, 35), NEW.id);
END;
