//! From Orthanc's names to the configuration of each room: one line for one option.

use super::{ConfigError, Settings, postgres, storage};
use ::client::ClientConfig;
use ::storage::StorageConfig;
use dataset::{CharacterSet, Dictionary};
use engine::engine::StorageAccessOnFind;
use engine::scu::ScuConfig;
use engine::{EngineConfig, LogLevels, Modality};
use index::postgres::PostgresConfig;
use model::metadata::MetadataNames;
use model::{Level, MainTags, Overwrite, Quota, StorageMode};
use scp::{ScpConfig, TRANSFER_SYNTAXES, TransferSyntaxGroup, accepted_sop_classes, accepted_transfer_syntaxes};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use web::HttpConfig;

/// What each room is told.
pub struct Config {
    pub storage: StorageConfig,
    /// The folder of the SQLite index.
    pub index: PathBuf,
    /// The index, if it is in PostgreSQL.
    pub postgres: Option<PostgresConfig>,
    pub stable_age: Duration,
    pub client: ClientConfig,
    pub engine: EngineConfig,
    /// `HttpServerEnabled`
    pub http: Option<HttpConfig>,
    /// `DicomServerEnabled`
    pub dicom: Option<ScpConfig>,
    /// What scripts are made from; `None` if there are none and none can come.
    pub scripts: Option<scripting::Setup>,
    /// Differs if `LuaScripts` or what they hold differs.
    pub scripts_digest: String,
    pub system: rest::SystemInfo,
}

/// Fills the configuration of every room.
///
/// # Errors
/// Every value that has the right type and makes no sense.
pub fn config(settings: &Settings) -> Result<Config, ConfigError> {
    let mut errors = Errors(vec![]);
    let folder = settings.path("StorageDirectory").unwrap_or_default();
    let engine = engine(settings, &mut errors);
    let scripts = super::scripts::setup(settings, &engine.dictionary, &mut errors);
    let config = Config {
        index: settings.path("IndexDirectory").unwrap_or(folder),
        postgres: postgres::postgres(settings, &mut errors),
        storage: storage::storage(settings, &mut errors),
        stable_age: Duration::from_secs(settings.integer("StableAge")),
        client: super::client::client(settings),
        engine,
        http: settings.flag("HttpServerEnabled").then(|| super::http::http(settings, &mut errors)),
        dicom: settings.flag("DicomServerEnabled").then(|| dicom(settings, &mut errors)),
        scripts_digest: super::scripts::digest(scripts.as_ref()),
        scripts,
        system: system(settings),
    };
    if errors.0.is_empty() { Ok(config) } else { Err(ConfigError(errors.0)) }
}

/// Collects what is wrong, so that all of it can be said at once.
pub(super) struct Errors(pub(super) Vec<String>);

impl Errors {
    /// The value, or a note of why there is none.
    pub(super) fn take<T>(&mut self, option: &str, result: Result<T, impl std::fmt::Display>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("option {option}: {error}"))).ok()
    }
}

