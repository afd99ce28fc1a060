//! What happens to a job. Each method is one round trip: a statement, or a function of `functions/jobs_1.sql`.

use super::blobs::masks;
use super::error::sql;
use super::nodes::NOW;
use super::writer::write;
use super::{PostgresIndex, job_rows, nodes, pool};
use crate::jobs::{self, TRIM};
use crate::text::clean;
use async_trait::async_trait;
use model::job::{
    Acted, Beat, Checkpoint, Claim, ClaimedJob, Hint, Job, JobAction, JobEnd, JobId, JobKey, JobLimits, JobOutcome, JobOutput,
    JobQuery, JobStep, KeyedJob, NewJob, NewNode, NewOutput, Node, NodeId, Tick, Turn, Waiting, capability, kind_of,
};
use model::ports::Jobs;
use model::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

#[async_trait]
impl Jobs for PostgresIndex {
    async fn join(&self, node: &NewNode, lease: Duration) -> Result<()> {
        nodes::join(&self.pool, node, lease).await
    }

    async fn tick(&self, beat: &Beat) -> Result<Tick> {
        let (tick, hints) = self.beats.tick(beat).await?;
        self.bus.tell(hints);
        Ok(tick)
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        nodes::leave(&self.pool, node).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        nodes::nodes(&self.pool).await
    }

    async fn submit_job(&self, job: NewJob) -> Result<Option<ClaimedJob>> {
        let client = pool::get(&self.pool).await?;
        let statement = client.prepare_cached(&submit_sql()).await.map_err(sql)?;
        let node = |node: Option<NodeId>| node.map(|n| n.0);
        let row = client
            .query_opt(
                &statement,
                &[
                    &job.id.0,
                    &clean(&capability(&job.kind, job.version)),
                    &i32::from(job.version),
                    &job.priority,
                    &node(job.pinned),
                    &job.content.to_string(),
                    &job.arguments.to_string(),
                    &job.user_data.as_ref().map(|v| v.to_string()),
                    &node(job.waiter),
                    &node(job.claim),
                    &job.key.as_ref().map(|key| key.0.as_slice()),
                ],
            )
            .await
            .map_err(sql)?
            .ok_or_else(|| Error::new(ErrorKind::Duplicate, format!("there is a job {} already, or one of its key", job.id)))?;
        let Some(owner) = row.get(0) else {
            self.bus.tell([Hint::Work]);
            return Ok(None);
        };
        Ok(Some(ClaimedJob {
            claim: Claim { job: job.id, node: NodeId(owner), epoch: 1 },
            kind: job.kind,
            version: job.version,
            arguments: job.arguments,
            content: job.content,
            progress: 0.0,
            pinned: job.pinned.is_some(),
            crashes: 0,
            steps: vec![],
        }))
    }

    async fn claim_jobs(&self, node: NodeId, n: usize) -> Result<Vec<ClaimedJob>> {
        self.claim(node, n, false).await
    }

    async fn claim_suspect(&self, node: NodeId) -> Result<Option<ClaimedJob>> {
        Ok(self.claim(node, 1, true).await?.pop())
    }

    async fn checkpoint_job(&self, claim: Claim, checkpoint: &Checkpoint) -> Result<bool> {
        let client = pool::get(&self.pool).await?;
        let statement = client.prepare_cached("SELECT job_keep_1($1, $2, $3, $4, $5, $6, $7)").await.map_err(sql)?;
        let Kept { positions, outcomes, progress, content } = Kept::new(checkpoint);
        client
            .query_one(&statement, &[&claim.job.0, &claim.node.0, &claim.epoch, &positions, &outcomes, &progress, &content])
            .await
            .map(|row| row.get(0))
            .map_err(sql)
    }

    async fn finish_jobs(&self, ends: &[(Claim, JobEnd)], limits: JobLimits, next: Option<(NodeId, usize)>) -> Result<Turn> {
        match next {
            Some((node, n)) if ends.is_empty() => Ok(Turn { ended: vec![], claimed: self.claim(node, n, false).await? }),
            _ => self.turn(ends, limits, next).await,
        }
    }

