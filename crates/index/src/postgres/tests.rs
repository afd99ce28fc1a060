//! What only PostgreSQL can do: several processes, functions, faults of the server.

use super::*;
use model::matching::normalize;
use model::ports::index::{RemoteKind, Remotes, SharedSettings};

/// The server of `tests/with-postgres`. Without it the tests fail where they must run, and say that they are skipped elsewhere.
pub(super) fn server() -> Option<Server> {
    if let Ok(uri) = std::env::var("PLEIAD_TEST_POSTGRES") {
        return Some(Server::Uri(uri));
    }
    let must = ["CI", "PLEIAD_REQUIRE_POSTGRES"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!must, "PLEIAD_TEST_POSTGRES is not set: run tests/with-postgres");
    eprintln!("SKIPPED: PLEIAD_TEST_POSTGRES is not set (run tests/with-postgres)");
    None
}

pub(super) fn config(server: Server) -> PostgresConfig {
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
        opening.push(tokio::spawn(async move { assemble(&config).await.unwrap() }));
    }
    for index in opening {
        index.await.unwrap().close().await;
    }
}

#[tokio::test]
async fn the_database_normalizes_as_the_model_does() {
    let Some(server) = server() else { return };
    let index = assemble(&config(server)).await.unwrap();
    let client = pool::get(&index.pool).await.unwrap();
    let every: String = ('\u{1}'..=char::MAX).filter(|c| !c.to_uppercase().eq([*c]) || c.is_whitespace()).collect();
    let pieces: Vec<String> = every.chars().collect::<Vec<_>>().chunks(100).map(|c| c.iter().collect()).collect();
    let long = ["x".repeat(255) + " y", "x".repeat(255) + "ß", "\u{a0}x ".repeat(300), "ŉ".repeat(200)];
    for text in ["", " ", "a  b\t\r\nc ", "straße", "ΐ ﬃ ŉ"].map(str::to_owned).into_iter().chain(long).chain(pieces) {
        let row = client.query_one(&format!("SELECT {}($1)", functions::norm_name()), &[&text]).await.unwrap();
        assert_eq!(row.get::<_, Option<String>>(0).unwrap_or_default(), normalize(&text), "{text:?}");
    }
}

/// Several processes on one schema.
async fn processes(server: Server, n: usize) -> Vec<std::sync::Arc<PostgresIndex>> {
    let config = config(server);
    let mut all = vec![];
    for _ in 0..n {
        all.push(std::sync::Arc::new(assemble(&config).await.unwrap()));
    }
    all
}

#[tokio::test]
async fn what_one_process_puts_the_others_see_at_once() {
    let Some(server) = server() else { return };
    let all = processes(server, 3).await;
    let mut puts = vec![];
    for n in 0..60 {
        let (writer, reader) = (all[n % 3].clone(), all[(n + 1) % 3].clone());
        puts.push(tokio::spawn(async move {
            let (name, definition) = (format!("m{n}"), serde_json::json!({ "Port": n }));
            writer.put_remote(RemoteKind::Modality, &name, &definition).await.unwrap();
            assert_eq!(reader.remote(RemoteKind::Modality, &name).await.unwrap(), Some(definition));
            let version = writer.set_setting(&name, "x").await.unwrap();
            let now = reader.settings().await.unwrap();
            assert!(now.version >= version && now.values[&name] == "x");
        }));
        if n % 10 == 0 {
            let seeder = all[n % 3].clone();
            puts.push(tokio::spawn(async move {
                let seeded = |name: String| [(name, serde_json::json!(0))].into();
                seeder.seed_remotes(RemoteKind::Modality, &seeded("seeded".into())).await.unwrap();
                seeder.seed_settings(&[("seeded".to_owned(), n.to_string())].into()).await.unwrap();
            }));
        }
    }
    for put in puts {
        put.await.unwrap();
    }
    assert_eq!(all[0].remotes(RemoteKind::Modality).await.unwrap().len(), 61);
    let now = all[1].settings().await.unwrap();
    assert_eq!((now.values.len(), now.version), (61, 66), "each write has a version of its own");
}

#[tokio::test]
async fn a_start_with_the_same_configuration_forgets_nothing() {
    let Some(server) = server() else { return };
    let all = processes(server, 2).await;
    let file = |value: &str| [("a".to_owned(), value.to_owned())].into();
    all[0].seed_settings(&file("1")).await.unwrap();
    all[0].set_setting("a", "set").await.unwrap();
    all[1].seed_settings(&file("1")).await.unwrap();
    assert_eq!(all[1].settings().await.unwrap().values["a"], "set");
    all[1].seed_settings(&file("2")).await.unwrap();
    assert_eq!(all[0].settings().await.unwrap().values["a"], "");
    let file = [("a".to_owned(), serde_json::json!(1)), ("b".to_owned(), serde_json::json!(1))].into();
    all[0].seed_remotes(RemoteKind::Modality, &file).await.unwrap();
    all[0].put_remote(RemoteKind::Modality, "a", &serde_json::json!(2)).await.unwrap();
    assert!(all[1].delete_remote(RemoteKind::Modality, "b").await.unwrap());
    assert!(!all[0].delete_remote(RemoteKind::Modality, "b").await.unwrap());
    all[1].seed_remotes(RemoteKind::Modality, &file).await.unwrap();
    let now = [("a".to_owned(), serde_json::json!(2))].into();
    assert_eq!(all[1].remotes(RemoteKind::Modality).await.unwrap(), now);
    all[1].seed_remotes(RemoteKind::Modality, &[].into()).await.unwrap();
    assert_eq!(all[0].remotes(RemoteKind::Modality).await.unwrap(), now, "what a client changed is a client's");
    assert!(all[0].delete_remote(RemoteKind::Modality, "a").await.unwrap());
    assert!(all[1].remotes(RemoteKind::Modality).await.unwrap().is_empty());
}
