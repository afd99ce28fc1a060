//! The configuration under Orthanc's names: read once, here, from files, folders and the environment.
//!
//! [`load`] puts the sources together ([`sources`], [`environment`], [`merge`]), compares them with the table of known options
//! ([`options`], [`check`]) and returns [`Settings`]. [`orthanc`] makes each room's own configuration from them.

mod check;
mod client;
mod cluster;
mod environment;
mod housekeeper;
mod http;
mod merge;
mod options;
pub mod orthanc;
mod postgres;
pub mod print;
pub mod sample;
mod scripts;
mod sources;
mod storage;

use merge::{Conflict, Merged};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variables of the process, as they were at its start.
pub type Environment = BTreeMap<String, String>;

/// Why the server does not start: one sentence for each option.
#[derive(Debug)]
pub struct ConfigError(pub Vec<String>);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is configured, of the right types.
#[derive(Debug, Default)]
pub struct Settings {
    /// What was set, by name.
    pub values: Map<String, Value>,
    /// What relative paths count from: the folder of the first configuration file (Orthanc's rule), or the working folder.
    pub folder: PathBuf,
    /// What the administrator should know.
    pub warnings: Vec<String>,
    /// The variables of Amazon's tools (`AWS_…`), which may hold credentials.
    pub ambient: Environment,
}

/// Reads `paths` (files and folders), then `ORTHANC_JSON`, then `ORTHANC__…`.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(paths: &[PathBuf], environment: &Environment) -> Result<Settings, ConfigError> {
    let (mut merged, mut errors, mut warnings) = (Merged::default(), vec![], vec![]);
    let mut add = |document: sources::Document, conflict| {
        for name in &document.unset {
            warnings.push(format!("{}: the variable {name} is not set and counts as empty", document.source));
        }
        errors.extend(merged.add(&document.source, document.values, conflict).err().into_iter().flatten());
    };
    let mut unreadable = vec![];
    for path in paths {
        match sources::read(path, environment) {
            Ok(documents) => documents.into_iter().for_each(|d| add(d, Conflict::Refuse)),
            Err(error) => unreadable.push(error),
        }
    }
    if let Some(text) = environment.get("ORTHANC_JSON") {
        match sources::parse("the variable ORTHANC_JSON", text, environment) {
            Ok(document) => add(document, Conflict::Replace),
            Err(error) => unreadable.push(error),
        }
    }
    errors.extend(unreadable);
    for (name, values) in environment::documents(environment, &merged.values) {
        errors.extend(merged.add(&format!("the variable {name}"), values, Conflict::Replace).err().into_iter().flatten());
    }
    let findings = check::check(&merged);
    errors.extend(findings.errors);
    warnings.extend(findings.warnings);
    let ambient = environment.iter().filter(|(name, _)| name.starts_with("AWS_"));
    let ambient = ambient.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut settings = Settings { values: merged.values, folder: folder_of(paths), warnings, ambient };
    if errors.is_empty() {
        settings.check_users(&mut errors);
        settings.warnings.extend(housekeeper::warning(&settings));
    }
    if errors.is_empty() { Ok(settings) } else { Err(ConfigError(errors)) }
}