fn engine(settings: &Settings, errors: &mut Errors) -> EngineConfig {
    let dictionary = dictionary(settings, errors);
    let encoding = settings.text("DefaultEncoding");
    EngineConfig {
        overwrite: overwrite(settings),
        quota: quota(settings),
        store_md5: settings.flag("StoreMD5ForAttachments"),
        storage_compression: settings.flag("StorageCompression"),
        case_sensitive_pn: settings.flag("CaseSensitivePN"),
        limit_find_results: settings.integer("LimitFindResults"),
        limit_find_instances: settings.integer("LimitFindInstances"),
        storage_access_on_find: match settings.text("StorageAccessOnFind") {
            "Never" => StorageAccessOnFind::Never,
            "Answers" => StorageAccessOnFind::Answers,
            _ => StorageAccessOnFind::Always,
        },
        check_revisions: settings.flag("CheckRevisions"),
        main_tags: main_tags(settings, &dictionary, errors),
        housekeeper: super::housekeeper::housekeeper(settings, errors),
        metadata_names: metadata_names(settings, errors),
        user_content_types: content_types(settings, errors),
        dictionary: Arc::new(dictionary),
        default_encoding: errors
            .take("DefaultEncoding", CharacterSet::parse(encoding).ok_or("unknown encoding"))
            .unwrap_or_default(),
        // The command line decides.
        log_levels: LogLevels::default(),
        modalities: modalities(settings, errors),
        peers: super::client::peers(settings, errors),
        scu: scu(settings),
        jobs: super::cluster::jobs(settings),
        log_exported: settings.flag("LogExportedResources"),
        delayed_deletion: settings
            .flag("DelayedDeletion.Enable")
            .then(|| Duration::from_millis(settings.integer("DelayedDeletion.ThrottleDelayMs"))),
        heart_beat: Duration::from_secs(settings.integer("LuaHeartBeatPeriod")),
        max_file_in_archive_bytes: settings.integer("MaximumFileSizeInArchiveMB") << 20,
        temporary_directory: settings.path("TemporaryDirectory"),
        write_to_file_system: settings.flag("RestApiWriteToFileSystemEnabled"),
        read_only: settings.flag("ReadOnly"),
    }
}

/// `OverwriteInstances`, whose older form is a boolean.
fn overwrite(settings: &Settings) -> Overwrite {
    match (settings.switch("OverwriteInstances"), settings.text("OverwriteInstances")) {
        (Some(true), _) | (None, "Always") => Overwrite::Always,
        (None, "IfChanged") => Overwrite::IfChanged,
        _ => Overwrite::Never,
    }
}

/// `MaximumStorageSize` (MB), `MaximumPatientCount`, `MaximumStorageMode`. 0 is no limit.
fn quota(settings: &Settings) -> Quota {
    let limit = |name| Some(settings.integer(name)).filter(|most| *most > 0);
    Quota {
        bytes: limit("MaximumStorageSize").map(|megabytes| megabytes << 20),
        patients: limit("MaximumPatientCount"),
        mode: if settings.text("MaximumStorageMode") == "Reject" { StorageMode::Reject } else { StorageMode::Recycle },
    }
}

/// `Dictionary`: `"gggg,eeee": [VR, name, minimum, maximum, private creator]`.
fn dictionary(settings: &Settings, errors: &mut Errors) -> Dictionary {
    let mut dictionary = Dictionary::standard();
    for (tag, entry) in settings.members("Dictionary") {
        let text = |i: usize| entry.get(i).and_then(Value::as_str);
        let number = |i: usize, default| match entry.get(i) {
            None => Some(default),
            Some(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        };
        let option = format!("Dictionary.{tag}");
        let creator = if entry.get(4).is_some() { text(4) } else { Some("") };
        match (text(0), text(1), number(2, 1), number(3, 1), creator) {
            (Some(vr), Some(name), Some(min), Some(max), Some(creator)) => {
                errors.take(&option, dictionary.add(tag, vr, name, min, max, creator));
            }
            _ => errors.0.push(format!("option {option}: expected [\"VR\", \"Name\", minimum, maximum, \"private creator\"]")),
        }
    }
    dictionary
}

/// `ExtraMainDicomTags`: tags by level.
fn main_tags(settings: &Settings, dictionary: &Dictionary, errors: &mut Errors) -> MainTags {
    let mut tags = MainTags::default();
    for (level_name, names) in settings.members("ExtraMainDicomTags") {
        let option = format!("ExtraMainDicomTags.{level_name}");
        let level = Level::parse(level_name).ok_or("expected Patient, Study, Series or Instance");
        let names = names.as_array().ok_or("expected an array of tags");
        let (Some(level), Some(names)) = (errors.take(&option, level), errors.take(&option, names)) else { continue };
        for name in names {
            let tag = name.as_str().and_then(|n| dictionary.parse_tag(n));
            if let Some(tag) = errors.take(&option, tag.ok_or_else(|| format!("{name} is no tag"))) {
                tags.add(level, tag);
            }
        }
    }
    tags
}

/// `UserMetadata`: numbers by name.
fn metadata_names(settings: &Settings, errors: &mut Errors) -> MetadataNames {
    let mut names = MetadataNames::default();
    for (name, number) in settings.members("UserMetadata") {
        let option = format!("UserMetadata.{name}");
        if let Some(number) = errors.take(&option, user_number(number)) {
            errors.take(&option, names.register(name, number));
        }
    }
    names
}

/// `UserContentType`: a number, or a number and a media type, by name.
fn content_types(settings: &Settings, errors: &mut Errors) -> BTreeMap<String, (u16, String)> {
    let mut types: BTreeMap<String, (u16, String)> = BTreeMap::new();
    for (name, value) in settings.members("UserContentType") {
        let option = format!("UserContentType.{name}");
        let number = errors.take(&option, user_number(value.get(0).unwrap_or(value)));
        let media_type = match value.get(1) {
            None => Some("application/octet-stream"),
            Some(text) => errors.take(&option, text.as_str().ok_or("expected [number, \"media type\"]")),
        };
        let (Some(number), Some(media_type)) = (number, media_type) else { continue };
        if types.values().any(|(taken, _)| *taken == number) {
            errors.0.push(format!("option {option}: the number {number} is used twice"));
        }
        types.insert(name.clone(), (number, media_type.to_owned()));
    }
    types
}

fn user_number(value: &Value) -> Result<u16, String> {
    let number = value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n >= 1024);
    number.ok_or_else(|| format!("{value} is no number from 1024 to 65535"))
}

