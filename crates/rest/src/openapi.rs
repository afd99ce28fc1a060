//! The description of the routes in OpenAPI 3.0, made from the table that the router is made from.

use crate::routes::Described;
use crate::schema::{integer, text};
use serde_json::{Map, Value, json};

/// The description of every route (`pleiad --openapi`).
pub fn openapi() -> Value {
    let (table, undescribed) = crate::routes().into_table();
    let mut paths = Map::new();
    for route in table {
        let (path, method) = (shown(&route.path), route.method);
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation(route);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Pleiad",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST API of Orthanc, and what Pleiad adds to it. What Orthanc has and Pleiad has not yet is \
                            listed in `x-undescribed` and answers 501; WebDAV is there too.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "paths": paths,
        "security": [{ "basic": [] }, {}],
        "components": {
            "securitySchemes": { "basic": { "type": "http", "scheme": "basic" } },
            "responses": { "Error": {
                "description": "Refused. Some refusals have no body, as in Orthanc.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            } },
            "schemas": { "Error": {
                "type": "object",
                "required": ["HttpStatus", "OrthancStatus"],
                "properties": {
                    "Details": text(),
                    "HttpError": text(),
                    "HttpStatus": integer(),
                    "Message": text(),
                    "Method": text(),
                    "OrthancError": text(),
                    "OrthancStatus": integer(),
                    "Uri": text(),
                },
            } },
        },
        "x-undescribed": undescribed,
    })
}

/// A path as OpenAPI writes it: it has no word for "everything below".
fn shown(path: &str) -> String {
    path.replace("{*", "{")
}

/// The names between braces.
fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| part.split('}').next())
}

fn operation(route: Described) -> Value {
    let path = shown(&route.path);
    let mut about = route.about;
    for name in placeholders(&path) {
        about.add_parameter(
            json!({ "name": name, "in": "path", "required": true, "schema": text(), "description": meaning(name) }),
        );
    }
    let mut operation = about.into_operation();
    let name: String = path.chars().filter(|c| !"{}".contains(*c)).map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    operation.insert("operationId".into(), format!("{}{}", route.method, name.trim_end_matches('_')).into());
    operation.insert("tags".into(), json!([path.split('/').nth(1).unwrap_or_default()]));
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Error" });
    Value::Object(operation)
}

/// What a part of a path stands for.
fn meaning(name: &str) -> &'static str {
    match name {
        "id" => "The identifier, or the name, of what the path is about",
        "key" => "The name of an output of the job",
        "label" => "A label",
        "name" => "The name or the number of a metadata or an attachment",
        "path" => "The parts of the path below",
        "property" => "What of the attachment is asked for",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rest, SystemInfo};
    use axum::Router;
    use axum::body::Body;
    use engine::{Engine, EngineConfig, Parts};
    use http::{Request, Response, StatusCode, header};
    use model::ports::hooks::NoHooks;
    use model::ports::http::NoHttp;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::time::Instant;
    use tower::ServiceExt;

    /// The router that the server has, with nothing stored.
    async fn router(folder: &std::path::Path) -> Router {
        let parts = Parts {
            index: index::sqlite::open(&folder.join("index"), index::sqlite::Options::default()).unwrap(),
            storage: storage::open(storage::StorageConfig::Memory).await.unwrap(),
            hooks: Arc::new(NoHooks),
            http: Arc::new(NoHttp),
            config: EngineConfig::default(),
        };
        let rest = Rest {
            engine: Arc::new(Engine::new(parts)),
            system: SystemInfo::default(),
            latencies: Arc::default(),
            shutdown: Default::default(),
            restart: Arc::default(),
            started: Instant::now(),
        };
        crate::router(Arc::new(rest))
    }

    async fn ask(router: &Router, method: &str, path: &str) -> Response<Body> {
        let path = placeholders(path).fold(path.to_owned(), |path, name| path.replacen(&format!("{{{name}}}"), "x", 1));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn every_route_is_described_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let router = router(folder.path()).await;
        let (table, undescribed) = crate::routes().into_table();
        let mut described = BTreeMap::<_, BTreeSet<_>>::new();
        for route in &table {
            described.entry(&route.path).or_default().insert(route.method.to_uppercase());
        }
        assert!(described.len() > 150, "{}", described.len());
        for (path, methods) in described {
            // A route refuses the methods that it does not have, and says which it has.
            let refused = ask(&router, "TRACE", path).await;
            assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let allowed = refused.headers()[header::ALLOW].to_str().unwrap().split(',').filter(|method| *method != "HEAD");
            assert_eq!(allowed.map(str::to_owned).collect::<BTreeSet<_>>(), methods, "{path}");
        }
        for path in undescribed.iter().filter(|path| !path.starts_with("/webdav")) {
            assert_eq!(ask(&router, "GET", path).await.status(), StatusCode::NOT_IMPLEMENTED, "{path}");
        }
        assert_eq!(ask(&router, "GET", "/nothing").await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn descriptions_are_complete() {
        let document = openapi();
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let of = format!("{method} {path}: {operation:#}");
                assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{of}");
                assert!(operation["responses"].get("200").is_some(), "{of}");
                assert!(names.insert(operation["operationId"].to_string()), "{of}");
                let parameters = operation["parameters"].as_array().unwrap();
                let described: BTreeSet<_> =
                    parameters.iter().map(|p| (&p["in"], &p["name"])).map(|p| format!("{p:?}")).collect();
                assert_eq!(described.len(), parameters.len(), "{of}");
                assert!(parameters.iter().all(|p| p["description"] != "" && p["schema"].is_object()), "{of}");
                let in_path = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap());
                assert_eq!(in_path.collect::<Vec<_>>(), placeholders(path).collect::<Vec<_>>(), "{of}");
            }
        }
    }
}
