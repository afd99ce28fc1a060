//! Settings of several processes.

use engine::{Ctx, Engine, EngineConfig, Parts, settings};
use model::job::{Beat, JobLimits, NewNode, NodeId};
use model::ports::Index;
use model::ports::hooks::NoHooks;
use model::ports::http::NoHttp;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

pub async fn engine(config: EngineConfig) -> (Arc<Engine>, Arc<dyn Index>) {
    let index = index::sqlite::open_temporary(index::sqlite::Options::default()).unwrap();
    let storage = storage::open(storage::StorageConfig::Memory).await.unwrap();
    let parts = Parts { index: index.clone(), storage, hooks: Arc::new(NoHooks), http: Arc::new(NoHttp), config };
    (Arc::new(Engine::new(parts)), index)
}

async fn join(index: &dyn Index, lease: Duration) -> NodeId {
    let node = NewNode {
        id: NodeId::random(),
        name: String::new(),
        version: String::new(),
        kinds: vec![],
        new_jobs_only: false,
        configuration: String::new(),
        details: serde_json::Value::Null,
    };
    index.join(&node, lease).await.unwrap();
    node.id
}

async fn obey(index: &dyn Index, node: NodeId, version: i64) {
    let limits = JobLimits { history: 1, outputs: 1 };
    let beat = Beat { node, running: vec![], lease: LONG, draining: false, settings: version, limits };
    assert_eq!(index.tick(&beat).await.unwrap().settings, version, "the beat tells the version");
}

#[tokio::test]
async fn a_change_waits_for_every_living_process() {
    let (eng, index) = engine(EngineConfig::default()).await;
    let nodes = [join(&*index, LONG).await, join(&*index, LONG).await];
    join(&*index, Duration::ZERO).await; // dead, and never heard of again
    let before = index.settings().await.unwrap().version;
    let change = {
        let eng = eng.clone();
        tokio::spawn(async move { settings::set_default_encoding(&eng, &Ctx::default(), "Greek").await })
    };
    let mut version = before;
    while version == before {
        version = index.settings().await.unwrap().version;
        tokio::task::yield_now().await;
    }
    for node in nodes {
        assert!(!change.is_finished());
        obey(&*index, node, version).await;
    }
    tokio::time::timeout(Duration::from_secs(10), change).await.expect("nobody is left to wait for").unwrap().unwrap();
    assert_eq!(eng.settings.version(), version);
    assert_eq!(eng.settings.default_encoding().name(), "Greek");
}

#[tokio::test]
async fn what_another_process_set_is_obeyed_after_a_look() {
    let (eng, index) = engine(EngineConfig::default()).await;
    index.set_setting("AcceptedTransferSyntaxes", r#"["1.2.840.10008.1.2"]"#).await.unwrap();
    index.set_setting("UnknownSopClassAccepted", "1").await.unwrap();
    let version = index.set_setting("DefaultEncoding", "Thai").await.unwrap();
    assert_eq!(eng.settings.default_encoding().name(), "Latin1");
    settings::reload(&eng).await.unwrap();
    assert_eq!((eng.settings.version(), eng.settings.default_encoding().name()), (version, "Thai"));
    assert_eq!(eng.settings.accepted_transfer_syntaxes(), Some(vec!["1.2.840.10008.1.2".to_owned()]));
    assert_eq!(eng.settings.unknown_sop_class_accepted(), Some(true));
    // What makes no sense, as a later version may write it, counts as configured.
    for (key, value) in [("AcceptedTransferSyntaxes", "{}"), ("DefaultEncoding", "Klingon"), ("LogLevels", "7")] {
        index.set_setting(key, value).await.unwrap();
    }
    settings::reload(&eng).await.unwrap();
    assert_eq!((eng.settings.default_encoding().name(), eng.settings.accepted_transfer_syntaxes()), ("Latin1", None));
}
