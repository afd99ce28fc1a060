//! Files that come piece by piece. A piece is one call of `functions/upload_1.sql`.

use super::blobs::masks;
use super::nodes::NOW;
use super::readers::query_typed;
use super::writer::write;
use super::{PostgresIndex, uploaded};
use crate::jobs::in_micros;
use async_trait::async_trait;
use model::job::JobId;
use model::ports::index::Uploads;
use model::upload::{CompleteUpload, NewPiece, NewUploaded, PieceAdded, UploadLimits, Uploaded};
use model::{AttachmentId, Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Files that one sweep forgets.
const SWEEP: i64 = 500;

#[async_trait]
impl Uploads for PostgresIndex {
    async fn add_piece(&self, piece: &NewPiece, limits: UploadLimits) -> Result<PieceAdded> {
        let (prefix, mask) = masks([piece.blob].into_iter()).into_iter().next().ok_or(ErrorKind::Internal)?;
        let (file, bytes, start) = (piece.file_bytes as i64, piece.size_bytes as i64, piece.start.map(|s| s as i64));
        let rows = write(
            &self.pool,
            "SELECT outcome, upload, next, blobs, sizes FROM upload_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                &piece.file.0.as_slice(),
                &file,
                &start,
                &piece.blob.0,
                &bytes,
                &self.node.id,
                &prefix.as_slice(),
                &mask,
                &i64::from(limits.files),
                &i64::from(limits.pieces),
                &in_micros(limits.patience),
                &in_micros(limits.storing),
            ],
        )
        .await?;
        let row = rows.first().ok_or(ErrorKind::Internal)?;
        Ok(match row.get(0) {
            "K" => PieceAdded::Kept,
            "X" => PieceAdded::Misplaced(row.get::<_, i64>(2).unsigned_abs()),
            "O" => PieceAdded::TooLong,
            "M" => PieceAdded::TooMany,
            "C" => {
                let (blobs, sizes): (Vec<Uuid>, Vec<i64>) = (row.get(3), row.get(4));
                let pieces = blobs.into_iter().map(AttachmentId).zip(sizes.into_iter().map(i64::unsigned_abs)).collect();
                PieceAdded::Complete(CompleteUpload { id: row.get(1), pieces })
            }
            other => return Err(Error::new(ErrorKind::Database, format!("upload_1 answered {other:?}"))),
        })
    }

    async fn forget_upload(&self, id: i64) -> Result<()> {
        write(&self.pool, "SELECT upload_forget_1(ARRAY[$1::bigint])", &[&id]).await.map(drop)
    }

    async fn sweep_uploads(&self) -> Result<()> {
        let statement = format!(
            "SELECT upload_forget_1(ARRAY(SELECT id FROM upload WHERE until <= {NOW} ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED))"
        );
        write(&self.pool, &statement, &[&SWEEP]).await.map(drop)
    }

    async fn upload_folders(&self, age: Duration) -> Result<Vec<String>> {
        let statement = format!("SELECT path FROM upload_folder WHERE made_at > {NOW} - $1 ORDER BY path");
        let rows = query_typed(&self.pool, &statement, &[Type::INT8], &[&in_micros(age)]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn make_upload_folder(&self, path: &str, age: Duration, most: u32) -> Result<bool> {
        let statement = format!("DELETE FROM upload_folder WHERE made_at <= {NOW} - $1::bigint");
        write(&self.pool, &statement, &[&in_micros(age)]).await?;
        let statement = format!(
            "INSERT INTO upload_folder (path, made_at) SELECT $1, {NOW} WHERE (SELECT count(*) FROM upload_folder) < $2::bigint
             ON CONFLICT DO NOTHING RETURNING path"
        );
        Ok(!write(&self.pool, &statement, &[&path, &i64::from(most)]).await?.is_empty())
    }

    async fn remove_upload(&self, path: &str) -> Result<bool> {
        uploaded::remove(&self.pool, path).await
    }

    async fn add_uploaded(&self, file: &NewUploaded) -> Result<()> {
        uploaded::add(&self.pool, &self.node, file).await
    }

    async fn uploaded(&self, limit: u32) -> Result<Vec<Uploaded>> {
        uploaded::list(&self.pool, limit).await
    }

    async fn take_uploaded(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<Uploaded>> {
        uploaded::take(&self.pool, job, after, limit).await
    }

    async fn forget_uploaded(&self, id: i64) -> Result<()> {
        uploaded::forget(&self.pool, id).await
    }

    async fn uploads_wait(&self, kind: &str, age: Duration) -> Result<bool> {
        uploaded::wait(&self.pool, kind, age).await
    }
}
