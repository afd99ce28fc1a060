-- What scripts keep (Orthanc: key-value stores). Names and values are any bytes.
CREATE TABLE key_value (
    store BLOB NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (store, key)
) STRICT;
