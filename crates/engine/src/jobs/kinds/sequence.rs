//! `SequenceOfOperations`: what a callback of a script asked for, one operation after the other.

use crate::jobs::{JobHandle, JobKind};
use crate::send::{self, SendOptions, Sending};
use crate::{Ctx, Engine, delete, files, peers, remotes};
use async_trait::async_trait;
use model::job::{JobStep, NewOutput};
use model::{Error, ErrorKind, OrthancId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// The operations, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SequenceOfOperations {
    operations: Vec<Operation>,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "Operation", rename_all = "kebab-case")]
enum Operation {
    #[serde(rename_all = "PascalCase")]
    Delete { resource: String },
    #[serde(rename_all = "PascalCase")]
    StoreScu { resource: String, modality: String, local_aet: Option<String> },
    #[serde(rename_all = "PascalCase")]
    StorePeer { resource: String, peer: String },
}

impl Operation {
    fn resource(&self) -> &str {
        let (Self::Delete { resource } | Self::StoreScu { resource, .. } | Self::StorePeer { resource, .. }) = self;
        resource
    }
}

impl SequenceOfOperations {
    /// Reads what a script asked for.
    ///
    /// # Errors
    /// `NotImplemented` for operations of services that do not exist yet, and for commands of the system; `BadJson`.
    pub fn new(operations: Vec<Value>) -> Result<Self> {
        let operations = operations.into_iter().map(|operation| {
            let name = operation.get("Operation").and_then(Value::as_str).unwrap_or_default().to_owned();
            if ["modify", "call-system"].contains(&name.as_str()) {
                return Err(Error::new(ErrorKind::NotImplemented, format!("the operation {name} is not there yet")));
            }
            serde_json::from_value(operation)
                .map_err(|e| Error::new(ErrorKind::BadJson, format!("the operation {name} cannot be read: {e}")))
        });
        Ok(Self { operations: operations.collect::<Result<_>>()? })
    }
}

#[async_trait]
impl JobKind for SequenceOfOperations {
    const TYPE: &'static str = "SequenceOfOperations";

    fn content(&self) -> Value {
        json!({ "CountOperations": self.operations.len(), "Description": "Lua" })
    }

    /// An operation that fails is logged, and the next one does not get its resource: nothing is deleted that was not sent.
    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        let done: HashSet<u32> = job.earlier().iter().map(|step| step.position).collect();
        let mut failed: HashSet<String> =
            job.earlier().iter().filter_map(|step| step.outcome.get("Failed")?.as_str().map(str::to_owned)).collect();
        for (position, operation) in (0_u32..).zip(&self.operations) {
            if done.contains(&position) {
                continue;
            }
            job.go_on()?;
            let mut outcome = json!({});
            if !failed.contains(operation.resource())
                && let Err(error) = operation.run(eng, job).await
            {
                if error.kind() == ErrorKind::Canceled || error.kind() == ErrorKind::DatabaseUnavailable {
                    return Err(error);
                }
                let id = job.id();
                tracing::error!(target: "lua", job = %id, operation = position, "an operation of a script failed: {error}");
                failed.insert(operation.resource().to_owned());
                outcome["Failed"] = operation.resource().into();
            }
            let share = f64::from(position + 1) / self.operations.len() as f64;
            job.step(JobStep { position, outcome }, share).await?;
        }
        Ok(vec![])
    }
}

impl Operation {
    async fn run(&self, eng: &Arc<Engine>, job: &JobHandle) -> Result<()> {
        let ctx = Ctx::default();
        let id: OrthancId = self.resource().parse()?;
        let [(level, id)] = files::levels(eng, &ctx, &[id]).await?[..] else { return Err(ErrorKind::UnknownResource.into()) };
        match self {
            Self::Delete { .. } => delete::delete(eng, &ctx, level, id).await.map(|_| ()),
            Self::StoreScu { modality, local_aet, .. } => {
                let ids = send::instances(eng, &ctx, &[(level, id)]).await?;
                let items: Vec<_> = send::load(eng, &ids).await?.into_iter().flatten().collect();
                let remote = remotes::modality(eng, modality).await?;
                let options = SendOptions { local_aet: local_aet.clone(), ..SendOptions::default() };
                let mut sending = Sending::begin(eng, &remote, &options, &items, job.stop().clone())?;
                for item in &items {
                    job.go_on()?;
                    sending.store(item).await?;
                }
                sending.release().await;
                Ok(())
            }
            Self::StorePeer { peer: name, .. } => {
                let ids = send::instances(eng, &ctx, &[(level, id)]).await?;
                let peer = remotes::peer(eng, name).await?;
                for item in send::load(eng, &ids).await?.iter().flatten() {
                    job.go_on()?;
                    let storing = peers::store(eng, name, &peer, item, false);
                    job.stop().run_until_cancelled(storing).await.unwrap_or(Err(ErrorKind::Canceled.into()))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_the_toolbox() {
        let good = vec![
            json!({"Operation": "store-scu", "Resource": "a", "Modality": "m"}),
            json!({"Operation": "store-scu", "Resource": "a", "Modality": "m", "LocalAet": "X"}),
            json!({"Operation": "delete", "Resource": "a"}),
            json!({"Operation": "store-peer", "Resource": "a", "Peer": "p"}),
        ];
        assert_eq!(SequenceOfOperations::new(good).unwrap().operations.len(), 4);
        for (bad, kind) in [
            (json!({"Operation": "call-system", "Resource": "a", "Command": "true"}), ErrorKind::NotImplemented),
            (json!({"Operation": "modify", "Resource": "a"}), ErrorKind::NotImplemented),
            (json!({"Operation": "store-scu", "Resource": "a"}), ErrorKind::BadJson),
            (json!({"Operation": "delete", "Resource": 5}), ErrorKind::BadJson),
            (json!({"Operation": "nope", "Resource": "a"}), ErrorKind::BadJson),
            (json!("x"), ErrorKind::BadJson),
        ] {
            assert_eq!(SequenceOfOperations::new(vec![bad.clone()]).unwrap_err().kind(), kind, "{bad}");
        }
    }
}
