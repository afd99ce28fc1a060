//! The rest of an index on SQLite.

use crate::synth;
use rusqlite::Connection;
use std::path::Path;

/// The other instances: copies of the first of each series with other identifiers, and all sums.
pub fn multiply(path: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    conn.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; PRAGMA temp_store = MEMORY;
         BEGIN;
         CREATE TEMP TABLE first AS SELECT id, series FROM instance;
         DROP INDEX instance_public_id; DROP INDEX instance_sop_uid; DROP INDEX instance_series;
         DROP INDEX change_type; DROP INDEX change_resource;",
    )?;
    conn.execute(
        "WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1)
         INSERT INTO instance (series, index_in_series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes,
             dicom_stored_bytes, checksum, pixel_offset, size_bytes, stored_bytes, tags, metadata)
         SELECT i.series, n.value + 1, randomblob(20), substr(i.sop_uid, 1, length(i.sop_uid) - 6) || (100000 + n.value),
             i.sop_class, randomblob(16), i.compression, i.dicom_bytes, i.dicom_stored_bytes, random(),
             i.pixel_offset, i.size_bytes, i.stored_bytes,
             json_set(i.tags, '$.\"00080018\"', substr(i.sop_uid, 1, length(i.sop_uid) - 6) || (100000 + n.value),
                 '$.\"00200013\"', CAST(n.value + 1 AS TEXT)),
             json_set(i.metadata, '$.\"1\"', CAST(n.value + 1 AS TEXT))
         FROM first f CROSS JOIN instance i ON i.id = f.id CROSS JOIN n",
        [synth::PER_SERIES - 1],
    )?;
    conn.execute_batch(
        "INSERT INTO change (seq, type, level, resource, public_id, at)
             SELECT (SELECT value FROM counter WHERE name = 'change') + row_number() OVER (ORDER BY i.id), 2, 3, i.id, i.public_id,
                 unixepoch()
             FROM instance i WHERE i.id > (SELECT max(id) FROM first);
         UPDATE counter SET value = (SELECT max(seq) FROM change) WHERE name = 'change';
         CREATE UNIQUE INDEX instance_public_id ON instance (public_id);
         CREATE INDEX instance_series ON instance (series, index_in_series);
         CREATE INDEX instance_sop_uid ON instance (sop_uid);
         CREATE INDEX change_type ON change (type);
         CREATE INDEX change_resource ON change (level, resource);",
    )?;
    let n = synth::PER_SERIES;
    let multiplied = ["instance_count", "size_bytes", "stored_bytes", "dicom_bytes", "dicom_stored_bytes"]
        .map(|c| format!("{c} = {c} * {n}"))
        .join(", ");
    for table in ["patient", "study", "series"] {
        conn.execute_batch(&format!("UPDATE {table} SET {multiplied}"))?;
    }
    conn.execute_batch(&format!(
        "UPDATE stat_shard SET instances = instances * {n}, size_bytes = size_bytes * {n}, stored_bytes = stored_bytes * {n};
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    ))
}
