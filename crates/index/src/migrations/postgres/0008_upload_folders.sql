-- The table of `sqlite/0008_upload_folders.sql`; what its comments say holds here.
CREATE TABLE upload_folder (
    path text COLLATE "C" PRIMARY KEY,
    made_at bigint NOT NULL
);
