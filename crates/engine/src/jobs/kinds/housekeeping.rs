//! `Housekeeping`: goes through all studies and brings each to what the configuration says now (see [`crate::housekeeping`]).

use crate::Engine;
use crate::housekeeping::{self, Run, Schedule, study};
use crate::jobs::{JobHandle, JobKind};
use async_trait::async_trait;
use model::job::{JobStep, NewOutput};
use model::{ErrorKind, Level, OrthancId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Studies listed at once.
const PAGE: usize = 100;
/// How often a run that waits looks again.
const LOOK: Duration = Duration::from_secs(1);
/// A step is kept so often: it says that the job gets on. Where it is stands in `Content`.
const STEP: Duration = Duration::from_secs(30);
/// A study is tried so often if its files cannot be reached, with pauses between.
const TRIES: u32 = 3;
const RETRY: Duration = Duration::from_secs(5);

/// A run. It may be repeated from any study: what is as it should be is not touched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Housekeeping {
    run: Run,
}

impl Housekeeping {
    pub(crate) fn new(run: Run) -> Self {
        Self { run }
    }

    /// Studies that were gone through, and all, by `Content`.
    pub(crate) fn progress(content: &Value) -> (u64, u64) {
        let number = |key: &str| content.get(key).and_then(Value::as_u64).unwrap_or(0);
        (number("StudiesDone"), number("StudiesCount"))
    }

    /// The pause between studies, and the hours: what the process that runs says, if it has a `Housekeeper`, else the one that began.
    fn pace<'a>(&'a self, eng: &'a Engine) -> (Duration, &'a Schedule) {
        match &eng.config.housekeeper {
            Some(own) => (own.throttle, &own.schedule),
            None => (Duration::from_millis(self.run.task.throttle_ms), &self.run.task.schedule),
        }
    }

    /// Waits for earlier runs.
    async fn wait_for_its_turn(&self, eng: &Engine, job: &mut JobHandle) -> Result<()> {
        while housekeeping::must_wait(eng, self.run.number).await? {
            job.idle(LOOK).await?;
        }
        Ok(())
    }

    /// Sees to one study, within the hours of the schedule.
    async fn study(&self, eng: &Engine, job: &mut JobHandle, id: OrthancId, tags: &model::MainTags) -> Result<()> {
        job.go_on()?;
        while !self.pace(eng).1.allows_now() {
            job.idle(LOOK).await?;
        }
        let mut tries = 0;
        let report = loop {
            tries += 1;
            let done = job.stop().run_until_cancelled(study::keep(eng, id, &self.run.task, tags)).await;
            match done.ok_or(ErrorKind::Canceled)? {
                Err(error) if tries < TRIES && !job.ends_by(&error) => job.idle(RETRY).await?,
                done => break done?,
            }
        };
        let content = job.content();
        for (key, more) in
            [("StudiesDone", 1), ("ChangedInstancesCount", report.changed), ("FailedInstancesCount", report.failed)]
        {
            content[key] = (content[key].as_u64().unwrap_or(0) + more).into();
        }
        Ok(())
    }
}

#[async_trait]
impl JobKind for Housekeeping {
    const TYPE: &'static str = "Housekeeping";
    const BACKGROUND: bool = true;

    fn content(&self) -> Value {
        json!({
            "Description": "Housekeeping",
            "ChangedInstancesCount": 0,
            "FailedInstancesCount": 0,
            "Position": 0,
            "StudiesCount": 0,
            "StudiesDone": 0,
        })
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        self.wait_for_its_turn(eng, job).await?;
        let tags = study::main_tags(&self.run.task)?;
        let mut steps = job.earlier().last().map_or(0, |step| step.position + 1);
        let mut kept = Instant::now();
        let mut position = job.content()["Position"].as_i64().unwrap_or(0);
        job.content()["StudiesCount"] = eng.index.totals().await?.studies.into();
        loop {
            let page = eng.index.walk(Level::Study, position, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for (at, id) in page {
                self.study(eng, job, id, &tags).await?;
                position = at;
                job.content()["Position"] = position.into();
                let (done, all) = Self::progress(job.content());
                let share = done as f64 / all.max(done + 1) as f64;
                if kept.elapsed() >= STEP {
                    job.step(JobStep { position: steps, outcome: json!({ "StudiesDone": done }) }, share).await?;
                    (steps, kept) = (steps + 1, Instant::now());
                } else {
                    job.progress(share).await?;
                }
                job.idle(self.pace(eng).0).await?;
            }
        }
        housekeeping::finish(eng, &self.run).await?;
        Ok(vec![])
    }
}