    async fn act_on_job(&self, id: JobId, action: JobAction, limits: JobLimits) -> Result<Acted> {
        let letter = match action {
            JobAction::Cancel => "C",
            JobAction::Pause => "P",
            JobAction::Resume => "R",
            JobAction::Resubmit => "S",
        };
        let (history, outputs) = (i64::from(limits.history), i64::from(limits.outputs));
        let client = pool::get(&self.pool).await?;
        let statement = client.prepare_cached("SELECT job_act_1($1, $2, $3, $4, $5, $6)").await.map_err(sql)?;
        let row = client
            .query_one(&statement, &[&id.0, &letter, &ErrorKind::Canceled.code(), &history, &outputs, &TRIM])
            .await
            .map_err(sql)?;
        match row.get::<_, Option<&str>>(0) {
            None => return Ok(Acted::Unknown),
            Some("!") => return Ok(Acted::Refused),
            Some("P") => self.bus.tell([Hint::Work]),
            Some("F") => self.bus.tell([Hint::Ended(id)]),
            Some("W") => self.bus.tell([Hint::Wanted(id)]),
            Some(_) => {}
        }
        Ok(Acted::Accepted)
    }

    async fn job_ids(&self) -> Result<Vec<JobId>> {
        job_rows::ids(&self.pool).await
    }

    async fn jobs(&self, ids: Option<&[JobId]>) -> Result<Vec<Job>> {
        job_rows::read(&self.pool, ids).await
    }

    async fn list_jobs(&self, query: &JobQuery) -> Result<Vec<Job>> {
        job_rows::list(&self.pool, query).await
    }

    async fn job_of_key(&self, key: JobKey) -> Result<Option<KeyedJob>> {
        job_rows::of_key(&self.pool, key).await
    }

    async fn job_steps(&self, id: JobId, from: u32, limit: u32) -> Result<Vec<JobStep>> {
        job_rows::steps(&self.pool, id, from, limit).await
    }

    async fn set_job_priority(&self, id: JobId, priority: i32) -> Result<Acted> {
        let statement = "WITH done AS (
                 UPDATE job SET priority = $2 WHERE id = $1 AND done_seq IS NULL RETURNING id
             ) SELECT EXISTS (SELECT FROM done), EXISTS (SELECT FROM job WHERE id = $1)";
        let rows = write(&self.pool, statement, &[&id.0, &priority]).await?;
        Ok(match rows.first().map(|row| (row.get(0), row.get(1))) {
            Some((true, _)) => Acted::Accepted,
            Some((false, true)) => Acted::Refused,
            _ => Acted::Unknown,
        })
    }

    async fn job_counts(&self) -> Result<[u64; 6]> {
        job_rows::counts(&self.pool).await
    }

    async fn waiting_jobs(&self) -> Result<Vec<Waiting>> {
        job_rows::waiting(&self.pool).await
    }

    async fn delete_job(&self, id: JobId) -> Result<()> {
        let client = pool::get(&self.pool).await?;
        let row = client.query_one("SELECT job_delete_1($1)", &[&id.0]).await.map_err(sql)?;
        if row.get(0) { Ok(()) } else { Err(jobs::no_ended_job(id)) }
    }

    async fn job_output(&self, id: JobId, key: &str) -> Result<JobOutput> {
        job_rows::output(&self.pool, id, key).await
    }

    async fn delete_job_output(&self, id: JobId, key: &str) -> Result<()> {
        let client = pool::get(&self.pool).await?;
        let row = client
            .query_one(
                "WITH gone AS (
                     DELETE FROM job_output WHERE job = $1 AND md5(key) = md5($2) AND key = $2 RETURNING blob
                 ), listed AS (
                     INSERT INTO deleted_blob (blob) SELECT blob FROM gone ON CONFLICT DO NOTHING
                 ) SELECT EXISTS (SELECT FROM gone)",
                &[&id.0, &clean(key)],
            )
            .await
            .map_err(sql)?;
        if row.get(0) { Ok(()) } else { Err(jobs::no_output(id, key)) }
    }

    async fn forget_waiters(&self, node: NodeId, ids: &[JobId], limits: JobLimits) -> Result<()> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let (history, outputs) = (i64::from(limits.history), i64::from(limits.outputs));
        let client = pool::get(&self.pool).await?;
        let statement = client.prepare_cached("SELECT job_unwait_1($1, $2, $3, $4, $5)").await.map_err(sql)?;
        client.query_one(&statement, &[&node.0, &ids, &history, &outputs, &TRIM]).await.map(|_| ()).map_err(sql)
    }

    async fn hint(&self) -> Hint {
        self.bus.hints.next().await
    }
}

