-- The tables of `sqlite/0003_jobs.sql`; what its comments say holds here. What a job is given stays in its row: PostgreSQL keeps large
-- values elsewhere, and does not write them again when another column changes.

CREATE TABLE job (
    id uuid PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    pin uuid,
    owner uuid,
    epoch bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    started_at bigint,
    runtime bigint NOT NULL DEFAULT 0,
    completed_at bigint,
    done_seq bigint,
    progress double precision NOT NULL DEFAULT 0,
    priority integer NOT NULL,
    version integer NOT NULL,
    crashes integer NOT NULL DEFAULT 0,
    error_code integer NOT NULL DEFAULT 0,
    state text COLLATE "C" NOT NULL DEFAULT 'P' CHECK (state IN ('P', 'R', 'S', 'F', 'H', 'T')),
    want text COLLATE "C" CHECK (want IN ('C', 'P')),
    kind text COLLATE "C" NOT NULL,
    crashed_on text NOT NULL DEFAULT '',
    error_details text NOT NULL DEFAULT '',
    error_payload text,
    content text NOT NULL,
    arguments text NOT NULL,
    user_data text
) WITH (
    fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX job_pending ON job (priority DESC, seq) WHERE state = 'P' AND crashes < 2;
CREATE INDEX job_suspect ON job (priority DESC, seq) WHERE state = 'P' AND crashes >= 2;
CREATE INDEX job_running ON job (owner) WHERE state = 'R';
CREATE INDEX job_pinned ON job (pin) WHERE pin IS NOT NULL AND done_seq IS NULL;
CREATE INDEX job_done ON job (done_seq) WHERE done_seq IS NOT NULL;
CREATE SEQUENCE job_done_seq;

CREATE TABLE job_step (
    job uuid NOT NULL,
    position bigint NOT NULL,
    outcome text NOT NULL,
    PRIMARY KEY (job, position)
);

-- A key may be longer than an index entry.
CREATE TABLE job_output (
    job uuid NOT NULL,
    blob uuid NOT NULL,
    size_bytes bigint NOT NULL,
    used_seq bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    mime text NOT NULL,
    file_name text NOT NULL
);
CREATE UNIQUE INDEX job_output_key ON job_output (job, md5(key));
CREATE INDEX job_output_used ON job_output (used_seq);
CREATE SEQUENCE job_output_seq;

CREATE TABLE job_waiter (
    job uuid NOT NULL,
    node uuid NOT NULL,
    PRIMARY KEY (job, node)
);
CREATE INDEX job_waiter_node ON job_waiter (node);

CREATE TABLE node (
    id uuid PRIMARY KEY,
    started_at bigint NOT NULL,
    lease_until bigint NOT NULL,
    settings bigint NOT NULL DEFAULT 0,
    draining boolean NOT NULL DEFAULT false,
    new_jobs_only boolean NOT NULL,
    kinds text[] NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    configuration text NOT NULL,
    details text NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_cost_delay = 0);