/// `DicomModalities`, by name. None if they are kept in the index only.
fn modalities(settings: &Settings, errors: &mut Errors) -> Option<BTreeMap<String, Modality>> {
    let mut modalities = BTreeMap::new();
    for (name, entry) in settings.members("DicomModalities") {
        let option = format!("DicomModalities.{name}");
        errors.take(&option, engine::remotes::check_name(name));
        if let Some(modality) = errors.take(&option, Modality::parse(entry)) {
            modalities.insert(name.clone(), modality);
        }
    }
    (!settings.flag("DicomModalitiesInDatabase")).then_some(modalities)
}

fn scu(settings: &Settings) -> ScuConfig {
    ScuConfig {
        aet: settings.text("DicomAet").to_owned(),
        timeout: Duration::from_secs(settings.integer("DicomScuTimeout")),
        max_pdu: u32::try_from(settings.integer("MaximumPduLength")).unwrap_or(16384),
        echo_checks_find: settings.flag("DicomEchoChecksFind"),
    }
}

fn dicom(settings: &Settings, errors: &mut Errors) -> ScpConfig {
    let aet = settings.text("DicomAet");
    if aet.is_empty() || aet.len() > 16 {
        errors.0.push("option DicomAet: an AET has 1 to 16 characters (PS3.5 6.2)".into());
    }
    let rejected = rejected_sop_classes(settings);
    ScpConfig {
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.port("DicomPort"))),
        aet: aet.to_owned(),
        check_called_aet: settings.flag("DicomCheckCalledAet"),
        strict_aet_comparison: settings.flag("StrictAetComparison"),
        always_allow_echo: settings.flag("DicomAlwaysAllowEcho"),
        always_allow_store: settings.flag("DicomAlwaysAllowStore"),
        check_modality_host: settings.flag("DicomCheckModalityHost"),
        idle_timeout: Some(settings.integer("DicomScpTimeout")).filter(|s| *s > 0).map(Duration::from_secs),
        max_pdu: u32::try_from(settings.integer("MaximumPduLength")).unwrap_or(16384),
        accepted_transfer_syntaxes: transfer_syntaxes(settings),
        accepted_sop_classes: accepted_sop_classes(&settings.list("AcceptedSopClasses"), &rejected),
        rejected_sop_classes: rejected,
        unknown_sop_class_accepted: settings.flag("UnknownSopClassAccepted"),
        ..ScpConfig::default()
    }
}

/// `RejectedSopClasses` and its misspelt twin.
fn rejected_sop_classes(settings: &Settings) -> Vec<String> {
    [settings.list("RejectedSopClasses"), settings.list("RejectSopClasses")].concat()
}

