//! `/cluster/nodes`: the processes that share one database. Ours, not Orthanc's.

use crate::routes::{Routes, about};
use crate::state::Rest;
use axum::extract::State;
use engine::jobs;
use model::job::Node;
use model::time;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Routes {
    Routes::default().get("/cluster/nodes", get_nodes, about("The processes that share the database.").json())
}

/// `GET /cluster/nodes`: who is there, what runs where, and which options differ from those of the process that answers.
async fn get_nodes(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Json> {
    let nodes = jobs::nodes(&rest.engine, &ctx).await?;
    let own = &rest.engine.config.jobs;
    let me = rest.engine.node_id();
    Ok(Json(nodes.iter().map(|node| view(node, node.node.id == me, &own.details)).collect()))
}

fn view(node: &Node, answers: bool, own: &Value) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("ID", node.node.id.to_string().into());
    put("Name", node.node.name.clone().into());
    put("Version", node.node.version.clone().into());
    put("Started", time::iso_micros(node.started_at).into());
    put("LeaseSeconds", json!(node.lease.as_millis() as f64 / 1000.0));
    put("Alive", (!node.lease.is_zero()).into());
    put("Draining", node.draining.into());
    put("JobTypes", json!(node.node.kinds));
    put("RunningJobs", node.running.into());
    put("SettingsVersion", node.settings.into());
    put("ConfigurationHash", node.node.configuration.clone().into());
    put("DifferentOptions", json!(differences(&node.node.details, own)));
    put("Answers", answers.into());
    for key in ["Pid", "HttpPort", "DicomPort"] {
        put(key, node.node.details.get(key).cloned().unwrap_or_default());
    }
    Value::Object(out)
}

/// The names of the options whose digests differ.
fn differences<'a>(theirs: &'a Value, own: &'a Value) -> BTreeSet<&'a str> {
    let options = |details: &'a Value| details.get("Options").and_then(Value::as_object);
    let (Some(theirs), Some(own)) = (options(theirs), options(own)) else { return BTreeSet::new() };
    let names = theirs.keys().chain(own.keys()).map(String::as_str);
    names.filter(|name| theirs.get(*name) != own.get(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_both_ways() {
        let details = |options: Value| json!({ "Options": options });
        let own = details(json!({"StableAge": "a", "UserMetadata": "b"}));
        assert!(differences(&own, &own).is_empty());
        let theirs = details(json!({"StableAge": "c", "Dictionary": "d"}));
        assert_eq!(differences(&theirs, &own), BTreeSet::from(["Dictionary", "StableAge", "UserMetadata"]));
        assert!(differences(&Value::Null, &own).is_empty());
    }
}
