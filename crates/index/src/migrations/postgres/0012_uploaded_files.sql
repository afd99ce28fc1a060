-- The table of `sqlite/0012_uploaded_files.sql`; what its comments say holds here.
CREATE TABLE uploaded_file (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    size_bytes bigint NOT NULL,
    taken_by uuid,
    blob uuid NOT NULL,
    path text COLLATE "C" NOT NULL,
    remote_ip text NOT NULL,
    http_user text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
