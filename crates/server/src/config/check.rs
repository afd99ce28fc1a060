//! Compares what was configured with what this version knows.

use super::merge::Merged;
use super::options::{Spec, Status, folded, table};
use serde_json::{Map, Value};

/// What the configuration asks for that cannot be had.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// The server must not start.
    pub errors: Vec<String>,
    /// It starts, and the administrator should know.
    pub warnings: Vec<String>,
}

/// Checks every value.
pub fn check(merged: &Merged) -> Findings {
    let mut walk = Walk { merged, findings: Findings::default(), later: vec![] };
    walk.object("", "", &merged.values);
    let Walk { mut findings, later, .. } = walk;
    if !later.is_empty() {
        findings.warnings.push(format!("not implemented in this version and ignored: {}", later.join(", ")));
    }
    findings
}

struct Walk<'a> {
    merged: &'a Merged,
    findings: Findings,
    /// Options and sections that ask for what comes later.
    later: Vec<String>,
}

impl Walk<'_> {
    /// `path` names the object in the configuration, `pattern` in the table.
    fn object(&mut self, path: &str, pattern: &str, values: &Map<String, Value>) {
        for (name, value) in values {
            let (path, pattern) = (join(path, name), join(pattern, name));
            match table().find(&pattern) {
                Some(spec) => self.value(&path, spec, value),
                None => self.unknown(&path, &pattern),
            }
        }
    }

    fn value(&mut self, path: &str, spec: &Spec, value: &Value) {
        if !spec.kind.accepts(value) {
            let (source, found, expected) = (self.merged.origin(path), brief(path, value), spec.kind.expected());
            return self.findings.errors.push(format!("{source}: option {path} is {found}, expected {expected}"));
        }
        match spec.status {
            Status::Safety if protects(value) => {
                let source = self.merged.origin(path);
                self.findings.errors.push(format!(
                    "{source}: option {path} asks for a protection that this version does not have yet; \
                     the server does not start without it"
                ));
            }
            Status::Later if asks(spec, value) => self.later.push(path.to_owned()),
            _ => {}
        }
        self.members(path, spec, value);
    }

    /// Looks into sections and entries.
    fn members(&mut self, path: &str, spec: &Spec, value: &Value) {
        let Some(values) = value.as_object() else { return };
        let entries = format!("{}.*", spec.path);
        let quiet = self.later.len();
        if table().below(spec.path).next().is_some() {
            self.object(path, spec.path, values);
        } else if table().below(&entries).next().is_some() {
            for (name, entry) in values {
                if let Some(entry) = entry.as_object() {
                    self.object(&join(path, name), &entries, entry);
                }
            }
        }
        if spec.status != Status::Now {
            self.later.truncate(quiet); // the section was named; its members need not be
        }
    }

    fn unknown(&mut self, path: &str, pattern: &str) {
        let (parent, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
        let parent_spec = table().find(parent.strip_suffix(".*").unwrap_or(parent));
        if !parent.is_empty() && parent_spec.is_some_and(|p| p.status != Status::Now) {
            return; // members of what is ignored anyway
        }
        let similar = table().below(parent).map(|(n, _)| n).find(|n| folded(n) == folded(name));
        if parent == "OrthancPeers.*" && (similar.is_none() || name == "URL") {
            return; // properties that clients look for
        }
        let hint = similar.map(|n| format!(" (did you mean {n}?)")).unwrap_or_default();
        self.findings.warnings.push(format!("{}: unknown option {path}{hint}", self.merged.origin(path)));
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Whether a protecting option is switched on: `true`, or a section that is not disabled.
fn protects(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Object(section) => !section.is_empty() && section.get("Enable") != Some(&Value::Bool(false)),
        _ => true,
    }
}

/// Whether a value asks for something that silence would deny: not the default, not empty, and not a disabled section.
fn asks(spec: &Spec, value: &Value) -> bool {
    if spec.default.as_ref() == Some(value) {
        return false;
    }
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => match members.get("Enable") {
            Some(on) => on == &Value::Bool(true),
            None => members.iter().any(|(name, v)| match table().find(&join(spec.path, name)) {
                Some(member) => asks(member, v),
                None => true,
            }),
        },
        _ => true,
    }
}

