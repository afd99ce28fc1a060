-- Files in the area for uploads (WebDAV) until a job has imported them. A path may be there several times: what was acknowledged is imported.
CREATE TABLE uploaded_file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- microseconds since 1970 on the database's clock
    at INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    -- the job that imports it
    taken_by BLOB,
    blob BLOB NOT NULL,
    -- without a slash at either end
    path TEXT NOT NULL,
    remote_ip TEXT NOT NULL,
    http_user TEXT NOT NULL
) STRICT;
