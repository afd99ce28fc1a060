//! `DicomModalityStore`: sends instances to a DICOM node, one step for each.

use crate::jobs::{JobHandle, JobKind};
use crate::send::{self, SendOptions, Sending};
use crate::{Ctx, Engine, changes, files, remotes};
use async_trait::async_trait;
use model::job::{JobStep, NewOutput};
use model::{Error, ErrorKind, OrthancId, Result, time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The member of a step's outcome that says why an instance was passed over.
const FAILED: &str = "Failed";

/// What to send, and where. The node is looked up by its name at each run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DicomModalityStore {
    modality: String,
    /// Type and id of what the client named.
    resources: Vec<(String, String)>,
    /// In the order in which they are sent.
    instances: Vec<String>,
    permissive: bool,
    options: Options,
    /// As they were when the job was created: for `Content`.
    local_aet: String,
    remote_aet: String,
}

/// [`SendOptions`] as they are stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Options {
    local_aet: Option<String>,
    called_aet: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    timeout_s: Option<u64>,
    move_originator: Option<(String, u16)>,
}

impl DicomModalityStore {
    /// Finds the node and the instances, and notes the export if that is wanted.
    ///
    /// # Errors
    /// `InexistentItem` for the node, `UnknownResource` for a resource.
    pub async fn new(
        eng: &Engine,
        ctx: &Ctx,
        modality: &str,
        resources: &[OrthancId],
        options: SendOptions,
        permissive: bool,
    ) -> Result<Self> {
        let remote = send::addressed(eng, &remotes::modality(eng, modality).await?, &options);
        let resources = files::levels(eng, ctx, resources).await?;
        let instances = send::instances(eng, ctx, &resources).await?;
        changes::log_exports(eng, &resources, modality).await?;
        Ok(Self {
            modality: modality.to_owned(),
            resources: resources.iter().map(|(level, id)| (level.name().to_owned(), id.to_string())).collect(),
            instances: instances.iter().map(ToString::to_string).collect(),
            permissive,
            options: Options {
                local_aet: options.local_aet,
                called_aet: options.called_aet,
                host: options.host,
                port: options.port,
                timeout_s: options.timeout.map(|t| t.as_secs()),
                move_originator: options.move_originator,
            },
            local_aet: remote.local_aet,
            remote_aet: remote.aet,
        })
    }

    fn options(&self) -> SendOptions {
        let stored = self.options.clone();
        SendOptions {
            local_aet: stored.local_aet,
            called_aet: stored.called_aet,
            host: stored.host,
            port: stored.port,
            timeout: stored.timeout_s.map(Duration::from_secs),
            move_originator: stored.move_originator,
        }
    }
}

#[async_trait]
impl JobKind for DicomModalityStore {
    const TYPE: &'static str = "DicomModalityStore";
    const LOOKED_UP: &[&str] = &["instances", "local_aet", "remote_aet"];

    fn content(&self) -> Value {
        let mut content = json!({
            "Description": "REST API",
            "FailedInstancesCount": 0,
            "InstancesCount": self.instances.len(),
            "LocalAet": self.local_aet,
            "RemoteAet": self.remote_aet,
        });
        if !self.resources.is_empty() {
            content["ParentResources"] = self.resources.iter().map(|(_, id)| id.as_str()).collect();
            content["Resources"] = self.resources.iter().map(|(level, id)| json!({ "ID": id, "Type": level })).collect();
        }
        if let Some((aet, id)) = self.options.move_originator.as_ref().filter(|(_, id)| *id != 0) {
            content["MoveOriginatorAET"] = aet.as_str().into();
            content["MoveOriginatorID"] = (*id).into();
        }
        content
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        let done: HashSet<u32> = job.earlier().iter().map(|step| step.position).collect();
        let mut failed = job.earlier().iter().filter(|step| step.outcome.get(FAILED).is_some()).count();
        job.content()["FailedInstancesCount"] = failed.into();
        let left: Vec<u32> = (0..self.instances.len() as u32).filter(|position| !done.contains(position)).collect();
        if left.is_empty() {
            return Ok(vec![]);
        }
        let ids: Vec<OrthancId> = left.iter().map(|at| self.instances[*at as usize].parse()).collect::<Result<_>>()?;
        let items = send::load(eng, &ids).await?;
        let present: Vec<_> = items.iter().flatten().cloned().collect();
        let remote = remotes::modality(eng, &self.modality).await?;
        let mut sending = Sending::begin(eng, &remote, &self.options(), &present, job.stop().clone())?;
        for (at, (position, item)) in left.iter().zip(items).enumerate() {
            job.go_on()?;
            let sent = match &item {
                Some(item) => sending.store(item).await,
                None => Err(Error::new(ErrorKind::Internal, format!("instance {} was deleted", ids[at]))),
            };
            let mut outcome = match sent {
                Ok(status) => json!({ "Status": status.0 }),
                Err(error) if self.permissive && error.kind() != ErrorKind::Canceled => {
                    failed += 1;
                    job.content()["FailedInstancesCount"] = failed.into();
                    let status = error.payload().and_then(|p| p.pointer("/Content/DimseErrorStatus"));
                    json!({ FAILED: error.to_string(), "Status": status })
                }
                Err(error) => return Err(error),
            };
            outcome["Instance"] = self.instances[*position as usize].as_str().into();
            outcome["Time"] = time::iso_micros(SystemTime::now()).into();
            let share = (done.len() + at + 1) as f64 / self.instances.len() as f64;
            job.step(JobStep { position: *position, outcome }, share).await?;
        }
        sending.release().await;
        Ok(vec![])
    }
}
