-- Pages of jobs by type and state, in order of creation; keys under which clients create a job once.

ALTER TABLE job ADD COLUMN key BLOB;
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;
CREATE INDEX job_list ON job (kind, state);
