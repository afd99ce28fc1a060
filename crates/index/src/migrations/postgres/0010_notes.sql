-- The table of `sqlite/0010_notes.sql`; what its comments say holds here.
CREATE TABLE note (
    name text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    value text NOT NULL
);
