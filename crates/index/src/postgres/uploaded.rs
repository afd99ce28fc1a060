//! Files in the area for uploads, until a job has imported them.

use super::blobs::masks;
use super::node::Node;
use super::nodes::NOW;
use super::readers::{query, query_typed};
use super::writer::write;
use crate::jobs::in_micros;
use deadpool_postgres::Pool;
use model::job::JobId;
use model::upload::{NewUploaded, Uploaded};
use model::{AttachmentId, Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// The columns of `f`, with its age in the place of its time.
fn columns() -> String {
    format!("f.id, greatest({NOW} - f.at, 0), f.size_bytes, f.blob, f.path, f.remote_ip, f.http_user")
}

/// Nobody imports the file `f`.
const FREE: &str = "(f.taken_by IS NULL OR NOT EXISTS (SELECT FROM job WHERE job.id = f.taken_by))";

fn read(row: &Row) -> Uploaded {
    Uploaded {
        id: row.get(0),
        age: Duration::from_micros(row.get::<_, i64>(1).unsigned_abs()),
        size_bytes: row.get::<_, i64>(2).unsigned_abs(),
        blob: AttachmentId(row.get(3)),
        path: row.get(4),
        remote_ip: row.get(5),
        http_user: row.get(6),
    }
}

/// Adds a file.
pub(super) async fn add(pool: &Pool, node: &Node, file: &NewUploaded) -> Result<()> {
    let (prefix, mask) = masks([file.blob].into_iter()).into_iter().next().ok_or(ErrorKind::Internal)?;
    let statement = format!(
        "WITH settled AS (
             UPDATE blob_intent b SET settled = b.settled | $3::text::bit varying
             WHERE b.prefix = $1 AND b.node = $2 AND position(B'1' IN b.settled & $3::text::bit varying) = 0 RETURNING b.node
         ) INSERT INTO uploaded_file (at, size_bytes, blob, path, remote_ip, http_user)
         SELECT {NOW}, $4, $5, $6, $7, $8 FROM settled RETURNING id"
    );
    let bytes = file.size_bytes as i64;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [&prefix.as_slice(), &node.id, &mask, &bytes, &file.blob.0, &file.path, &file.remote_ip, &file.http_user];
    if write(pool, &statement, &values).await?.is_empty() {
        return Err(Error::new(ErrorKind::Busy, format!("the blob {} is not reserved any more", file.blob)));
    }
    Ok(())
}

/// The first files.
pub(super) async fn list(pool: &Pool, limit: u32) -> Result<Vec<Uploaded>> {
    let statement = format!("SELECT {} FROM uploaded_file f ORDER BY f.id LIMIT $1", columns());
    Ok(query(pool, &statement, &[&i64::from(limit)]).await?.iter().map(read).collect())
}

/// Gives free files, and its own, to a job.
pub(super) async fn take(pool: &Pool, job: JobId, after: i64, limit: u32) -> Result<Vec<Uploaded>> {
    let statement = format!(
        "UPDATE uploaded_file f SET taken_by = $1 WHERE f.id IN (
             SELECT f.id FROM uploaded_file f WHERE f.id > $2 AND (f.taken_by = $1 OR {FREE}) ORDER BY f.id LIMIT $3
             FOR UPDATE SKIP LOCKED
         ) RETURNING {}",
        columns()
    );
    let mut taken: Vec<_> = write(pool, &statement, &[&job.0, &after, &i64::from(limit)]).await?.iter().map(read).collect();
    taken.sort_by_key(|file| file.id);
    Ok(taken)
}

/// Forgets a file.
pub(super) async fn forget(pool: &Pool, id: i64) -> Result<()> {
    let statement = "WITH gone AS (DELETE FROM uploaded_file WHERE id = $1 RETURNING blob)
        INSERT INTO deleted_blob (blob) SELECT blob FROM gone ON CONFLICT DO NOTHING";
    write(pool, statement, &[&id]).await.map(drop)
}

/// Forgets a folder or the files of a path, and what is below it. Whether there was anything.
pub(super) async fn remove(pool: &Pool, path: &str) -> Result<bool> {
    let statement = "WITH folders AS (
            DELETE FROM upload_folder WHERE path = $1 OR starts_with(path, $1 || '/') RETURNING path
        ), files AS (
            DELETE FROM uploaded_file WHERE path = $1 OR starts_with(path, $1 || '/') RETURNING blob
        ), gone AS (
            INSERT INTO deleted_blob (blob) SELECT blob FROM files ON CONFLICT DO NOTHING
        ) SELECT EXISTS (SELECT FROM folders) OR EXISTS (SELECT FROM files)";
    Ok(write(pool, statement, &[&path]).await?.first().is_some_and(|row| row.get(0)))
}

/// Whether a file has waited so long for a job, and there is none of this kind.
pub(super) async fn wait(pool: &Pool, kind: &str, age: Duration) -> Result<bool> {
    let statement = format!(
        "SELECT EXISTS (SELECT FROM uploaded_file f WHERE f.at <= {NOW} - $2 AND {FREE})
         AND NOT EXISTS (SELECT FROM job WHERE kind = $1 AND done_seq IS NULL)"
    );
    let rows = query_typed(pool, &statement, &[Type::TEXT, Type::INT8], &[&kind, &in_micros(age)]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