/// `AcceptedTransferSyntaxes` and the older switches of groups.
fn transfer_syntaxes(settings: &Settings) -> Vec<String> {
    let switches = TransferSyntaxGroup::ALL.into_iter().filter_map(|group| Some((group, settings.switch(group.option())?)));
    accepted_transfer_syntaxes(&settings.list("AcceptedTransferSyntaxes"), &switches.collect::<Vec<_>>())
}

fn system(settings: &Settings) -> rest::SystemInfo {
    rest::SystemInfo {
        name: settings.text("Name").to_owned(),
        dicom_aet: settings.text("DicomAet").to_owned(),
        dicom_port: settings.port("DicomPort"),
        http_port: settings.port("HttpPort"),
        http_secure: settings.is_http_secure(),
        overwrite_instances: match overwrite(settings) {
            Overwrite::Never => "Never",
            Overwrite::Always => "Always",
            Overwrite::IfChanged => "IfChanged",
        },
        maximum_storage_size_mb: settings.integer("MaximumStorageSize"),
        maximum_patient_count: settings.integer("MaximumPatientCount"),
        maximum_storage_mode: settings.text("MaximumStorageMode").to_owned(),
        execute_lua_enabled: settings.flag("ExecuteLuaEnabled"),
        check_revisions: settings.flag("CheckRevisions"),
        read_only: settings.flag("ReadOnly"),
        default_encoding: settings.text("DefaultEncoding").to_owned(),
        accepted_transfer_syntaxes: transfer_syntaxes(settings),
        known_transfer_syntaxes: TRANSFER_SYNTAXES.iter().map(|(uid, _)| (*uid).to_owned()).collect(),
        accepted_sop_classes: accepted_sop_classes(&settings.list("AcceptedSopClasses"), &rejected_sop_classes(settings)),
        unknown_sop_class_accepted: settings.flag("UnknownSopClassAccepted"),
        metrics_enabled: settings.flag("MetricsEnabled"),
        plugins: plugins(settings),
        synchronous_zip_stream: settings.flag("SynchronousZipStream"),
        http_threads: settings.integer("HttpThreadsCount"),
        webdav: settings
            .flag("WebDavEnabled")
            .then(|| rest::WebDav { delete: settings.flag("WebDavDeleteAllowed"), upload: settings.flag("WebDavUploadAllowed") }),
    }
}

