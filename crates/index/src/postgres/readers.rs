//! Statements that read: each is one snapshot.

use super::error::{is_connection, sql};
use super::pool;
use deadpool_postgres::{Object, Pool};
use model::Result;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Statement};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 300;

pub(super) type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

/// Prepares a statement, or finds it prepared. Types that are not given are inferred.
pub(super) async fn prepare(client: &Object, statement: &str, types: &[Type]) -> Result<Statement, tokio_postgres::Error> {
    if client.statement_cache.size() > STATEMENTS {
        client.statement_cache.clear();
    }
    client.prepare_typed_cached(statement, types).await
}

/// Reads rows. A connection that turns out to be dead is replaced once.
pub(super) async fn query(pool: &Pool, statement: &str, values: Values<'_>) -> Result<Vec<Row>> {
    query_typed(pool, statement, &[], values).await
}

/// The same with the types of the values.
pub(super) async fn query_typed(pool: &Pool, statement: &str, types: &[Type], values: Values<'_>) -> Result<Vec<Row>> {
    let mut again = true;
    loop {
        let client = pool::get(pool).await?;
        let read = async {
            let prepared = prepare(&client, statement, types).await?;
            client.query(&prepared, values).await
        };
        match read.await {
            Err(error) if again && is_connection(&error) => again = false,
            result => return result.map_err(sql),
        }
    }
}