fn folder_of(paths: &[PathBuf]) -> PathBuf {
    match paths.first() {
        Some(path) if path.is_dir() => path.clone(),
        Some(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
        None => PathBuf::new(),
    }
}

impl Settings {
    /// What was set, else the default of the table. `SECTION.OPTION` names an option of a section.
    fn value(&self, name: &str) -> Option<&Value> {
        debug_assert!(options::table().find(name).is_some(), "{name} is not in the table");
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let member = |value| rest.into_iter().flat_map(|r| r.split('.')).try_fold(value, |value: &Value, name| value.get(name));
        self.values.get(first).and_then(member).or_else(|| options::table().find(name)?.default.as_ref())
    }

    /// A `bool` option.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A `bool` option without a default, if it was set.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.value(name).and_then(Value::as_bool)
    }

    /// An `int` option; never negative.
    pub fn integer(&self, name: &str) -> u64 {
        self.value(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// An `int` option outside of sections, only if it was set: where its default has another meaning than the number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(Value::as_u64)
    }

    /// An `int` option that is a port.
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.integer(name)).unwrap_or(0)
    }

    /// A `string` or `enum` option.
    pub fn text(&self, name: &str) -> &str {
        self.value(name).and_then(Value::as_str).unwrap_or("")
    }

    /// A `list` option.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.value(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The members of an `object` or `entries` option.
    pub fn members(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.value(name).and_then(Value::as_object).into_iter().flatten()
    }

    /// A `path` option, counted from the configuration's folder. None if it is not set or empty.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name);
        (!text.is_empty()).then(|| self.folder.join(text))
    }

    /// Whether clients must log in: as configured, else if they may come from other hosts (as in Orthanc).
    pub fn authentication(&self) -> bool {
        self.switch("AuthenticationEnabled").unwrap_or_else(|| self.flag("RemoteAccessAllowed"))
    }

    /// `RegisteredUsers`: names and passwords.
    pub fn users(&self) -> BTreeMap<String, String> {
        self.members("RegisteredUsers").filter_map(|(name, v)| Some((name.clone(), v.as_str()?.to_owned()))).collect()
    }

    /// Whether `/system` may call the HTTP server secure: nobody from outside gets in without a password, or with one
    /// that everybody knows from documentation (Orthanc: `IsHttpServerSecure`).
    pub fn is_http_secure(&self) -> bool {
        let open = self.flag("RemoteAccessAllowed") && !self.authentication();
        !open && self.users().iter().all(|(name, password)| !is_well_known(name, password))
    }

    fn check_users(&mut self, errors: &mut Vec<String>) {
        let remote = self.flag("RemoteAccessAllowed");
        for (name, value) in self.members("RegisteredUsers") {
            if !value.is_string() {
                errors.push(format!("option RegisteredUsers.{name} is no password, expected a string"));
            } else if name.is_empty() || name.contains(':') {
                errors.push(
                    "option RegisteredUsers: a name is empty or has a colon, so nobody can log in with it (RFC 7617)".into(),
                );
            }
        }
        let users = self.users();
        if self.authentication() && users.is_empty() && self.flag("HttpServerEnabled") {
            if remote {
                errors.push(
                    "RemoteAccessAllowed is true and clients must log in, but RegisteredUsers names no user: \
                     add one, or set AuthenticationEnabled to false if everyone may do everything"
                        .into(),
                );
            } else {
                self.warnings.push("AuthenticationEnabled is true, but RegisteredUsers names no user: nobody can log in".into());
            }
        }
        if remote && !self.authentication() {
            self.warnings.push("RemoteAccessAllowed is true and AuthenticationEnabled false: anyone may do everything".into());
        }
        if !self.flag("SaveJobs") {
            self.warnings
                .push("SaveJobs is false, but jobs are kept: other processes share them, and a restart loses none".into());
        }
        for (name, password) in users {
            if is_well_known(&name, &password) {
                self.warnings.push(format!("RegisteredUsers: the password of {name} is known to everyone"));
            }
        }
    }
}

