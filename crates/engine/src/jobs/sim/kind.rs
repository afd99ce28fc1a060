//! A kind of job that sends things to a remote, one step for each. The remote is the storage area: it keeps what comes under the name that the
//! sender chose, and says so when it has it already, as a PACS does for a SOP instance.

use super::ports::DEADLY;
use crate::Engine;
use crate::jobs::handle::is_transient;
use crate::jobs::{JobHandle, JobKind};
use async_trait::async_trait;
use bytes::Bytes;
use model::job::{JobId, JobStep, NewOutput};
use model::{AttachmentId, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Steps {
    pub steps: u32,
    /// How long each takes.
    pub ms: u64,
    /// A step that takes longer fails, as one whose remote does not answer in time.
    pub timeout_ms: u64,
    /// At this step the process dies.
    pub deadly: Option<u32>,
    /// At this step it fails.
    pub fails: Option<u32>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { steps: 5, ms: 100, timeout_ms: u64::MAX, deadly: None, fails: None }
    }
}

/// The name of what a step sends.
pub fn sent(job: JobId, position: u32) -> AttachmentId {
    AttachmentId(Uuid::from_u128(job.0.as_u128() ^ u128::from(position + 1)))
}

#[async_trait]
impl JobKind for Steps {
    const TYPE: &'static str = "Steps";

    fn content(&self) -> Value {
        json!({ "Done": 0 })
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        let done: Vec<u32> = job.earlier().iter().map(|step| step.position).collect();
        for position in (0..self.steps).filter(|position| !done.contains(position)) {
            job.go_on()?;
            if self.deadly == Some(position) {
                eng.storage.read(DEADLY, None).await?;
            }
            if self.fails == Some(position) {
                return Err(Error::new(ErrorKind::NetworkProtocol, "refused"));
            }
            let begun = Instant::now();
            let step = async {
                let sent = eng.storage.put(sent(job.id(), position), Bytes::from_static(b"x")).await;
                tokio::time::sleep(Duration::from_millis(self.ms)).await;
                if begun.elapsed() > Duration::from_millis(self.timeout_ms) {
                    return Err(Error::new(ErrorKind::NetworkProtocol, "nothing came in time"));
                }
                // "It is there already" is as good.
                if sent.as_ref().is_err_and(|error| is_transient(error.kind())) { sent } else { Ok(()) }
            };
            job.stop().run_until_cancelled(step).await.ok_or(ErrorKind::Canceled)??;
            job.content()["Done"] = (position + 1).into();
            let share = f64::from(position + 1) / f64::from(self.steps);
            job.step(JobStep { position, outcome: Value::Null }, share).await?;
        }
        Ok(vec![])
    }
}
