//! Scripts on demand.

use crate::{Ctx, Engine, settings};
pub use model::ports::hooks::IncomingHttp;
use model::{Error, ErrorKind, Result};

/// Whether a script lets a request in (Orthanc: `IncomingHttpRequestFilter`).
///
/// # Errors
/// `Script` if it fails.
pub async fn allows_http(eng: &Engine, request: &(dyn Fn() -> IncomingHttp + Send + Sync)) -> Result<bool> {
    let allowed = eng.hooks.incoming_http(request).await;
    allowed.inspect_err(|error| tracing::error!(target: "lua", "IncomingHttpRequestFilter: {error}"))
}

/// What scripts may keep in the settings, with their text once for each global that they assigned.
const MAX_DEFINITIONS_BYTES: usize = 1 << 20;

/// Runs a script and returns what it printed (Orthanc: `POST /tools/execute-script`). The globals that it assigned are there for every
/// script that begins later, on any process.
///
/// # Errors
/// `Script`, `NotImplemented` without an interpreter, `TooLarge` if it defines too much.
pub async fn execute(eng: &Engine, _ctx: &Ctx, script: String) -> Result<String> {
    let id = model::AttachmentId::random().to_string();
    let done = eng.hooks.execute(&id, script.clone()).await?;
    if done.assigned.is_empty() {
        return Ok(done.output);
    }
    eng.writable()?;
    let kept: usize =
        eng.settings.definitions().iter().filter(|d| !done.assigned.contains(&d.name)).map(|d| d.script.len()).sum();
    if kept + script.len() * done.assigned.len() > MAX_DEFINITIONS_BYTES {
        return Err(Error::new(ErrorKind::TooLarge, "scripts define too many globals; put them into LuaScripts"));
    }
    settings::define(eng, &id, &script, &done.assigned).await?;
    Ok(done.output)
}
