//! Modalities of the configuration and of clients.

use crate::settings::engine;
use engine::{Ctx, EngineConfig, Modality, remotes};
use model::ErrorKind;
use model::ports::index::RemoteKind;
use serde_json::json;

#[tokio::test]
async fn modalities_are_read_from_the_index_at_each_use() {
    let configured = Modality::parse(&json!(["A", "h", 104])).unwrap();
    let config = EngineConfig { modalities: Some([("a".to_owned(), configured.clone())].into()), ..EngineConfig::default() };
    let (eng, index) = engine(config).await;
    assert!(remotes::modalities(&eng).await.unwrap().is_empty(), "the configuration is brought in at the start");
    remotes::seed(&eng).await.unwrap();
    assert_eq!(remotes::modality(&eng, "a").await.unwrap(), configured);
    // Another process.
    index.put_remote(RemoteKind::Modality, "b", &json!({"AET": "B", "Host": "h", "Port": 105})).await.unwrap();
    assert_eq!(remotes::modality(&eng, "b").await.unwrap().port, 105);
    // A row that a later version wrote does not hide the others.
    index.put_remote(RemoteKind::Modality, "c", &json!({"Future": true})).await.unwrap();
    assert_eq!(remotes::modalities(&eng).await.unwrap().into_keys().collect::<Vec<_>>(), ["a", "b"]);
    let ctx = Ctx::default();
    remotes::put_modality(&eng, &ctx, "c", &json!(["C", "h", 106])).await.unwrap();
    assert_eq!(index.remote(RemoteKind::Modality, "c").await.unwrap().unwrap()["Manufacturer"], "Generic", "stored in full");
    for (name, kind) in [("a.b", ErrorKind::BadDicom), ("", ErrorKind::BadDicom)] {
        let error = remotes::put_modality(&eng, &ctx, name, &json!(["C", "h", 106])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name:?}");
    }
    remotes::delete_modality(&eng, &ctx, "a").await.unwrap();
    for error in [remotes::modality(&eng, "a").await.unwrap_err(), remotes::delete_modality(&eng, &ctx, "a").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InexistentItem);
    }
}