/// A value for a message: short, and never a secret.
fn brief(path: &str, value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "an array".into(),
        _ if super::print::is_secret(path) => "a value of another type".into(),
        _ => {
            let text = value.to_string();
            if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge::Conflict;
    use super::*;
    use crate::config::options::Kind;
    use serde_json::json;

    fn findings(values: Value) -> Findings {
        let mut merged = Merged::default();
        merged.add("FILE", values.as_object().unwrap().clone(), Conflict::Refuse).unwrap();
        check(&merged)
    }

    fn only_error(values: Value) -> String {
        let mut found = findings(values.clone());
        assert_eq!(found.errors.len(), 1, "{values}: {found:?}");
        found.errors.remove(0)
    }

    #[test]
    fn a_wrong_type_or_value_names_file_option_found_and_expected() {
        for (values, words) in [
            (json!({"HttpPort": "8042"}), ["HttpPort", "\"8042\"", "an integer from 0 to 65535"]),
            (json!({"HttpPort": 65536}), ["HttpPort", "65536", "an integer from 0 to 65535"]),
            (json!({"StableAge": -1}), ["StableAge", "-1", "an integer of at least 0"]),
            (json!({"StableAge": 1.5}), ["StableAge", "1.5", "an integer"]),
            (json!({"MaximumPduLength": 1024}), ["MaximumPduLength", "1024", "from 4096 to 131072"]),
            (json!({"CheckRevisions": "true"}), ["CheckRevisions", "\"true\"", "true or false"]),
            (json!({"OverwriteInstances": "Sometimes"}), ["OverwriteInstances", "\"Sometimes\"", "Never, Always, IfChanged"]),
            (json!({"Name": null}), ["Name", "null", "a string"]),
            (json!({"AcceptedTransferSyntaxes": ["a", 1]}), ["AcceptedTransferSyntaxes", "an array", "an array of strings"]),
            (json!({"PostgreSQL": {"Port": true}}), ["PostgreSQL.Port", "true", "an integer"]),
            (json!({"DicomModalities": {"a": {"Port": "x"}}}), ["DicomModalities.a.Port", "\"x\"", "an integer"]),
            (json!({"DicomModalities": {"a": 1}}), ["DicomModalities", "an object", "named objects"]),
        ] {
            let error = only_error(values);
            assert!(error.starts_with("FILE: ") && words.iter().all(|w| error.contains(w)), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        let error = only_error(json!({"PostgreSQL": {"Password": 123456}}));
        assert!(!error.contains("123456"), "{error}");
    }

    #[test]
    fn nothing_weakens_in_silence() {
        for values in [
            json!({"DicomTlsEnabled": true}),
            json!({"Authorization": {"WebServiceRootUrl": "http://x"}}),
            json!({"Authorization": {"Enable": true}}),
            json!({"AwsS3Storage": {"StorageEncryption": {"MasterKey": [1, "x"]}}}),
            json!({"DicomModalities": {"a": {"AET": "A", "UseDicomTls": true}}}),
        ] {
            assert!(only_error(values).contains("protection"));
        }
        for values in [
            json!({"DicomTlsEnabled": false}),
            json!({"Authorization": {"Enable": false, "WebServiceRootUrl": "http://x"}}),
            json!({"AwsS3Storage": {"StorageEncryption": {"Enable": false}}}),
        ] {
            assert_eq!(findings(values).errors, [""; 0]);
        }
    }

    #[test]
    fn what_comes_later_is_named_once_and_defaults_are_silent() {
        let found = findings(json!({
            "IngestTranscoding": "1.2.840.10008.1.2", "MaximumStorageSize": 0, "DicomThreadsCount": 3,
            "Worklists": {"Enable": true, "Directory": "x"}, "DelayedDeletion": {"Enable": false, "Path": "x"},
            "PostgreSQL": {"EnableIndex": true, "Host": "h", "Lock": false}, "LuaScripts": []
        }));
        let expected = "IngestTranscoding, Worklists";
        assert_eq!(found.errors, [""; 0]);
        assert_eq!(found.warnings.len(), 1, "{found:?}");
        assert!(found.warnings[0].ends_with(&format!(": {expected}")), "{found:?}");
    }

    /// A value that asks for something: another than the default, or a section that is switched on.
    fn another(spec: &Spec) -> Value {
        let number = |n: i64| spec.default.as_ref() != Some(&json!(n));
        match &spec.kind {
            Kind::Bool => json!(spec.path.ends_with(".Enable") || spec.default != Some(json!(true))),
            Kind::Integer { min, .. } => json!(if number(*min) { *min } else { min + 1 }),
            Kind::Choice { values, .. } => json!(values.iter().find(|v| spec.default != Some(json!(v))).unwrap()),
            Kind::List => json!(["x"]),
            Kind::Object => json!({"x": 1}),
            Kind::Entries => json!({"x": {}}),
            Kind::Text | Kind::Path | Kind::Any => json!("x"),
        }
    }

    /// Every option below a section, the sections themselves left out.
    fn options(section: &str) -> Vec<&'static Spec> {
        let below = |spec: &'static Spec| [options(spec.path), options(&format!("{}.*", spec.path))].concat();
        let all = table().below(section).flat_map(|(_, spec)| {
            let found = below(table().find(spec.path).unwrap());
            if found.is_empty() { vec![table().find(spec.path).unwrap()] } else { found }
        });
        all.collect()
    }

    #[test]
    fn each_option_is_obeyed_or_named_or_refused_as_the_table_says() {
        let all = options("");
        assert!(all.len() > 300, "{}", all.len());
        for spec in all {
            let parts: Vec<&str> = spec.path.split('.').collect();
            // The option in its sections, which are switched on.
            let values = parts.iter().enumerate().rev().fold(another(spec), |value, (i, name)| {
                let mut section = json!({});
                let switch = [&parts[..i], &["Enable"]].concat().join(".");
                if *name != "Enable" && table().find(&switch).is_some() {
                    section["Enable"] = true.into();
                }
                section[*name] = value;
                section
            });
            let found = findings(values.clone());
            let statuses: Vec<Status> =
                (1..=parts.len()).filter_map(|n| Some(table().find(&parts[..n].join("."))?.status)).collect();
            if statuses.contains(&Status::Safety) {
                assert!(found.errors.iter().any(|e| e.contains("protection")), "{values}: {found:?}");
                continue;
            }
            assert_eq!(found.errors, [""; 0], "{values}");
            let names_it = |warning: &String| (1..=parts.len()).any(|n| warning.contains(&parts[..n].join(".")));
            assert_eq!(found.warnings.iter().any(names_it), statuses.contains(&Status::Later), "{values}: {found:?}");
        }
    }

    #[test]
    fn unknown_options_are_warnings_with_a_hint() {
        let found = findings(json!({"httpport": 1, "Nonsense": {}, "DicomModalities": {"a": {"aet": "A"}, "b": ["B"]}}));
        assert_eq!(found.errors, [""; 0]);
        assert_eq!(found.warnings.len(), 3, "{found:?}");
        assert!(
            found.warnings[0].contains("did you mean HttpPort?") && found.warnings[2].contains("did you mean AET?"),
            "{found:?}"
        );
    }

    #[test]
    fn sections_of_plugins_may_hold_what_only_they_know() {
        let peers = json!({"p": {"Url": "u", "Anything": 1}, "q": {"URL": "u"}});
        let found = findings(json!({"MySQL": {"Host": "x"}, "OrthancPeers": peers}));
        assert_eq!((found.errors.len(), found.warnings.len()), (0, 1), "{found:?}");
        let found = findings(json!({"OrthancPeers": {"p": {"URL": "u", "username": "u"}}}));
        assert!(found.warnings.len() == 1 && found.warnings[0].contains("did you mean Username?"), "{found:?}");
    }
}
