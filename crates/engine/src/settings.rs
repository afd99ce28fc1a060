//! Settings that clients change while the servers run (Orthanc: `/tools/default-encoding`, `/tools/accepted-transfer-syntaxes`,
//! `/tools/unknown-sop-class-accepted`, `/tools/metrics`, `/tools/log-level`). They lie in the index, for all processes; each obeys a copy, whose
//! version it knows and tells with its beat, and reads them again when it hears of a later one ([`reload`]). Who changes one waits until
//! every living process obeys it, so that the very next request on any of them does.

use crate::logs::{Category, Verbosity};
use crate::{Ctx, Engine, EngineConfig, LogLevels};
use arc_swap::ArcSwap;
use dataset::CharacterSet;
use model::ports::hooks::Definition;
use model::ports::index::SettingsSnapshot;
use model::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const ENCODING: &str = "DefaultEncoding";
const SYNTAXES: &str = "AcceptedTransferSyntaxes";
const UNKNOWN_SOP_CLASS: &str = "UnknownSopClassAccepted";
const METRICS: &str = "MetricsEnabled";
const LOG_LEVELS: &str = "LogLevels";
/// Followed by the name of a global variable of scripts.
const DEFINITION: &str = "Lua.";

/// Between two looks at what the others obey.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the others: longer than their leases, so that it ends by itself as a rule.
const PATIENCE: Duration = Duration::from_secs(20);

/// What clients set; `None`: as configured.
#[derive(Clone, Debug, Default)]
struct Values {
    version: i64,
    default_encoding: Option<CharacterSet>,
    accepted_transfer_syntaxes: Option<Vec<String>>,
    unknown_sop_class_accepted: Option<bool>,
    metrics_enabled: Option<bool>,
    log_levels: Option<LogLevels>,
    definitions: Vec<Definition>,
}

impl Values {
    fn read(snapshot: &SettingsSnapshot) -> Self {
        let text = |key| snapshot.values.get(key).map(String::as_str).filter(|value| !value.is_empty());
        Self {
            version: snapshot.version,
            default_encoding: text(ENCODING).and_then(CharacterSet::parse),
            accepted_transfer_syntaxes: text(SYNTAXES).and_then(|uids| serde_json::from_str(uids).ok()),
            unknown_sop_class_accepted: text(UNKNOWN_SOP_CLASS).map(|accepted| accepted == "1"),
            metrics_enabled: text(METRICS).map(|enabled| enabled == "1"),
            log_levels: text(LOG_LEVELS).and_then(LogLevels::from_json),
            definitions: snapshot.values.iter().filter_map(|(key, value)| definition(key, value)).collect(),
        }
    }
}

fn definition(key: &str, value: &str) -> Option<Definition> {
    let name = key.strip_prefix(DEFINITION)?;
    let (order, id, script) = serde_json::from_str(value).ok()?;
    Some(Definition { name: name.to_owned(), order, id, script })
}

/// What the process does to log so much.
type ApplyLogLevels = Box<dyn Fn(&LogLevels) + Send + Sync>;

/// What this process obeys.
pub struct Settings {
    values: ArcSwap<Values>,
    default_encoding: CharacterSet,
    log_levels: LogLevels,
    apply_log_levels: OnceLock<ApplyLogLevels>,
}

impl Settings {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            values: ArcSwap::default(),
            default_encoding: config.default_encoding,
            log_levels: config.log_levels,
            apply_log_levels: OnceLock::new(),
        }
    }

    /// The version of what is obeyed.
    pub fn version(&self) -> i64 {
        self.values.load().version
    }

    /// The character set of data sets that name none.
    pub fn default_encoding(&self) -> CharacterSet {
        self.values.load().default_encoding.unwrap_or(self.default_encoding)
    }

    /// The transfer syntaxes that a client chose for the C-STORE SCP, sorted; `None` if the configuration decides.
    pub fn accepted_transfer_syntaxes(&self) -> Option<Vec<String>> {
        self.values.load().accepted_transfer_syntaxes.clone()
    }

    /// Whether a client chose to accept unknown storage SOP classes; `None` if the configuration decides.
    pub fn unknown_sop_class_accepted(&self) -> Option<bool> {
        self.values.load().unknown_sop_class_accepted
    }

    /// What executed scripts have defined.
    pub(crate) fn definitions(&self) -> Vec<Definition> {
        self.values.load().definitions.clone()
    }

    /// Whether a client turned the metrics on or off; `None` if the configuration decides.
    pub fn metrics_enabled(&self) -> Option<bool> {
        self.values.load().metrics_enabled
    }

    /// How much is logged.
    pub fn log_levels(&self) -> LogLevels {
        self.values.load().log_levels.unwrap_or(self.log_levels)
    }

    /// Says how this process obeys [`Self::log_levels`]; it is called after each change. Only the first call counts.
    pub fn on_log_levels(&self, apply: impl Fn(&LogLevels) + Send + Sync + 'static) {
        let _ = self.apply_log_levels.set(Box::new(apply));
    }

    /// Obeys what was read, unless something later is obeyed already.
    fn obey(&self, snapshot: &SettingsSnapshot) {
        let before = self.log_levels();
        let new = Arc::new(Values::read(snapshot));
        self.values.rcu(|old| if old.version > new.version { old.clone() } else { new.clone() });
        let levels = self.log_levels();
        if let (true, Some(obey)) = (levels != before, self.apply_log_levels.get()) {
            obey(&levels);
        }
    }
}

