-- Remote servers, by kind ("modality", "peer", "dicomweb") and name. `definition`: JSON; NULL if a client deleted what the
-- configuration names. `seeded`: the definition that the configuration had when it was last brought in; NULL if it has none.
CREATE TABLE remote (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    definition TEXT,
    seeded TEXT,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What the configuration said when the setting was last emptied.
ALTER TABLE setting ADD COLUMN seeded TEXT;
-- The version of the settings.
INSERT INTO counter (name, value) VALUES ('settings', 0);

-- When the last row that referred to a blob went, in milliseconds.
ALTER TABLE deleted_blob RENAME TO deleted_blob_1;
CREATE TABLE deleted_blob (
    blob BLOB PRIMARY KEY,
    deleted_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
) STRICT, WITHOUT ROWID;
INSERT INTO deleted_blob (blob) SELECT blob FROM deleted_blob_1;
DROP TABLE deleted_blob_1;
