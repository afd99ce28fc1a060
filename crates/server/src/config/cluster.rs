//! What concerns several processes: jobs, and the options that must be equal everywhere.

use super::Settings;
use super::options::{Scope, Status, table};
use engine::jobs::JobsConfig;
use model::job::JobLimits;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// The options of jobs and of this process as a member of a cluster.
pub fn jobs(settings: &Settings) -> JobsConfig {
    let size = |name| u32::try_from(settings.integer(name)).unwrap_or(u32::MAX);
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = match settings.integer("ConcurrentJobs") {
        0 => cores(),
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let digests = digests(settings);
    JobsConfig {
        workers: if settings.flag("RunJobs") { workers.min(MOST_JOBS) } else { 0 },
        limits: JobLimits { history: size("JobsHistorySize"), outputs: size("MediaArchiveSize") },
        name: settings.text("Name").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        configuration: digest(&Value::Object(digests.clone())),
        details: json!({
            "Pid": std::process::id(),
            "HttpPort": settings.port("HttpPort"),
            "DicomPort": settings.port("DicomPort"),
            "Options": digests,
        }),
        ..JobsConfig::default()
    }
}

/// More jobs than this at once would only wait for each other.
const MOST_JOBS: usize = 1000;

/// A digest of each option that was set, is obeyed, and must be equal on all processes: values may be secrets.
fn digests(settings: &Settings) -> Map<String, Value> {
    let shared = settings.values.iter().filter(|(name, value)| {
        let spec = table().find(name);
        spec.is_some_and(|s| s.scope == Scope::Shared && s.status == Status::Now && s.default.as_ref() != Some(*value))
    });
    let mut digests: Vec<_> = shared.map(|(name, value)| (name.clone(), Value::from(digest(value)))).collect();
    digests.sort_by(|a, b| a.0.cmp(&b.0));
    digests.into_iter().collect()
}

/// The first 16 hexadecimal digits of the SHA-1 of a value's text, members in order of their names.
fn digest(value: &Value) -> String {
    let hash = Sha1::digest(sorted(value).to_string().as_bytes());
    hash.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load};
    use super::*;

    fn read(text: &str) -> JobsConfig {
        jobs(&load(&[], &Environment::from([("ORTHANC_JSON".into(), text.into())])).unwrap())
    }

    #[test]
    fn limits_and_workers_are_orthancs() {
        let config = read("{}");
        assert_eq!((config.workers, config.limits), (2, JobLimits { history: 10, outputs: 1 }));
        assert!(read(r#"{"ConcurrentJobs": 0}"#).workers > 0);
        assert_eq!(read(r#"{"ConcurrentJobs": 7, "RunJobs": false}"#).workers, 0);
    }

    #[test]
    fn only_what_must_be_equal_makes_a_difference() {
        let plain = read("{}").configuration;
        assert_eq!(read(r#"{"Name": "other", "HttpPort": 8043, "ConcurrentJobs": 5, "RunJobs": false}"#).configuration, plain);
        assert_eq!(read(r#"{"StableAge": 60}"#).configuration, plain);
        let other = read(r#"{"StableAge": 61, "UserMetadata": {"a": 1024, "b": 1025}}"#);
        assert_ne!(other.configuration, plain);
        assert_eq!(read(r#"{"UserMetadata": {"b": 1025, "a": 1024}, "StableAge": 61}"#).configuration, other.configuration);
        assert!(!other.details.to_string().contains("1024"), "values may be secrets");
    }
}
