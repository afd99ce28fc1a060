//! Settings that all processes share. Whoever writes locks the row of their version first.

use super::error::sql;
use super::{PostgresIndex, pool};
use crate::text::clean;
use async_trait::async_trait;
use model::Result;
use model::job::Hint;
use model::ports::index::{SettingsSnapshot, SharedSettings};
use std::collections::BTreeMap;
use tokio_postgres::Transaction;

#[async_trait]
impl SharedSettings for PostgresIndex {
    async fn settings(&self) -> Result<SettingsSnapshot> {
        let client = pool::get(&self.pool).await?;
        // One statement is one snapshot.
        let rows = client
            .query("SELECT c.value, s.key, s.value FROM counter c LEFT JOIN setting s ON true WHERE c.name = 'settings'", &[])
            .await
            .map_err(sql)?;
        let version = rows.first().map_or(0, |row| row.get(0));
        let pair = |key: Option<String>, value: Option<String>| key.zip(value);
        Ok(SettingsSnapshot { version, values: rows.iter().filter_map(|row| pair(row.get(1), row.get(2))).collect() })
    }

    async fn set_setting(&self, key: &str, value: &str) -> Result<i64> {
        let mut client = pool::get(&self.pool).await?;
        let tx = client.transaction().await.map_err(sql)?;
        let version = next_version(&tx).await?;
        tx.execute(
            "INSERT INTO setting (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            &[&clean(key), &clean(value)],
        )
        .await
        .map_err(sql)?;
        tx.commit().await.map_err(sql)?;
        self.bus.tell([Hint::Settings]);
        Ok(version)
    }

    async fn seed_settings(&self, configured: &BTreeMap<String, String>) -> Result<()> {
        let keys: Vec<_> = configured.keys().map(|key| clean(key)).collect();
        let seeded: Vec<_> = configured.values().map(|text| clean(text)).collect();
        let mut client = pool::get(&self.pool).await?;
        let tx = client.transaction().await.map_err(sql)?;
        next_version(&tx).await?;
        tx.execute(
            "INSERT INTO setting AS s (key, value, seeded)
             SELECT key, '', seeded FROM unnest($1::text[], $2::text[]) AS c (key, seeded)
             ON CONFLICT (key) DO UPDATE SET value = '', seeded = excluded.seeded
             WHERE s.seeded IS DISTINCT FROM excluded.seeded",
            &[&keys, &seeded],
        )
        .await
        .map_err(sql)?;
        tx.commit().await.map_err(sql)
    }
}

async fn next_version(tx: &Transaction<'_>) -> Result<i64> {
    let row = tx.query_one("UPDATE counter SET value = value + 1 WHERE name = 'settings' RETURNING value", &[]).await;
    row.map(|row| row.get(0)).map_err(sql)
}
