//! `OrthancPeerStore`: sends instances to another Orthanc, one step for each.

use crate::jobs::{JobHandle, JobKind};
use crate::{Ctx, Engine, changes, files, peers, remotes, send};
use async_trait::async_trait;
use model::job::{JobStep, NewOutput};
use model::{Error, ErrorKind, OrthancId, Result, time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

/// The member of a step's outcome that says why an instance was passed over.
const FAILED: &str = "Failed";
/// The member of a step's outcome that says how many bytes were sent.
const SIZE: &str = "Size";

/// What to send, and where. The peer is looked up by its name at each run. A repetition is harmless: the peer knows an instance by
/// its identifiers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrthancPeerStore {
    peer: String,
    /// Type and id of what the client named.
    resources: Vec<(String, String)>,
    /// In the order in which they are sent.
    instances: Vec<String>,
    permissive: bool,
    compress: bool,
    /// The peer as it was when the job was created, without secrets: for `Content`.
    shown: Value,
}

impl OrthancPeerStore {
    /// Finds the peer and the instances, and notes the export if that is wanted.
    ///
    /// # Errors
    /// `UnknownResource` for the peer or a resource.
    pub async fn new(
        eng: &Engine,
        ctx: &Ctx,
        peer: &str,
        resources: &[OrthancId],
        compress: bool,
        permissive: bool,
    ) -> Result<Self> {
        let shown = remotes::peer(eng, peer).await?.in_job();
        let resources = files::levels(eng, ctx, resources).await?;
        let instances = send::instances(eng, ctx, &resources).await?;
        changes::log_exports(eng, &resources, peer).await?;
        Ok(Self {
            peer: peer.to_owned(),
            resources: resources.iter().map(|(level, id)| (level.name().to_owned(), id.to_string())).collect(),
            instances: instances.iter().map(ToString::to_string).collect(),
            permissive,
            compress,
            shown,
        })
    }
}

/// Says how much was sent, as Orthanc does.
fn note_size(content: &mut Value, size_bytes: u64) {
    content["Size"] = size_bytes.to_string().into();
    content["SizeMB"] = (size_bytes >> 20).into();
}

#[async_trait]
impl JobKind for OrthancPeerStore {
    const TYPE: &'static str = "OrthancPeerStore";
    const LOOKED_UP: &[&str] = &["instances", "shown"];

    fn content(&self) -> Value {
        let mut content = json!({
            "Compress": self.compress,
            "Description": "REST API",
            "FailedInstancesCount": 0,
            "InstancesCount": self.instances.len(),
            "Peer": self.shown,
        });
        if !self.resources.is_empty() {
            content["ParentResources"] = self.resources.iter().map(|(_, id)| id.as_str()).collect();
            content["Resources"] = self.resources.iter().map(|(level, id)| json!({ "ID": id, "Type": level })).collect();
        }
        note_size(&mut content, 0);
        content
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        let done: HashSet<u32> = job.earlier().iter().map(|step| step.position).collect();
        let mut failed = job.earlier().iter().filter(|step| step.outcome.get(FAILED).is_some()).count();
        let mut size_bytes: u64 = job.earlier().iter().filter_map(|step| step.outcome.get(SIZE)?.as_u64()).sum();
        job.content()["FailedInstancesCount"] = failed.into();
        note_size(job.content(), size_bytes);
        let left: Vec<u32> = (0..self.instances.len() as u32).filter(|position| !done.contains(position)).collect();
        if left.is_empty() {
            return Ok(vec![]);
        }
        let ids: Vec<OrthancId> = left.iter().map(|at| self.instances[*at as usize].parse()).collect::<Result<_>>()?;
        let items = send::load(eng, &ids).await?;
        let peer = remotes::peer(eng, &self.peer).await?;
        for (at, (position, item)) in left.iter().zip(items).enumerate() {
            job.go_on()?;
            let sent = match &item {
                Some(item) => {
                    let storing = peers::store(eng, &self.peer, &peer, item, self.compress);
                    job.stop().run_until_cancelled(storing).await.unwrap_or(Err(ErrorKind::Canceled.into()))
                }
                None => Err(Error::new(ErrorKind::Internal, format!("instance {} was deleted", ids[at]))),
            };
            let mut outcome = match sent {
                Ok(bytes) => {
                    size_bytes += bytes;
                    note_size(job.content(), size_bytes);
                    json!({ SIZE: bytes })
                }
                Err(error) if self.permissive && error.kind() != ErrorKind::Canceled => {
                    failed += 1;
                    job.content()["FailedInstancesCount"] = failed.into();
                    json!({ FAILED: error.to_string() })
                }
                Err(error) => return Err(error),
            };
            outcome["Instance"] = self.instances[*position as usize].as_str().into();
            outcome["Time"] = time::iso_micros(SystemTime::now()).into();
            let share = (done.len() + at + 1) as f64 / self.instances.len() as f64;
            job.step(JobStep { position: *position, outcome }, share).await?;
        }
        Ok(vec![])
    }
}
