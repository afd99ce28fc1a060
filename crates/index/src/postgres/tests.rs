//! What only PostgreSQL can do: several processes, functions, faults of the server.

use super::*;
use model::matching::normalize;

/// The server of `tests/with-postgres`. Without it the tests fail where they must run, and say that they are skipped elsewhere.
fn server() -> Option<Server> {
    if let Ok(uri) = std::env::var("PLEIAD_TEST_POSTGRES") {
        return Some(Server::Uri(uri));
    }
    let must = ["CI", "PLEIAD_REQUIRE_POSTGRES"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!must, "PLEIAD_TEST_POSTGRES is not set: run tests/with-postgres");
    eprintln!("SKIPPED: PLEIAD_TEST_POSTGRES is not set (run tests/with-postgres)");
    None
}

fn config(server: Server) -> PostgresConfig {
    PostgresConfig {
        server,
        schema: format!("t_{}", uuid::Uuid::new_v4().simple()),
        connections: 8,
        application_name: String::new(),
        retries: 0,
        retry_interval: Duration::ZERO,
        stable_age: Duration::from_secs(3600),
    }
}

#[tokio::test]
async fn many_processes_open_a_new_schema_at_once() {
    let Some(server) = server() else { return };
    let config = config(server);
    let mut opening = vec![];
    for _ in 0..6 {
        let config = config.clone();
        opening.push(tokio::spawn(async move { open(&config).await.unwrap() }));
    }
    for index in opening {
        index.await.unwrap().close().await;
    }
}

#[tokio::test]
async fn the_database_normalizes_as_the_model_does() {
    let Some(server) = server() else { return };
    let index = open(&config(server)).await.unwrap();
    let client = pool::get(&index.pool).await.unwrap();
    let every: String = ('\u{1}'..=char::MAX).filter(|c| !c.to_uppercase().eq([*c]) || c.is_whitespace()).collect();
    let pieces: Vec<String> = every.chars().collect::<Vec<_>>().chunks(100).map(|c| c.iter().collect()).collect();
    let long = ["x".repeat(255) + " y", "x".repeat(255) + "ß", "\u{a0}x ".repeat(300), "ŉ".repeat(200)];
    for text in ["", " ", "a  b\t\r\nc ", "straße", "ΐ ﬃ ŉ"].map(str::to_owned).into_iter().chain(long).chain(pieces) {
        let row = client.query_one(&format!("SELECT {}($1)", functions::norm_name()), &[&text]).await.unwrap();
        assert_eq!(row.get::<_, Option<String>>(0).unwrap_or_default(), normalize(&text), "{text:?}");
    }
}
