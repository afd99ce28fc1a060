//! The rest of an index on PostgreSQL.

use crate::synth;
use index::postgres::SCHEMA;
use std::error::Error;
use tokio_postgres::{Client, NoTls};

/// Studies whose instances one statement inserts.
const STEP: u64 = 200;

/// The other instances: copies of the first of each series with identifiers, digests and numbers of their own; and all sums.
pub async fn multiply(uri: &str, studies: u64) -> Result<(), Box<dyn Error>> {
    let (client, connection) = tokio_postgres::connect(uri, NoTls).await?;
    let connection = tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "SET search_path TO {SCHEMA}; SET synchronous_commit TO off; SET maintenance_work_mem TO '256MB'; BEGIN;
             CREATE TEMP TABLE first ON COMMIT DROP AS SELECT id, series, sop_uid FROM instance;
             CREATE UNIQUE INDEX ON first (sop_uid); ANALYZE first;"
        ))
        .await?;
    let indexes = drop_indexes(&client).await?;
    let mut study = 0;
    while study < studies {
        let end = studies.min(study + STEP);
        instances(&client, study * synth::PER_STUDY, end * synth::PER_STUDY).await?;
        study = end;
    }
    client.batch_execute(&indexes.join(";")).await?;
    sums(&client).await?;
    for statement in ["COMMIT", "VACUUM (ANALYZE)", "CHECKPOINT"] {
        client.batch_execute(statement).await?;
    }
    drop(client);
    connection.await??;
    Ok(())
}

/// Drops what would be kept up row by row, and returns the statements that make it again.
async fn drop_indexes(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT i.indexname::text, i.indexdef FROM pg_indexes i WHERE i.schemaname = $1 AND i.tablename IN ('instance', 'change')
             AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)",
            &[&SCHEMA],
        )
        .await?;
    for row in &rows {
        client.batch_execute(&format!("DROP INDEX {}", row.get::<_, String>(0))).await?;
    }
    Ok(rows.iter().map(|row| row.get(1)).collect())
}

async fn instances(client: &Client, begin: u64, end: u64) -> Result<(), tokio_postgres::Error> {
    let (mut first, mut number, mut public, mut sop, mut checksum) = (vec![], vec![], vec![], vec![], vec![]);
    for n in begin..end {
        let at = n % synth::PER_SERIES;
        if at == 0 {
            continue;
        }
        let uid = |n| synth::uids(n).2;
        first.push(uid(n - at));
        number.push(i64::try_from(at + 1).expect("small"));
        public.push(synth::ids(n).instance.0.to_vec());
        sop.push(uid(n));
        checksum.push(synth::checksum(n).cast_signed());
    }
    let insert = client
        .prepare(
            "INSERT INTO instance (series, index_in_series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes,
                 dicom_stored_bytes, checksum, pixel_offset, tail_offset, size_bytes, stored_bytes, tags, metadata)
             SELECT i.series, d.number, d.public_id, d.sop_uid, i.sop_class, gen_random_uuid(), i.compression, i.dicom_bytes,
                 i.dicom_stored_bytes, d.checksum, i.pixel_offset, i.tail_offset, i.size_bytes, i.stored_bytes,
                 replace(replace(i.tags, f.sop_uid, d.sop_uid), '\"00200013\":\"1\"', '\"00200013\":\"' || d.number || '\"'),
                 replace(i.metadata, '{\"1\":\"1\"', '{\"1\":\"' || d.number || '\"')
             FROM unnest($1::text[], $2::int8[], $3::bytea[], $4::text[], $5::int8[])
                 WITH ORDINALITY d (first, number, public_id, sop_uid, checksum, n)
             JOIN first f ON f.sop_uid = d.first JOIN instance i ON i.id = f.id ORDER BY d.n",
        )
        .await?;
    client.execute(&insert, &[&first, &number, &public, &sop, &checksum]).await.map(|_| ())
}

/// A change for each new instance, and what parents and totals say of them.
async fn sums(client: &Client) -> Result<(), tokio_postgres::Error> {
    let n = synth::PER_SERIES;
    let multiplied = ["instance_count", "size_bytes", "stored_bytes", "dicom_bytes", "dicom_stored_bytes"]
        .map(|c| format!("{c} = {c} * {n}"))
        .join(", ");
    for table in ["patient", "study", "series"] {
        client.batch_execute(&format!("UPDATE {table} SET {multiplied}")).await?;
    }
    client
        .batch_execute(&format!(
            "UPDATE stat_shard SET instances = instances * {n}, size_bytes = size_bytes * {n}, stored_bytes = stored_bytes * {n};
             INSERT INTO change (seq, type, level, resource, public_id, at)
                 SELECT c.value + row_number() OVER (ORDER BY i.id), 2, 3, i.id, i.public_id, floor(extract(epoch FROM now()))
                 FROM instance i, counter c WHERE c.name = 'change' AND i.id > (SELECT max(id) FROM first);
             UPDATE counter SET value = (SELECT max(seq) FROM change) WHERE name = 'change'"
        ))
        .await
}
