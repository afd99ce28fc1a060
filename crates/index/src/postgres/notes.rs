//! Notes that stay.

use super::error::sql;
use super::{PostgresIndex, pool};
use crate::text::definition;
use async_trait::async_trait;
use model::Result;
use model::ports::index::{Note, Notes};
use serde_json::Value;

#[async_trait]
impl Notes for PostgresIndex {
    async fn note(&self, name: &str) -> Result<Note> {
        let client = pool::get(&self.pool).await?;
        let row = client.query_opt("SELECT version, value FROM note WHERE name = $1", &[&name]).await.map_err(sql)?;
        let Some(row) = row else { return Ok(Note::default()) };
        Ok(Note { version: row.get(0), value: definition(name, row.get(1))? })
    }

    async fn put_note(&self, name: &str, version: i64, value: &Value) -> Result<bool> {
        let client = pool::get(&self.pool).await?;
        let statement = match version {
            0 => "INSERT INTO note (name, version, value) VALUES ($1, $2::bigint + 1, $3) ON CONFLICT (name) DO NOTHING",
            _ => "UPDATE note SET version = version + 1, value = $3 WHERE name = $1 AND version = $2",
        };
        let changed = client.execute(statement, &[&name, &version, &value.to_string()]).await.map_err(sql)?;
        Ok(changed == 1)
    }
}
