-- The table of `sqlite/0011_key_values.sql`; what its comments say holds here.
CREATE TABLE key_value (
    store bytea NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (store, key)
);