/// What is built in and configured, as the plugins of Orthanc that do the same.
fn plugins(settings: &Settings) -> Vec<rest::Plugin> {
    let s3 = settings.members("AwsS3Storage").next().is_some();
    let s3 = s3.then_some(rest::Plugin { name: "AWS S3 Storage", description: "Keeps the files in a bucket of S3" });
    let housekeeper = settings.flag("Housekeeper.Enable");
    let housekeeper =
        housekeeper.then_some(rest::Plugin { name: "housekeeper", description: "Optimizes the index and the storage area" });
    s3.into_iter().chain(housekeeper).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load};
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        config(&load(&[], &Environment::from([("ORTHANC_JSON".into(), text.into())])).unwrap())
    }

    #[test]
    fn the_defaults_are_orthancs() {
        let config = read("{}").unwrap();
        assert_eq!(config.engine.overwrite, Overwrite::Never);
        assert_eq!(config.engine.default_encoding.name(), "Latin1");
        assert_eq!(config.stable_age, Duration::from_secs(60));
        assert_eq!(config.index, PathBuf::from("OrthancStorage"));
        assert!(config.scripts.is_none());
        let (http, dicom) = (config.http.unwrap(), config.dicom.unwrap());
        assert_eq!((http.port, http.max_body_bytes, http.authentication, http.remote_access), (8042, 8192 << 20, false, false));
        assert_eq!((dicom.aet.as_str(), dicom.listen.port(), dicom.max_pdu), ("ORTHANC", 4242, 16384));
        assert_eq!(dicom.accepted_transfer_syntaxes, ScpConfig::default().accepted_transfer_syntaxes);
        assert_eq!(dicom.accepted_sop_classes, ScpConfig::default().accepted_sop_classes);
        let config = read(r#"{"HttpServerEnabled": false, "DicomServerEnabled": false}"#).unwrap();
        assert!(config.http.is_none() && config.dicom.is_none());
    }

    #[test]
    fn modalities_have_two_forms() {
        let config = read(
            r#"{"DicomModalities": {"a": ["A", "host", "104"], "b": ["B", "::1", 105, "GE"],
                "c": {"AET": "C", "Host": "h", "Port": 106, "AllowStore": false}}}"#,
        );
        let modalities = config.unwrap().engine.modalities.unwrap();
        assert_eq!((modalities["a"].aet.as_str(), modalities["a"].port), ("A", 104));
        assert_eq!((modalities["b"].host.as_str(), modalities["b"].manufacturer), ("::1", "GE"));
        let (a, c) = (modalities["a"].allows, modalities["c"].allows);
        assert!(c.echo && !c.store && a.store);
        let in_database = read(r#"{"DicomModalitiesInDatabase": true, "DicomModalities": {"a": ["A", "host", 104]}}"#);
        assert_eq!(in_database.unwrap().engine.modalities, None);
        for bad in ["[]", "{}", r#"["A", "h"]"#, r#"["A", "h", 65536]"#, r#"["A", "h", "x"]"#, r#"["", "h", 1]"#, "[1, 2, 3]"] {
            let error = read(&format!("{{\"DicomModalities\": {{\"a\": {bad}}}}}")).err().unwrap();
            assert!(error.to_string().starts_with("option DicomModalities.a: "), "{error}");
        }
    }

    #[test]
    fn tags_metadata_and_content_types_are_registered() {
        let config = read(
            r#"{"Dictionary": {"0009,1001": ["DS", "Abnormality score", 1, 1, "Lunit"], "0009,0010": ["LO", "Other"]},
                "ExtraMainDicomTags": {"Instance": ["Rows", "0028,0011"], "Study": []},
                "UserMetadata": {"my-metadata": 1098}, "UserContentType": {"a": 1024, "b": [1025, "text/plain"]},
                "OverwriteInstances": true, "StorageAccessOnFind": "Never"}"#,
        );
        let engine = config.unwrap().engine;
        assert_eq!(engine.main_tags.of(Level::Instance).len(), MainTags::default().of(Level::Instance).len() + 2);
        assert_eq!(engine.metadata_names.parse("my-metadata").unwrap().0, 1098);
        assert_eq!(engine.user_content_types["a"], (1024, "application/octet-stream".to_owned()));
        assert_eq!(engine.user_content_types["b"], (1025, "text/plain".to_owned()));
        assert_eq!((engine.overwrite, engine.storage_access_on_find), (Overwrite::Always, StorageAccessOnFind::Never));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, words) in [
            (r#"{"Dictionary": {"0009,1001": ["XX", "Name"]}}"#, ["Dictionary.0009,1001", "XX"]),
            (r#"{"Dictionary": {"0009,1001": ["DS"]}}"#, ["Dictionary.0009,1001", "expected"]),
            (r#"{"Dictionary": {"0009,1001": ["DS", "N", -1]}}"#, ["Dictionary.0009,1001", "expected"]),
            (r#"{"ExtraMainDicomTags": {"Nothing": []}}"#, ["ExtraMainDicomTags.Nothing", "Patient"]),
            (r#"{"ExtraMainDicomTags": {"Study": ["NoSuchTag"]}}"#, ["ExtraMainDicomTags.Study", "NoSuchTag"]),
            (r#"{"UserMetadata": {"a": 3}}"#, ["UserMetadata.a", "1024"]),
            (r#"{"UserContentType": {"a": 1024, "b": 1024}}"#, ["UserContentType.b", "twice"]),
            (r#"{"HttpBindAddresses": ["localhost"]}"#, ["HttpBindAddresses", "localhost"]),
            (r#"{"DicomAet": ""}"#, ["DicomAet", "16"]),
        ] {
            let error = read(text).err().unwrap().to_string();
            assert!(words.iter().all(|w| error.contains(w)), "{text}: {error}");
        }
    }
}
