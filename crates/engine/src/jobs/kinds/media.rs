//! `Media`: an archive with a DICOMDIR. It differs from [`Archive`] in its type and in how its ZIP is laid out.

use super::Archive;
use crate::Engine;
use crate::jobs::{JobHandle, JobKind};
use async_trait::async_trait;
use model::Result;
use model::job::NewOutput;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// An archive whose form is one of media.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Media(pub(super) Archive);

#[async_trait]
impl JobKind for Media {
    const TYPE: &'static str = "Media";

    fn content(&self) -> Value {
        self.0.content()
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        self.0.run(eng, job).await
    }
}
