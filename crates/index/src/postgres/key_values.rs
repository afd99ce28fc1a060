//! What scripts keep.

use super::PostgresIndex;
use super::readers::query;
use super::writer::write;
use async_trait::async_trait;
use model::Result;
use model::ports::index::KeyValues;

#[async_trait]
impl KeyValues for PostgresIndex {
    async fn value(&self, store: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
        let rows = query(&self.pool, "SELECT value FROM key_value WHERE store = $1 AND key = $2", &[&store, &key]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn put_value(&self, store: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        let statement = "INSERT INTO key_value (store, key, value) VALUES ($1, $2, $3)
            ON CONFLICT (store, key) DO UPDATE SET value = excluded.value";
        write(&self.pool, statement, &[&store, &key, &value]).await.map(drop)
    }

    async fn delete_value(&self, store: &[u8], key: &[u8]) -> Result<()> {
        write(&self.pool, "DELETE FROM key_value WHERE store = $1 AND key = $2", &[&store, &key]).await.map(drop)
    }
}
