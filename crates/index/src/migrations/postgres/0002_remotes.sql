-- The tables of `sqlite/0002_remotes.sql`; what its comments say holds here.

CREATE TABLE remote (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    definition text,
    seeded text,
    PRIMARY KEY (kind, name)
);

ALTER TABLE setting ADD COLUMN seeded text;
INSERT INTO counter (name, value) VALUES ('settings', 0);

ALTER TABLE deleted_blob
    ADD COLUMN deleted_at bigint NOT NULL DEFAULT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