/// Reads the settings again. Call it when a version is heard of that is later than [`Settings::version`].
pub async fn reload(eng: &Engine) -> Result<()> {
    eng.settings.obey(&eng.index.settings().await?);
    eng.hooks.define(eng.settings.definitions());
    crate::events::listen_again(eng).await
}

/// Lets all processes know the globals that a script assigned.
pub(crate) async fn define(eng: &Engine, id: &str, script: &str, names: &BTreeSet<String>) -> Result<()> {
    let order = eng.settings.definitions().iter().map(|d| d.order).max().unwrap_or(0) + 1;
    let value = serde_json::json!([order, id, script]).to_string();
    let mut version = 0;
    for name in names {
        version = eng.index.set_setting(&format!("{DEFINITION}{name}"), &value).await?;
    }
    reload(eng).await?;
    everywhere(eng, version).await
}

async fn set(eng: &Engine, key: &str, value: &str) -> Result<()> {
    let version = eng.index.set_setting(key, value).await?;
    reload(eng).await?;
    everywhere(eng, version).await
}

/// Waits until all processes obey `version`. One that does not say so until its lease is over counts as dead: it must join again, and
/// then reads the settings.
async fn everywhere(eng: &Engine, version: i64) -> Result<()> {
    let begin = Instant::now();
    loop {
        let nodes = eng.index.nodes().await?;
        let late: Vec<_> = nodes.into_iter().filter(|n| !n.lease.is_zero() && n.settings < version).collect();
        if late.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            for node in late {
                tracing::warn!(node = ?node.node.id, "a process does not obey a changed setting yet");
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sets the default encoding by Orthanc's name.
///
/// # Errors
/// `OutOfRange` for an unknown name.
pub async fn set_default_encoding(eng: &Engine, _ctx: &Ctx, name: &str) -> Result<()> {
    eng.writable()?;
    CharacterSet::parse(name).ok_or_else(|| Error::new(ErrorKind::OutOfRange, format!("unknown encoding: {name:?}")))?;
    set(eng, ENCODING, name).await
}

/// Sets the transfer syntaxes that the C-STORE SCP accepts; the caller has expanded wildcards.
pub async fn set_accepted_transfer_syntaxes(eng: &Engine, _ctx: &Ctx, mut uids: Vec<String>) -> Result<()> {
    eng.writable()?;
    uids.sort();
    uids.dedup();
    set(eng, SYNTAXES, &serde_json::json!(uids).to_string()).await
}

/// Accepts or refuses unknown storage SOP classes.
pub async fn set_unknown_sop_class_accepted(eng: &Engine, _ctx: &Ctx, accepted: bool) -> Result<()> {
    eng.writable()?;
    set(eng, UNKNOWN_SOP_CLASS, if accepted { "1" } else { "0" }).await
}

/// Shows the metrics, or hides them (Orthanc: `/tools/metrics`).
pub async fn set_metrics_enabled(eng: &Engine, _ctx: &Ctx, enabled: bool) -> Result<()> {
    eng.writable()?;
    set(eng, METRICS, if enabled { "1" } else { "0" }).await
}

/// Sets how much is logged, of one category or of all.
pub async fn set_log_level(eng: &Engine, _ctx: &Ctx, category: Option<Category>, verbosity: Verbosity) -> Result<()> {
    eng.writable()?;
    reload(eng).await?;
    let mut levels = eng.settings.log_levels();
    match category {
        Some(category) => levels.set(category, verbosity),
        None => levels = LogLevels::all(verbosity),
    }
    set(eng, LOG_LEVELS, &levels.to_json()).await
}

/// What the configuration says of the settings that other rooms obey.
pub struct Configured<'a> {
    /// The scripts of `LuaScripts`, in any form.
    pub scripts: &'a str,
    pub accepted_transfer_syntaxes: &'a [String],
    pub unknown_sop_class_accepted: bool,
    pub metrics_enabled: bool,
}

/// Call it at the start. What clients set is forgotten where the configuration has changed since; a process that is alone with its
/// index forgets all of it, as Orthanc does. How much is logged is each process's own affair until a client sets it.
pub async fn seed(eng: &Engine, configured: Configured<'_>) -> Result<()> {
    let mut all = BTreeMap::from([
        (ENCODING, eng.config.default_encoding.name().to_owned()),
        (SYNTAXES, serde_json::json!(configured.accepted_transfer_syntaxes).to_string()),
        (UNKNOWN_SOP_CLASS, configured.unknown_sop_class_accepted.to_string()),
        (METRICS, configured.metrics_enabled.to_string()),
        (LOG_LEVELS, String::new()),
    ])
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect::<BTreeMap<_, _>>();
    let defined = eng.index.settings().await?.values.into_keys().filter(|key| key.starts_with(DEFINITION));
    all.extend(defined.map(|key| (key, configured.scripts.to_owned())));
    eng.index.seed_settings(&all).await?;
    reload(eng).await
}
