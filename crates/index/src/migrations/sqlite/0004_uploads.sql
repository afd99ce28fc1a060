-- Files that clients send piece by piece. Times are microseconds since 1970 on the database's clock.

CREATE TABLE upload (
    id INTEGER PRIMARY KEY,
    -- `model::upload::UploadKey`; NULL when all pieces have come
    key BLOB,
    received_bytes INTEGER NOT NULL,
    pieces INTEGER NOT NULL,
    -- when it is forgotten
    until INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX upload_key ON upload (key) WHERE key IS NOT NULL;
CREATE INDEX upload_until ON upload (until);

CREATE TABLE upload_piece (
    upload INTEGER NOT NULL,
    number INTEGER NOT NULL,
    blob BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
