//! Scripts that may look into the server's work.

use crate::{Origin, Result};
use async_trait::async_trait;
use dataset::DataSet;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A new instance, as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Without pixel data.
    pub header: &'a DataSet,
    pub origin: &'a Origin,
    pub transfer_syntax: &'a str,
    pub has_pixel_data: bool,
}

/// What a script decides about a new instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// It is not stored, and its sender does not learn of that.
    Discard,
    /// It is not stored, and a DICOM sender gets this status (PS3.7 C).
    Refuse(u16),
}

/// Where an instance is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub remote_aet: String,
    /// Or name, as it is configured.
    pub remote_ip: String,
}

/// An HTTP request, as filters see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingHttp {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub remote_ip: String,
    /// Empty without authentication.
    pub user: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What a script did that was executed on demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// What it printed.
    pub output: String,
    /// The global variables that it assigned: scripts that run later must find them, wherever they run.
    pub assigned: BTreeSet<String>,
}

/// A global variable that a script assigned while the servers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    /// Later ones win.
    pub order: i64,
    /// Of the script.
    pub id: String,
    pub script: String,
}

/// Orthanc's script callbacks and `/tools/execute-script`.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Orthanc: Lua `ReceivedInstanceFilter`, and `ReceivedCStoreInstanceFilter` for what a DICOM association brings.
    async fn received_instance(&self, incoming: &Incoming<'_>) -> Result<Verdict>;

    /// Whether an instance may be sent (Orthanc: Lua `OutgoingCStoreInstanceFilter`). Its header is without pixel data. Ask
    /// [`Self::callbacks`] first whether there is such a filter.
    ///
    /// # Errors
    /// `Script` if it fails.
    async fn outgoing_instance(&self, header: &DataSet, destination: Destination) -> Result<bool>;

    /// Whether a request may be answered (Orthanc: Lua `IncomingHttpRequestFilter`). It is only described if a script asks.
    async fn incoming_http(&self, request: &(dyn Fn() -> IncomingHttp + Send + Sync)) -> Result<bool>;

    /// Runs a script (Orthanc: `POST /tools/execute-script`). `id` is new, and names it in [`Self::define`].
    ///
    /// # Errors
    /// `Script` with the message of the interpreter, `NotImplemented` without one.
    async fn execute(&self, id: &str, script: String) -> Result<Executed>;

    /// Whether scripts can be there at all.
    fn is_on(&self) -> bool;

    /// The names of the callbacks that scripts define.
    async fn callbacks(&self) -> Result<Vec<&'static str>>;

    /// Calls a callback of an event, if it is defined. Returns the operations that it asks for (Orthanc: `SendToModality` and so on).
    ///
    /// # Errors
    /// `Script` if it fails.
    async fn event(&self, callback: &str, arguments: Vec<Value>) -> Result<Vec<Value>>;

    /// What the scripts of all processes have defined while these run. Every script that runs later finds it.
    fn define(&self, definitions: Vec<Definition>);
}

/// No scripts at all.
pub struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn received_instance(&self, _: &Incoming<'_>) -> Result<Verdict> {
        Ok(Verdict::Accept)
    }

    async fn outgoing_instance(&self, _: &DataSet, _: Destination) -> Result<bool> {
        Ok(true)
    }

    async fn incoming_http(&self, _: &(dyn Fn() -> IncomingHttp + Send + Sync)) -> Result<bool> {
        Ok(true)
    }

    async fn execute(&self, _: &str, _: String) -> Result<Executed> {
        Err(crate::ErrorKind::NotImplemented.into())
    }

    fn is_on(&self) -> bool {
        false
    }

    async fn callbacks(&self) -> Result<Vec<&'static str>> {
        Ok(vec![])
    }

    async fn event(&self, _: &str, _: Vec<Value>) -> Result<Vec<Value>> {
        Ok(vec![])
    }

    fn define(&self, _: Vec<Definition>) {}
}
