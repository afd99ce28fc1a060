//! Indexes for wildcards that do not begin with text, such as `*SMITH*`: those of the extension `pg_trgm`, where it is at hand. Without
//! them such a search reads the whole table.

use super::error::sql;
use model::Result;
use tokio_postgres::Client;

/// Names of indexes, tables and columns.
const INDEXES: [(&str, &str, &str); 3] = [
    ("patient_name_trgm", "patient", "name"),
    ("study_name_trgm", "study", "name"),
    ("study_description_trgm", "study", "description"),
];

/// The schema of the extension. It belongs to the whole database, so it does not lie in ours.
const EXTENSION: &str =
    "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'";

/// Makes what is missing. Call it under the lock of the migrations.
pub(super) async fn create(client: &Client) -> Result<()> {
    let mut missing = vec![];
    for index in INDEXES {
        // Asking for it with IF NOT EXISTS would lock the table.
        let row = client.query_one("SELECT to_regclass(quote_ident($1)) IS NULL", &[&index.0]).await.map_err(sql)?;
        if row.get(0) {
            missing.push(index);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if client.query_opt(EXTENSION, &[]).await.map_err(sql)?.is_none()
        && let Err(error) = client.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public").await
    {
        tracing::debug!(%error, "the extension pg_trgm cannot be created");
    }
    let Some(row) = client.query_opt(EXTENSION, &[]).await.map_err(sql)? else {
        tracing::warn!("PostgreSQL has no extension pg_trgm: searches such as *SMITH* read all studies");
        return Ok(());
    };
    let schema: String = row.get(0);
    for (name, table, column) in missing {
        let statement = format!(
            "CREATE INDEX {name} ON {table} USING gin ({column} {schema}.gin_trgm_ops) WITH (fastupdate = off) WHERE deleted = 0"
        );
        client.batch_execute(&statement).await.map_err(sql)?;
    }
    Ok(())
}
