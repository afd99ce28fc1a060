//! Which index: a file of SQLite, or `postgresql://…` (then the schema `pleiad` of that database).

use index::postgres::{PostgresConfig, SCHEMA, Server};
use model::ports::Index;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub fn is_postgres(target: &str) -> bool {
    target.starts_with("postgresql://") || target.starts_with("postgres://")
}

pub async fn open(target: &str) -> Arc<dyn Index> {
    if !is_postgres(target) {
        return index::sqlite::open(Path::new(target), index::sqlite::Options::default()).expect("the index opens");
    }
    let config = PostgresConfig {
        server: Server::Uri(target.to_owned()),
        schema: SCHEMA.to_owned(),
        connections: 8,
        application_name: "example".to_owned(),
        retries: 0,
        retry_interval: Duration::ZERO,
        stable_age: Duration::from_secs(60),
    };
    index::postgres::open(&config).await.expect("the index opens")
}
