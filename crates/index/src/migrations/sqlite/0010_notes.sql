-- What all processes know of common work, by name. `value`: JSON. `version` rises with each write.
CREATE TABLE note (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
