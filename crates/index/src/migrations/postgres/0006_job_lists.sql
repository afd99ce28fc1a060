-- What `sqlite/0006_job_lists.sql` says.

ALTER TABLE job ADD COLUMN key bytea;
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;
CREATE INDEX job_list ON job (kind, state, seq);
