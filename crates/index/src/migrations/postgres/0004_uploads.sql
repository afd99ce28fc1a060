-- The tables of `sqlite/0004_uploads.sql`; what its comments say holds here.

CREATE TABLE upload (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_bytes bigint NOT NULL,
    pieces bigint NOT NULL,
    until bigint NOT NULL,
    key bytea
);
CREATE UNIQUE INDEX upload_key ON upload (key) WHERE key IS NOT NULL;
CREATE INDEX upload_until ON upload (until);

CREATE TABLE upload_piece (
    upload bigint NOT NULL,
    number bigint NOT NULL,
    size_bytes bigint NOT NULL,
    blob uuid NOT NULL,
    PRIMARY KEY (upload, number)
);
