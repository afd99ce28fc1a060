//! Scripts on demand.

use crate::{Ctx, Engine};
use model::Result;

/// Runs a script and returns what it printed (Orthanc: `POST /tools/execute-script`).
///
/// # Errors
/// `Script`, `NotImplemented` without an interpreter.
pub async fn execute(eng: &Engine, _ctx: &Ctx, script: String) -> Result<String> {
    eng.hooks.execute(script).await
}
