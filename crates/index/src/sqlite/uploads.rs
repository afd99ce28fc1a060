//! Files that come piece by piece.

use super::batch::Batch;
use super::blobs::{self, blob_column};
use super::error::sql;
use crate::jobs::in_micros;
use model::upload::{CompleteUpload, NewPiece, PieceAdded, UploadLimits};
use model::{AttachmentId, Result};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// Files that one sweep forgets.
const SWEEP: i64 = 500;

/// The file that a piece belongs to.
struct File {
    id: i64,
    received_bytes: u64,
    pieces: u32,
}

fn find(conn: &Connection, key: &[u8], now: i64) -> Result<Option<File>> {
    let found = conn
        .prepare_cached("SELECT id, received_bytes, pieces, until FROM upload WHERE key = ?1")
        .and_then(|mut s| {
            s.query_row([key], |r| Ok((File { id: r.get(0)?, received_bytes: r.get(1)?, pieces: r.get(2)? }, r.get(3)?)))
                .optional()
        })
        .map_err(sql)?;
    match found {
        Some((file, until)) if now < until => Ok(Some(file)),
        Some((file, _)) => forget_one(conn, file.id).map(|()| None),
        None => Ok(None),
    }
}

/// Adds a piece to its file.
pub(super) fn add(batch: &mut Batch<'_>, piece: &NewPiece, limits: UploadLimits) -> Result<PieceAdded> {
    let (conn, node, now) = (batch.conn, batch.node, batch.now_us());
    let file = find(conn, &piece.file.0, now)?;
    let (received, pieces) = file.as_ref().map_or((0, 0), |f| (f.received_bytes, f.pieces));
    if piece.start.is_some_and(|start| start != received) {
        return Ok(PieceAdded::Misplaced(received));
    }
    let total = received.saturating_add(piece.size_bytes);
    if total > piece.file_bytes || pieces >= limits.pieces {
        file.map_or(Ok(()), |f| forget_one(conn, f.id))?;
        return Ok(if total > piece.file_bytes { PieceAdded::TooLong } else { PieceAdded::TooMany });
    }
    batch.intents.check(conn, &node, piece.blob)?;
    batch.intents.settle(conn, &node, piece.blob)?;

    let is_complete = total == piece.file_bytes;
    let key = (!is_complete).then_some(piece.file.0);
    let until = now.saturating_add(in_micros(if is_complete { limits.storing } else { limits.patience }));
    let id = file.as_ref().map(|f| f.id);
    let id: i64 = conn
        .prepare_cached(
            "INSERT INTO upload (id, key, received_bytes, pieces, until) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE
             SET key = excluded.key, received_bytes = excluded.received_bytes, pieces = excluded.pieces, until = excluded.until
             RETURNING id",
        )
        .and_then(|mut s| s.query_row(params![id, key, total, pieces + 1, until], |r| r.get(0)))
        .map_err(sql)?;
    conn.prepare_cached("INSERT INTO upload_piece (upload, number, blob, size_bytes) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut s| s.execute(params![id, pieces, piece.blob.0.as_bytes(), piece.size_bytes]))
        .map_err(sql)?;
    if is_complete {
        return Ok(PieceAdded::Complete(CompleteUpload { id, pieces: pieces_of(conn, id)? }));
    }
    let surplus = "SELECT id FROM upload WHERE key IS NOT NULL AND id <> ?2 AND id NOT IN (
        SELECT id FROM upload WHERE key IS NOT NULL ORDER BY until DESC, id DESC LIMIT ?1)";
    forget_all(conn, surplus, params![limits.files, id])?;
    Ok(PieceAdded::Kept)
}

fn pieces_of(conn: &Connection, id: i64) -> Result<Vec<(AttachmentId, u64)>> {
    conn.prepare_cached("SELECT blob, size_bytes FROM upload_piece WHERE upload = ?1 ORDER BY number")
        .and_then(|mut s| s.query_map([id], |r| Ok((blob_column(r, 0)?, r.get(1)?)))?.collect())
        .map_err(sql)
}

/// Forgets a file.
pub(super) fn forget(batch: &mut Batch<'_>, id: i64) -> Result<()> {
    forget_one(batch.conn, id)
}

/// Forgets what waited too long.
pub(super) fn sweep(batch: &mut Batch<'_>) -> Result<()> {
    forget_all(batch.conn, "SELECT id FROM upload WHERE until <= ?1 ORDER BY until LIMIT ?2", params![batch.now_us(), SWEEP])
}

/// Folders made since a moment.
pub(super) fn folders(conn: &Connection, since: i64) -> Result<Vec<String>> {
    conn.prepare_cached("SELECT path FROM upload_folder WHERE made_at > ?1 ORDER BY path")
        .and_then(|mut s| s.query_map([since], |r| r.get(0))?.collect())
        .map_err(sql)
}

/// Makes a folder.
pub(super) fn make_folder(batch: &mut Batch<'_>, path: &str, age: Duration, most: u32) -> Result<bool> {
    let (conn, now) = (batch.conn, batch.now_us());
    conn.prepare_cached("DELETE FROM upload_folder WHERE made_at <= ?1")
        .and_then(|mut s| s.execute([now.saturating_sub(in_micros(age))]))
        .map_err(sql)?;
    conn.prepare_cached(
        "INSERT INTO upload_folder (path, made_at) SELECT ?1, ?2 WHERE (SELECT count(*) FROM upload_folder) < ?3
         ON CONFLICT DO NOTHING",
    )
    .and_then(|mut s| s.execute(params![path, now, most]))
    .map(|made| made == 1)
    .map_err(sql)
}

/// Forgets a folder with those below it.
pub(super) fn remove_folder(batch: &mut Batch<'_>, path: &str) -> Result<bool> {
    batch
        .conn
        .prepare_cached("DELETE FROM upload_folder WHERE path = ?1 OR substr(path, 1, length(?1) + 1) = ?1 || '/'")
        .and_then(|mut s| s.execute([path]))
        .map(|removed| removed > 0)
        .map_err(sql)
}

fn forget_all(conn: &Connection, which: &str, values: &[&dyn rusqlite::ToSql]) -> Result<()> {
    let ids: Vec<i64> = conn.prepare_cached(which).and_then(|mut s| s.query_map(values, |r| r.get(0))?.collect()).map_err(sql)?;
    ids.into_iter().try_for_each(|id| forget_one(conn, id))
}

fn forget_one(conn: &Connection, id: i64) -> Result<()> {
    for (blob, _) in pieces_of(conn, id)? {
        blobs::discard(conn, blob)?;
    }
    for statement in ["DELETE FROM upload_piece WHERE upload = ?1", "DELETE FROM upload WHERE id = ?1"] {
        conn.prepare_cached(statement).and_then(|mut s| s.execute([id])).map_err(sql)?;
    }
    Ok(())
}