/// A new job is claimed at birth if the process in parameter 10 may. Returns nothing if there is one of that id or key already.
fn submit_sql() -> String {
    format!(
        "WITH added AS (
             INSERT INTO job (id, kind, version, priority, pin, content, arguments, user_data, created_at, state, owner, epoch,
                 started_at, key)
             SELECT $1::uuid, $2::text, $3::int, $4::int, $5::uuid, $6::text, $7::text, $8::text, t.now,
                 CASE WHEN n.id IS NULL THEN 'P' ELSE 'R' END, n.id, CASE WHEN n.id IS NULL THEN 0 ELSE 1 END,
                 CASE WHEN n.id IS NULL THEN NULL ELSE t.now END, $11::bytea
             FROM (SELECT {NOW} AS now) t
             LEFT JOIN node n ON n.id = $10::uuid AND n.lease_until > t.now AND $2::text = ANY (n.kinds)
                 AND (CASE WHEN $5::uuid IS NULL THEN NOT n.draining ELSE $5::uuid = n.id END)
             ON CONFLICT DO NOTHING RETURNING id, owner
         ), waits AS (
             INSERT INTO job_waiter (job, node) SELECT id, $9::uuid FROM added WHERE $9::uuid IS NOT NULL
         ) SELECT owner FROM added"
    )
}

/// What a checkpoint writes.
struct Kept {
    positions: Vec<i64>,
    outcomes: Vec<String>,
    progress: f64,
    content: String,
}

impl Kept {
    fn new(checkpoint: &Checkpoint) -> Self {
        Self {
            positions: checkpoint.steps.iter().map(|s| i64::from(s.position)).collect(),
            outcomes: checkpoint.steps.iter().map(|s| s.outcome.to_string()).collect(),
            progress: jobs::progress(checkpoint),
            content: checkpoint.content.to_string(),
        }
    }
}

impl PostgresIndex {
    async fn claim(&self, node: NodeId, n: usize, suspects: bool) -> Result<Vec<ClaimedJob>> {
        let rows = {
            let client = pool::get(&self.pool).await?;
            let statement = client.prepare_cached("SELECT * FROM job_claim_1($1, $2, $3)").await.map_err(sql)?;
            client.query(&statement, &[&node.0, &i64::try_from(n).unwrap_or(i64::MAX), &suspects]).await.map_err(sql)?
        };
        self.claimed(rows.iter().map(|row| (row, 0)), node).await
    }

    /// The jobs in rows of `job_claim_1`, which begin at a column. What is damaged ends.
    async fn claimed(&self, rows: impl Iterator<Item = (&Row, usize)> + Send, node: NodeId) -> Result<Vec<ClaimedJob>> {
        let mut claimed = vec![];
        for (row, at) in rows {
            let claim = Claim { job: JobId(row.get(at)), node, epoch: row.get(at + 1) };
            match claimed_job(row, at, claim) {
                Some(job) => claimed.push(job),
                // Nobody can run it.
                None => {
                    let outcome = JobOutcome::Failure(jobs::damaged());
                    let content = jobs::lenient(row.get(at + 5), claim.job);
                    let end = JobEnd { outcome, checkpoint: Checkpoint { content, ..Checkpoint::default() } };
                    let keep = JobLimits { history: u32::MAX, outputs: u32::MAX };
                    self.finish_job(claim, end, keep).await?;
                }
            }
        }
        Ok(claimed)
    }

    /// Ends and claims in one transaction.
    async fn turn(&self, ends: &[(Claim, JobEnd)], limits: JobLimits, next: Option<(NodeId, usize)>) -> Result<Turn> {
        let arguments = Ends::new(ends)?;
        let trim = TRIM * ends.len() as i64;
        let limits = [i64::from(limits.history), i64::from(limits.outputs), trim];
        let canceled = ErrorKind::Canceled.code();
        let mut values = arguments.values(&self.node.id, &canceled, &limits);
        let (node, n) = next.unwrap_or((NodeId(Uuid::nil()), 0));
        let most = i64::try_from(n).unwrap_or(i64::MAX);
        values.extend([&node.0 as &(dyn ToSql + Sync), &most]);
        let rows = write(&self.pool, FINISH, &values).await?;
        let letters: Vec<String> = rows.first().and_then(|row| row.get(0)).unwrap_or_default();
        for ((claim, _), letter) in ends.iter().zip(&letters) {
            match letter.as_str() {
                "P" => self.bus.tell([Hint::Work]),
                "H" => {}
                _ => self.bus.tell([Hint::Ended(claim.job)]),
            }
        }
        let claimed = rows.iter().filter(|row| row.get::<_, Option<Uuid>>(1).is_some()).map(|row| (row, 1));
        Ok(Turn { ended: vec![!letters.is_empty(); ends.len()], claimed: self.claimed(claimed, node).await? })
    }
}

/// The second function runs when the first has ended.
const FINISH: &str = "SELECT f.letters, c.* FROM job_finish_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
    $20, $21, $22, $23, $24, $25) f (letters) LEFT JOIN LATERAL job_claim_1($26, $27, false) c ON $27::bigint > 0";

