//! The port's family for work that any process may do at any time: blob names, sweeps, settings.

use super::rows::{blob, table};
use super::{SqliteIndex, error, feed};
use async_trait::async_trait;
use model::ports::index::{BlobBlock, Upkeep};
use model::{AttachmentId, ChangeType, Error, ErrorKind, Level, OrthancId, Result, time};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use uuid::Uuid;

/// Resources made stable per transaction.
const STABLE_CHUNK: usize = 500;

fn forget(db: &Connection, sql: &str, blobs: &[AttachmentId]) -> Result<()> {
    let mut statement = db.prepare_cached(sql).map_err(error)?;
    for blob in blobs {
        statement.execute([blob.0.as_bytes().as_slice()]).map_err(error)?;
    }
    Ok(())
}

fn sweep_stability(db: &Connection) -> Result<u64> {
    let now = time::now_iso();
    let mut swept = 0;
    for level in [Level::Series, Level::Study, Level::Patient] {
        let table = table(level);
        let sql = format!(
            "UPDATE {table} SET is_stable = 1 WHERE id IN (SELECT id FROM {table} WHERE is_stable = 0 AND stable_at <= unixepoch('subsec')
             ORDER BY stable_at LIMIT {STABLE_CHUNK}) RETURNING public_id"
        );
        let mut statement = db.prepare_cached(&sql).map_err(error)?;
        let due: Vec<Vec<u8>> = statement.query_map([], |r| r.get(0)).and_then(Iterator::collect).map_err(error)?;
        for bytes in due {
            if let Some(kind) = ChangeType::stable(level) {
                feed::append(db, kind, level, OrthancId::from_bytes(&bytes)?, &now)?;
            }
            swept += 1;
        }
    }
    Ok(swept)
}

#[async_trait]
impl Upkeep for SqliteIndex {
    async fn reserve_blobs(&self, n: usize) -> Result<BlobBlock> {
        let (block, node) = (Uuid::new_v4(), self.node);
        let blobs: Vec<AttachmentId> = (0..n).map(|_| AttachmentId::in_block(block)).collect();
        self.write(move |db| {
            let mut statement = db.prepare_cached("INSERT INTO blob_intent (blob, node) VALUES (?1, ?2)").map_err(error)?;
            for blob in &blobs {
                statement.execute(params![blob.0.as_bytes().as_slice(), node.as_bytes().as_slice()]).map_err(error)?;
            }
            drop(statement);
            Ok(BlobBlock(blobs))
        })
        .await
    }

    async fn release_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        if blobs.is_empty() {
            return Ok(());
        }
        let blobs = blobs.to_vec();
        self.write(move |db| {
            forget(db, "DELETE FROM blob_intent WHERE blob = ?1", &blobs)?;
            forget(db, "DELETE FROM deleted_blob WHERE blob = ?1", &blobs)
        })
        .await
    }

    async fn sweep_intents(&self) -> Result<u64> {
        // One process owns the file: every other node is dead.
        let node = self.node;
        self.write(move |db| {
            let dead = node.as_bytes().as_slice();
            db.execute("INSERT OR IGNORE INTO deleted_blob SELECT blob FROM blob_intent WHERE node <> ?1", [dead])
                .map_err(error)?;
            db.execute("DELETE FROM blob_intent WHERE node <> ?1", [dead]).map_err(error).map(|n| n as u64)
        })
        .await
    }

    async fn deleted_blobs(&self, limit: usize) -> Result<Vec<AttachmentId>> {
        self.read(move |db| {
            let mut statement = db.prepare_cached("SELECT blob FROM deleted_blob LIMIT ?1").map_err(error)?;
            let mut rows = statement.query([limit as i64]).map_err(error)?;
            let mut all = vec![];
            while let Some(row) = rows.next().map_err(error)? {
                all.push(blob(row.get_ref(0).and_then(|v| Ok(v.as_blob()?)).map_err(error)?)?);
            }
            Ok(all)
        })
        .await
    }

    async fn forget_deleted_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        let blobs = blobs.to_vec();
        self.write(move |db| forget(db, "DELETE FROM deleted_blob WHERE blob = ?1", &blobs)).await
    }

    async fn sweep_stability(&self) -> Result<u64> {
        let due = self.read(|db| {
            let one = |t: &str| format!("EXISTS (SELECT 1 FROM {t} WHERE is_stable = 0 AND stable_at <= unixepoch('subsec'))");
            let sql = format!("SELECT {}", ["series", "study", "patient"].map(one).join(" OR "));
            db.prepare_cached(&sql).and_then(|mut s| s.query_row([], |r| r.get::<_, bool>(0))).map_err(error)
        });
        if due.await? { self.write(sweep_stability).await } else { Ok(0) }
    }

    async fn sweep_tombstones(&self) -> Result<bool> {
        // A deletion is complete when it commits: there is nothing left to do.
        Ok(false)
    }

    fn set_stable_age(&self, age: Duration) {
        self.stable_age_ms.store(age.as_millis() as u64, Ordering::Relaxed);
    }

    async fn setting(&self, key: &str) -> Result<Option<String>> {
        let key = key.to_owned();
        self.read(move |db| {
            let sql = "SELECT value FROM setting WHERE key = ?1";
            db.prepare_cached(sql).and_then(|mut s| s.query_row([key], |r| r.get(0)).optional()).map_err(error)
        })
        .await
    }

    async fn set_setting(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |db| {
            let sql = "INSERT INTO setting (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            db.execute(sql, params![key, value]).map_err(error).map(drop)
        })
        .await
    }

    async fn close(&self) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join()).await.is_err()
        {
            tracing::error!(error = %Error::from(ErrorKind::Internal), "the writer of the index did not end well");
        }
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
