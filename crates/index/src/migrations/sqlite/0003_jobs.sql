-- Jobs, and the processes that share them. Times are microseconds since 1970 on the database's clock, ids the 16 bytes of a UUID.

CREATE TABLE job (
    -- in order of creation
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    -- the only process that may run it
    pin BLOB,
    created_at INTEGER NOT NULL,
    -- Pending, Running, Success, Failure, Held (`Paused`), reTry
    state TEXT NOT NULL DEFAULT 'P' CHECK (state IN ('P', 'R', 'S', 'F', 'H', 'T')),
    owner BLOB,
    epoch INTEGER NOT NULL DEFAULT 0,
    -- what a client asks of the owner: Cancel, Pause
    want TEXT CHECK (want IN ('C', 'P')),
    crashes INTEGER NOT NULL DEFAULT 0,
    -- the processes of these crashes, one a line
    crashed_on TEXT NOT NULL DEFAULT '',
    started_at INTEGER,
    -- microseconds of earlier runs
    runtime INTEGER NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0,
    content TEXT NOT NULL,
    error_code INTEGER NOT NULL DEFAULT 0,
    error_details TEXT NOT NULL DEFAULT '',
    error_payload TEXT,
    completed_at INTEGER,
    -- of ended jobs, in order of their ends
    done_seq INTEGER
) STRICT;
CREATE UNIQUE INDEX job_id ON job (id);
CREATE INDEX job_pending ON job (priority DESC, seq) WHERE state = 'P' AND crashes < 2;
CREATE INDEX job_suspect ON job (priority DESC, seq) WHERE state = 'P' AND crashes >= 2;
CREATE INDEX job_running ON job (owner) WHERE state = 'R';
CREATE INDEX job_pinned ON job (pin) WHERE pin IS NOT NULL AND done_seq IS NULL;
CREATE INDEX job_done ON job (done_seq) WHERE done_seq IS NOT NULL;

-- What is written once and may be large: SQLite writes all of a row when a part of it changes.
CREATE TABLE job_input (
    job INTEGER PRIMARY KEY,
    arguments TEXT NOT NULL,
    user_data TEXT
) STRICT;

CREATE TABLE job_step (
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_output (
    job INTEGER NOT NULL,
    key TEXT NOT NULL,
    blob BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    mime TEXT NOT NULL,
    file_name TEXT NOT NULL,
    -- in order of the last reads
    used_seq INTEGER NOT NULL,
    PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_output_used ON job_output (used_seq);

-- Processes that somebody asked for the end of a job: its record stays.
CREATE TABLE job_waiter (
    job INTEGER NOT NULL,
    node BLOB NOT NULL,
    PRIMARY KEY (job, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_waiter_node ON job_waiter (node);

CREATE TABLE node (
    id BLOB PRIMARY KEY,
    -- the opening of the index that it belongs to (`blob_intent.node`)
    opening BLOB NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    -- a JSON array of the kinds of job that it runs
    kinds TEXT NOT NULL,
    new_jobs_only INTEGER NOT NULL,
    configuration TEXT NOT NULL,
    details TEXT NOT NULL,
    settings INTEGER NOT NULL DEFAULT 0,
    draining INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
