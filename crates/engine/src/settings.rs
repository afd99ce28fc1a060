//! Settings that clients change while the server runs (Orthanc: `/tools/default-encoding`, `/tools/accepted-transfer-syntaxes`,
//! `/tools/unknown-sop-class-accepted`, `/tools/log-level`). A change is written to the index before it counts here; one process is alone with its
//! index today, so its copy in memory is what it obeys.

use crate::logs::{Category, Verbosity};
use crate::{Ctx, Engine, EngineConfig, LogLevels};
use arc_swap::ArcSwap;
use dataset::CharacterSet;
use model::{Error, ErrorKind, Result};
use std::sync::{Arc, OnceLock};

const ENCODING: &str = "DefaultEncoding";
const SYNTAXES: &str = "AcceptedTransferSyntaxes";
const UNKNOWN_SOP_CLASS: &str = "UnknownSopClassAccepted";
const LOG_LEVELS: &str = "LogLevels";

/// What the settings are now.
#[derive(Clone, Debug)]
struct Values {
    default_encoding: CharacterSet,
    /// `None`: as configured.
    accepted_transfer_syntaxes: Option<Vec<String>>,
    unknown_sop_class_accepted: Option<bool>,
    log_levels: LogLevels,
}

/// What the process does to log so much.
type ApplyLogLevels = Box<dyn Fn(&LogLevels) + Send + Sync>;

/// A snapshot of the shared settings.
pub struct Settings {
    values: ArcSwap<Values>,
    apply_log_levels: OnceLock<ApplyLogLevels>,
}

impl Settings {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let values = ArcSwap::from_pointee(Values {
            default_encoding: config.default_encoding,
            accepted_transfer_syntaxes: None,
            unknown_sop_class_accepted: None,
            log_levels: config.log_levels,
        });
        Self { values, apply_log_levels: OnceLock::new() }
    }

    /// The character set of data sets that name none.
    pub fn default_encoding(&self) -> CharacterSet {
        self.values.load().default_encoding
    }

    /// The transfer syntaxes that a client chose for the C-STORE SCP, sorted; `None` if the configuration decides.
    pub fn accepted_transfer_syntaxes(&self) -> Option<Vec<String>> {
        self.values.load().accepted_transfer_syntaxes.clone()
    }

    /// Whether a client chose to accept unknown storage SOP classes; `None` if the configuration decides.
    pub fn unknown_sop_class_accepted(&self) -> Option<bool> {
        self.values.load().unknown_sop_class_accepted
    }

    /// How much is logged.
    pub fn log_levels(&self) -> LogLevels {
        self.values.load().log_levels
    }

    /// Says how this process obeys [`Self::log_levels`]; it is called after each change. Only the first call counts.
    pub fn on_log_levels(&self, apply: impl Fn(&LogLevels) + Send + Sync + 'static) {
        let _ = self.apply_log_levels.set(Box::new(apply));
    }

    fn change(&self, apply: impl Fn(&mut Values)) {
        let old = self.values.rcu(|old| {
            let mut new = Values::clone(old);
            apply(&mut new);
            Arc::new(new)
        });
        let levels = self.log_levels();
        if let (true, Some(obey)) = (levels != old.log_levels, self.apply_log_levels.get()) {
            obey(&levels);
        }
    }
}

/// Sets the default encoding by Orthanc's name.
///
/// # Errors
/// `OutOfRange` for an unknown name.
pub async fn set_default_encoding(eng: &Engine, _ctx: &Ctx, name: &str) -> Result<()> {
    let charset =
        CharacterSet::parse(name).ok_or_else(|| Error::new(ErrorKind::OutOfRange, format!("unknown encoding: {name:?}")))?;
    eng.index.set_setting(ENCODING, name).await?;
    eng.settings.change(|v| v.default_encoding = charset);
    Ok(())
}

/// Sets the transfer syntaxes that the C-STORE SCP accepts; the caller has expanded wildcards.
pub async fn set_accepted_transfer_syntaxes(eng: &Engine, _ctx: &Ctx, mut uids: Vec<String>) -> Result<()> {
    uids.sort();
    uids.dedup();
    eng.index.set_setting(SYNTAXES, &serde_json::json!(uids).to_string()).await?;
    eng.settings.change(|v| v.accepted_transfer_syntaxes = Some(uids.clone()));
    Ok(())
}

/// Accepts or refuses unknown storage SOP classes.
pub async fn set_unknown_sop_class_accepted(eng: &Engine, _ctx: &Ctx, accepted: bool) -> Result<()> {
    eng.index.set_setting(UNKNOWN_SOP_CLASS, if accepted { "1" } else { "0" }).await?;
    eng.settings.change(|v| v.unknown_sop_class_accepted = Some(accepted));
    Ok(())
}

/// Sets how much is logged, of one category or of all.
pub async fn set_log_level(eng: &Engine, _ctx: &Ctx, category: Option<Category>, verbosity: Verbosity) -> Result<()> {
    let mut levels = eng.settings.log_levels();
    match category {
        Some(category) => levels.set(category, verbosity),
        None => levels = LogLevels::all(verbosity),
    }
    eng.index.set_setting(LOG_LEVELS, &levels.to_json()).await?;
    eng.settings.change(|v| v.log_levels = levels);
    Ok(())
}

/// At the start, a fresh configuration decides: earlier changes through the API are forgotten, as Orthanc forgets them.
pub async fn reset(eng: &Engine) -> Result<()> {
    for key in [ENCODING, SYNTAXES, UNKNOWN_SOP_CLASS, LOG_LEVELS] {
        eng.index.set_setting(key, "").await?;
    }
    Ok(())
}
