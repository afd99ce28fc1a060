//! Scripts that may look into the server's work.

use crate::{Origin, Result};
use async_trait::async_trait;
use dataset::DataSet;

/// What a script decides about a new instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Discard,
}

/// Orthanc's script callbacks and `/tools/execute-script`.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Orthanc: Lua `ReceivedInstanceFilter`.
    async fn received_instance(&self, header: &DataSet, origin: &Origin) -> Result<Verdict>;

    /// Runs a script and returns what it printed (Orthanc: `POST /tools/execute-script`).
    ///
    /// # Errors
    /// `Script` with the message of the interpreter, `NotImplemented` without one.
    async fn execute(&self, script: String) -> Result<String>;
}

/// No scripts at all.
pub struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn received_instance(&self, _: &DataSet, _: &Origin) -> Result<Verdict> {
        Ok(Verdict::Accept)
    }

    async fn execute(&self, _: String) -> Result<String> {
        Err(crate::ErrorKind::NotImplemented.into())
    }
}