/// What `job_finish_2` takes: columns of ends, of their steps and of their outputs.
#[derive(Default)]
struct Ends<'e> {
    jobs: Vec<Uuid>,
    owners: Vec<Uuid>,
    epochs: Vec<i64>,
    progress: Vec<f64>,
    contents: Vec<String>,
    letters: Vec<&'static str>,
    codes: Vec<i32>,
    details: Vec<Cow<'e, str>>,
    payloads: Vec<Option<String>>,
    step_ends: Vec<i64>,
    positions: Vec<i64>,
    outcomes: Vec<String>,
    prefixes: Vec<Vec<u8>>,
    masks: Vec<String>,
    output_ends: Vec<i64>,
    keys: Vec<Cow<'e, str>>,
    blobs: Vec<Uuid>,
    sizes: Vec<i64>,
    mimes: Vec<Cow<'e, str>>,
    files: Vec<Cow<'e, str>>,
}

impl<'e> Ends<'e> {
    /// # Errors
    /// `Internal` if two outputs of a job have one key.
    fn new(ends: &'e [(Claim, JobEnd)]) -> Result<Self> {
        let mut all = Self::default();
        let mut blobs = vec![];
        for (at, (claim, end)) in (1..).zip(ends) {
            let (letter, outputs, error): (_, &[NewOutput], _) = match &end.outcome {
                JobOutcome::Success(outputs) => ("S", outputs, None),
                JobOutcome::Failure(error) => ("F", &[], Some(error)),
                JobOutcome::Paused => ("H", &[], None),
                JobOutcome::Released => ("P", &[], None),
            };
            jobs::check_outputs(outputs)?;
            all.jobs.push(claim.job.0);
            all.owners.push(claim.node.0);
            all.epochs.push(claim.epoch);
            all.letters.push(letter);
            all.codes.push(error.map_or(0, |e| e.code));
            all.details.push(error.map_or(Cow::default(), |e| clean(&e.details)));
            all.payloads.push(error.and_then(|e| e.payload.as_ref()).map(ToString::to_string));
            let Kept { positions, outcomes, progress, content } = Kept::new(&end.checkpoint);
            all.progress.push(progress);
            all.contents.push(content);
            all.step_ends.extend(positions.iter().map(|_| at));
            all.positions.extend(positions);
            all.outcomes.extend(outcomes);
            for output in outputs {
                all.output_ends.push(at);
                all.keys.push(clean(&output.key));
                all.blobs.push(output.blob.id.0);
                all.sizes.push(output.blob.size_bytes as i64);
                all.mimes.push(clean(&output.mime));
                all.files.push(clean(&output.file_name));
                blobs.push(output.blob.id);
            }
        }
        for (prefix, mask) in masks(blobs.into_iter()) {
            all.prefixes.push(prefix.to_vec());
            all.masks.push(mask);
        }
        Ok(all)
    }

    fn values<'v>(&'v self, node: &'v Uuid, canceled: &'v i32, limits: &'v [i64; 3]) -> Vec<&'v (dyn ToSql + Sync)> {
        vec![
            &self.jobs,
            &self.owners,
            &self.epochs,
            &self.progress,
            &self.contents,
            &self.letters,
            &self.codes,
            &self.details,
            &self.payloads,
            canceled,
            &self.step_ends,
            &self.positions,
            &self.outcomes,
            node,
            &self.prefixes,
            &self.masks,
            &self.output_ends,
            &self.keys,
            &self.blobs,
            &self.sizes,
            &self.mimes,
            &self.files,
            &limits[0],
            &limits[1],
            &limits[2],
        ]
    }
}

/// The job in a row of `job_claim_1` that begins at a column; nothing if it is damaged.
fn claimed_job(row: &Row, at: usize, claim: Claim) -> Option<ClaimedJob> {
    let (positions, outcomes): (Vec<i64>, Vec<&str>) = (row.get(at + 9), row.get(at + 10));
    let step = |(position, outcome): (i64, &str)| {
        Some(JobStep { position: u32::try_from(position).ok()?, outcome: jobs::strict(outcome)? })
    };
    let version = u16::try_from(row.get::<_, i32>(at + 3)).ok()?;
    Some(ClaimedJob {
        claim,
        kind: kind_of(row.get(at + 2), version).to_owned(),
        version,
        arguments: jobs::strict(row.get(at + 4))?,
        content: jobs::lenient(row.get(at + 5), claim.job),
        progress: row.get(at + 6),
        pinned: row.get(at + 7),
        crashes: u16::try_from(row.get::<_, i32>(at + 8)).unwrap_or(u16::MAX),
        steps: positions.into_iter().zip(outcomes).map(step).collect::<Option<_>>()?,
    })
}
