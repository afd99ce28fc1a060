-- Folders that clients made in the area for uploads (WebDAV).
CREATE TABLE upload_folder (
    -- without a slash at either end
    path TEXT PRIMARY KEY,
    -- microseconds since 1970 on the database's clock
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
