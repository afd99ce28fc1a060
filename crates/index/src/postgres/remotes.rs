//! Remote servers.

use super::error::sql;
use super::{PostgresIndex, pool};
use crate::text::definition;
use async_trait::async_trait;
use model::Result;
use model::ports::index::{RemoteKind, Remotes};
use serde_json::Value;
use std::collections::BTreeMap;

#[async_trait]
impl Remotes for PostgresIndex {
    async fn remotes(&self, kind: RemoteKind) -> Result<BTreeMap<String, Value>> {
        let client = pool::get(&self.pool).await?;
        let statement = client
            .prepare_cached("SELECT name, definition FROM remote WHERE kind = $1 AND definition IS NOT NULL")
            .await
            .map_err(sql)?;
        let rows = client.query(&statement, &[&kind.name()]).await.map_err(sql)?;
        let pair = |name: String, text: String| definition(&name, &text).map(|d| (name, d));
        rows.iter().map(|row| pair(row.get(0), row.get(1))).collect()
    }

    async fn remote(&self, kind: RemoteKind, name: &str) -> Result<Option<Value>> {
        let client = pool::get(&self.pool).await?;
        let statement = client
            .prepare_cached("SELECT definition FROM remote WHERE kind = $1 AND name = $2 AND definition IS NOT NULL")
            .await
            .map_err(sql)?;
        let row = client.query_opt(&statement, &[&kind.name(), &name]).await.map_err(sql)?;
        row.map(|row| definition(name, row.get(0))).transpose()
    }

    async fn put_remote(&self, kind: RemoteKind, name: &str, definition: &Value) -> Result<()> {
        let client = pool::get(&self.pool).await?;
        client
            .execute(
                "INSERT INTO remote (kind, name, definition) VALUES ($1, $2, $3)
                 ON CONFLICT (kind, name) DO UPDATE SET definition = excluded.definition",
                &[&kind.name(), &name, &definition.to_string()],
            )
            .await
            .map(|_| ())
            .map_err(sql)
    }

    async fn delete_remote(&self, kind: RemoteKind, name: &str) -> Result<bool> {
        let client = pool::get(&self.pool).await?;
        let row = client
            .query_one(
                "WITH own AS (
                     DELETE FROM remote WHERE kind = $1 AND name = $2 AND seeded IS NULL RETURNING name
                 ), configured AS (
                     UPDATE remote SET definition = NULL
                     WHERE kind = $1 AND name = $2 AND seeded IS NOT NULL AND definition IS NOT NULL RETURNING name
                 )
                 SELECT EXISTS (SELECT FROM own) OR EXISTS (SELECT FROM configured)",
                &[&kind.name(), &name],
            )
            .await
            .map_err(sql)?;
        Ok(row.get(0))
    }

    async fn seed_remotes(&self, kind: RemoteKind, configured: &BTreeMap<String, Value>) -> Result<()> {
        let names: Vec<&str> = configured.keys().map(String::as_str).collect();
        let definitions: Vec<String> = configured.values().map(Value::to_string).collect();
        let mut client = pool::get(&self.pool).await?;
        let tx = client.transaction().await.map_err(sql)?;
        // One process after the other.
        tx.batch_execute("LOCK TABLE remote IN SHARE ROW EXCLUSIVE MODE").await.map_err(sql)?;
        tx.execute(
            "INSERT INTO remote AS r (kind, name, definition, seeded)
             SELECT $1, name, definition, definition FROM unnest($2::text[], $3::text[]) AS c (name, definition)
             ON CONFLICT (kind, name) DO UPDATE SET definition = excluded.definition, seeded = excluded.seeded
             WHERE r.seeded IS DISTINCT FROM excluded.seeded",
            &[&kind.name(), &names, &definitions],
        )
        .await
        .map_err(sql)?;
        tx.execute(
            "DELETE FROM remote WHERE kind = $1 AND seeded IS NOT NULL AND name <> ALL ($2::text[])
             AND (definition IS NULL OR definition = seeded)",
            &[&kind.name(), &names],
        )
        .await
        .map_err(sql)?;
        tx.execute(
            "UPDATE remote SET seeded = NULL WHERE kind = $1 AND seeded IS NOT NULL AND name <> ALL ($2::text[])",
            &[&kind.name(), &names],
        )
        .await
        .map_err(sql)?;
        tx.commit().await.map_err(sql)
    }
}
