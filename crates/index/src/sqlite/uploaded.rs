//! Files in the area for uploads, until a job has imported them.

use super::batch::Batch;
use super::blobs::{self, blob_column};
use super::error::sql;
use model::Result;
use model::job::JobId;
use model::upload::{NewUploaded, Uploaded};
use rusqlite::{Connection, Row, params};
use std::time::Duration;

const COLUMNS: &str = "id, at, size_bytes, blob, path, remote_ip, http_user";
/// Nobody imports the file `f`.
const FREE: &str = "(f.taken_by IS NULL OR NOT EXISTS (SELECT 1 FROM job WHERE job.id = f.taken_by))";

fn read(row: &Row<'_>, now: i64) -> rusqlite::Result<Uploaded> {
    let at: i64 = row.get(1)?;
    Ok(Uploaded {
        id: row.get(0)?,
        age: Duration::from_micros(now.saturating_sub(at).max(0).unsigned_abs()),
        size_bytes: row.get(2)?,
        blob: blob_column(row, 3)?,
        path: row.get(4)?,
        remote_ip: row.get(5)?,
        http_user: row.get(6)?,
    })
}

/// Adds a file.
pub(super) fn add(batch: &mut Batch<'_>, file: &NewUploaded) -> Result<()> {
    let (conn, node, now) = (batch.conn, batch.node, batch.now_us());
    batch.intents.check(conn, &node, file.blob)?;
    batch.intents.settle(conn, &node, file.blob)?;
    conn.prepare_cached(
        "INSERT INTO uploaded_file (at, size_bytes, blob, path, remote_ip, http_user) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut s| s.execute(params![now, file.size_bytes, file.blob.0.as_bytes(), file.path, file.remote_ip, file.http_user]))
    .map(drop)
    .map_err(sql)
}

/// The first files.
pub(super) fn list(conn: &Connection, limit: u32, now: i64) -> Result<Vec<Uploaded>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM uploaded_file ORDER BY id LIMIT ?1"))
        .and_then(|mut s| s.query_map([limit], |row| read(row, now))?.collect())
        .map_err(sql)
}

/// Gives free files, and its own, to a job.
pub(super) fn take(batch: &mut Batch<'_>, job: JobId, after: i64, limit: u32) -> Result<Vec<Uploaded>> {
    let now = batch.now_us();
    let mut taken: Vec<Uploaded> = batch
        .conn
        .prepare_cached(&format!(
            "UPDATE uploaded_file SET taken_by = ?1 WHERE id IN (
                 SELECT id FROM uploaded_file f WHERE id > ?2 AND (taken_by = ?1 OR {FREE}) ORDER BY id LIMIT ?3
             ) RETURNING {COLUMNS}"
        ))
        .and_then(|mut s| s.query_map(params![job.0.as_bytes(), after, limit], |row| read(row, now))?.collect())
        .map_err(sql)?;
    taken.sort_by_key(|file| file.id);
    Ok(taken)
}

/// Forgets a file.
pub(super) fn forget(batch: &mut Batch<'_>, id: i64) -> Result<()> {
    forget_where(batch.conn, "id = ?1", params![id]).map(drop)
}

/// Forgets the files of a path, and those below it. Whether there were any.
pub(super) fn forget_path(conn: &Connection, path: &str) -> Result<bool> {
    forget_where(conn, "path = ?1 OR substr(path, 1, length(?1) + 1) = ?1 || '/'", params![path])
}

fn forget_where(conn: &Connection, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<bool> {
    let gone: Vec<_> = conn
        .prepare_cached(&format!("DELETE FROM uploaded_file WHERE {condition} RETURNING blob"))
        .and_then(|mut s| s.query_map(values, |row| blob_column(row, 0))?.collect())
        .map_err(sql)?;
    gone.iter().try_for_each(|blob| blobs::discard(conn, *blob))?;
    Ok(!gone.is_empty())
}

/// Whether a file has waited for a job, and there is none of this kind.
pub(super) fn wait(conn: &Connection, kind: &str, before: i64) -> Result<bool> {
    conn.prepare_cached(&format!(
        "SELECT EXISTS (SELECT 1 FROM uploaded_file f WHERE f.at <= ?2 AND {FREE})
         AND NOT EXISTS (SELECT 1 FROM job WHERE kind = ?1 AND done_seq IS NULL)"
    ))
    .and_then(|mut s| s.query_row(params![kind, before], |r| r.get(0)))
    .map_err(sql)
}
