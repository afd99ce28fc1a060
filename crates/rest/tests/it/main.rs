//! The router as the server has it, against its description.

use axum::Router;
use axum::body::Body;
use engine::{Engine, EngineConfig, Parts};
use http::{Request, Response, StatusCode, header};
use model::ports::hooks::NoHooks;
use model::ports::http::NoHttp;
use rest::{Rest, SystemInfo};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tower::ServiceExt;

/// A router, with nothing stored.
async fn router(folder: &std::path::Path) -> Router {
    let parts = Parts {
        index: index::sqlite::open(&folder.join("index"), index::sqlite::Options::default()).unwrap(),
        storage: storage::open(storage::StorageConfig::Memory).await.unwrap(),
        hooks: Arc::new(NoHooks),
        http: Arc::new(NoHttp),
        config: EngineConfig::default(),
    };
    rest::router(Arc::new(Rest {
        engine: Arc::new(Engine::new(parts)),
        system: SystemInfo::default(),
        latencies: Arc::default(),
        shutdown: Default::default(),
        restart: Arc::default(),
        started: Instant::now(),
    }))
}

/// Sends a request; parts of the path that stand for something are sent as they are described, without their braces.
async fn ask(router: &Router, method: &str, path: &str) -> Response<Body> {
    let path: String = path.chars().filter(|c| !"{*}".contains(*c)).collect();
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(folder.path()).await;
    let document = rest::openapi();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 150, "{}", paths.len());
    for (path, methods) in paths {
        // A route refuses the methods that it does not have, and says which it has.
        let refused = ask(&router, "TRACE", path).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers()[header::ALLOW].to_str().unwrap().split(',').filter(|method| *method != "HEAD");
        let described = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        assert_eq!(allowed.map(str::to_owned).collect::<BTreeSet<_>>(), described.collect(), "{path}");
    }
    let undescribed = document["x-undescribed"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    for path in undescribed.filter(|path| !path.starts_with("/webdav")) {
        assert_eq!(ask(&router, "GET", path).await.status(), StatusCode::NOT_IMPLEMENTED, "{path}");
    }
    assert_eq!(ask(&router, "GET", "/nothing").await.status(), StatusCode::NOT_FOUND);
}