/// Passwords that documentation and images have spread (Orthanc warns of the same).
fn is_well_known(name: &str, password: &str) -> bool {
    matches!((name, password), ("orthanc", "orthanc") | ("alice", "orthanctest" | "alicePassword"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn from_json(text: &str) -> Result<Settings, ConfigError> {
        load(&[], &environment(&[("ORTHANC_JSON", text)]))
    }

    #[test]
    fn without_configuration_the_defaults_are_orthancs() {
        let settings = load(&[], &Environment::new()).unwrap();
        assert_eq!(settings.warnings, [""; 0]);
        assert_eq!((settings.port("HttpPort"), settings.port("DicomPort"), settings.text("DicomAet")), (8042, 4242, "ORTHANC"));
        assert_eq!(settings.list("AcceptedTransferSyntaxes"), ["1.2.840.10008.1.*"]);
        assert_eq!(settings.path("StorageDirectory").unwrap(), Path::new("OrthancStorage"));
        assert!(settings.flag("SyncStorageArea") && !settings.flag("RemoteAccessAllowed") && !settings.authentication());
        assert_eq!(settings.path("IndexDirectory"), None);
        assert!(settings.is_http_secure());
    }

    #[test]
    fn files_folders_and_environment_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("conf")).unwrap();
        fs::write(path("conf/b.json"), "{\"DicomAet\": \"B\", \"DicomModalities\": {\"b\": [\"B\", \"h\", 1]}}").unwrap();
        fs::write(
            path("conf/a.JSON"),
            "{\"HttpPort\": ${TEST_PORT:-81}, \"DicomModalities\": {\"a\": [\"A\", \"h\", 1]}} // end",
        )
        .unwrap();
        fs::write(path("conf/other.txt"), "not read").unwrap();
        fs::write(path("c.json"), "{\"StorageDirectory\": \"data\", \"DicomPort\": 105}").unwrap();
        let variables = environment(&[
            ("TEST_PORT", "82"),
            ("ORTHANC_JSON", "{\"DicomAet\": \"C\", \"StableAge\": 3}"),
            ("ORTHANC__STABLE_AGE", "4"),
        ]);
        let settings = load(&[path("conf"), path("c.json")], &variables).unwrap();
        assert_eq!(settings.warnings, [""; 0]);
        assert_eq!((settings.port("HttpPort"), settings.port("DicomPort"), settings.integer("StableAge")), (82, 105, 4));
        assert_eq!(settings.text("DicomAet"), "C");
        assert_eq!(settings.members("DicomModalities").map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(settings.path("StorageDirectory").unwrap(), path("conf/data"), "the first path counts, as in Orthanc");
        let settings = load(&[path("c.json")], &Environment::new()).unwrap();
        assert_eq!(settings.path("StorageDirectory").unwrap(), path("data"));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good.json"), folder.path().join("bad.json"));
        fs::write(&good, "{\"HttpPort\": \"x\", \"Name\": 1}").unwrap();
        fs::write(&bad, "{").unwrap();
        let error = load(&[good, bad, folder.path().join("none.json")], &Environment::new()).unwrap_err().to_string();
        for word in ["HttpPort", "Name", "bad.json is not valid JSON", "none.json"] {
            assert!(error.contains(word), "{word} in {error}");
        }
    }

    #[test]
    fn remote_access_without_a_way_to_log_in_does_not_start() {
        for text in [
            r#"{"RemoteAccessAllowed": true}"#,
            r#"{"RemoteAccessAllowed": true, "AuthenticationEnabled": true}"#,
            r#"{"RemoteAccessAllowed": true, "RegisteredUsers": {}}"#,
        ] {
            assert!(from_json(text).unwrap_err().to_string().contains("RegisteredUsers"), "{text}");
        }
        for (text, secure, authentication) in [
            (r#"{"RegisteredUsers": {}}"#, true, false),
            (r#"{"AuthenticationEnabled": false, "RegisteredUsers": {}}"#, true, false),
            (r#"{"AuthenticationEnabled": true, "RegisteredUsers": {"orthanc": "orthanc"}}"#, false, true),
            (r#"{"AuthenticationEnabled": true, "RegisteredUsers": {"orthanc": "SECURE"}}"#, true, true),
            (r#"{"RemoteAccessAllowed": true, "AuthenticationEnabled": false}"#, false, false),
            (r#"{"RemoteAccessAllowed": true, "RegisteredUsers": {"alice": "orthanctest"}}"#, false, true),
            (r#"{"RemoteAccessAllowed": true, "RegisteredUsers": {"alice": "SECURE"}}"#, true, true),
            (r#"{"RemoteAccessAllowed": true, "HttpServerEnabled": false}"#, true, true),
        ] {
            let settings = from_json(text).unwrap();
            assert_eq!((settings.is_http_secure(), settings.authentication()), (secure, authentication), "{text}");
        }
        assert!(from_json(r#"{"RegisteredUsers": {"a": 1}}"#).is_err());
        assert!(from_json(r#"{"RegisteredUsers": {"a:b": "c"}}"#).is_err());
    }
}
