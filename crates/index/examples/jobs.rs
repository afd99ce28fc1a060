//! How many jobs per second the registry takes: `cargo run --example jobs [SECONDS]`, on a temporary SQLite file and, if
//! `PLEIAD_TEST_POSTGRES` names a server (`tests/with-postgres --durable`), on a schema of it, also with many jobs that wait.

use index::postgres::{PostgresConfig, Server};
use model::job::*;
use model::ports::{Index, Jobs};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMITS: JobLimits = JobLimits { history: 10, outputs: 1 };
const LONG: Duration = Duration::from_secs(3600);

fn job() -> NewJob {
    let arguments = json!({"Instances": ["66c8e41e-ac3a9029-0b85e42a-8195ee0a-92c2e62e"]});
    NewJob::new("Test", 1, arguments, json!({"Description": "REST API"}))
}

async fn join(db: &(impl Jobs + ?Sized)) -> NodeId {
    let node = NewNode {
        id: NodeId::random(),
        name: String::new(),
        version: String::new(),
        kinds: vec!["Test".into()],
        new_jobs_only: false,
        configuration: String::new(),
        details: json!(null),
    };
    db.join(&node, LONG).await.expect("the node joins");
    node.id
}

/// Each caller submits, claims, keeps a step, and ends, as fast as it can.
async fn run<T: Jobs + ?Sized + 'static>(db: Arc<T>, what: &str, callers: usize, time: Duration) {
    let node = join(&*db).await;
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while begin.elapsed() < time {
                    let at_birth = n % 2 == 0;
                    let claimed = db.submit_job(NewJob { claim: at_birth.then_some(node), ..job() }).await.expect("submitted");
                    let claimed = match claimed {
                        Some(job) => vec![job],
                        None => db.claim_jobs(node, 1).await.expect("claimed"),
                    };
                    for job in claimed {
                        let end = JobEnd { outcome: JobOutcome::Success(vec![]), checkpoint: Checkpoint::default() };
                        done += i32::from(db.finish_job(job.claim, end, LIMITS).await.expect("ended"));
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("no panic");
    }
    let beat = Beat { node, running: vec![], lease: LONG, draining: false, settings: 0, limits: LIMITS };
    let tick = Instant::now();
    db.tick(&beat).await.expect("it beats");
    let (rate, tick) = (f64::from(done) / begin.elapsed().as_secs_f64(), tick.elapsed());
    println!("{what}, {callers} callers: {rate:.0} jobs/s; a beat takes {tick:.1?}");
}

/// Jobs that do nothing, as a process runs them whose workers are always busy: each call ends so many and claims as many.
async fn turns<T: Jobs + ?Sized + 'static>(db: Arc<T>, what: &str, workers: usize, jobs: usize) {
    let node = join(&*db).await;
    let mut tasks = vec![];
    for _ in 0..16 {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..jobs / 16 {
                db.submit_job(job()).await.expect("submitted");
            }
        }));
    }
    let begin = Instant::now();
    for task in tasks {
        task.await.expect("no panic");
    }
    let (submitted, begin, mut done, mut ends) = (begin.elapsed(), Instant::now(), 0, vec![]);
    loop {
        let turn = db.finish_jobs(&ends, LIMITS, Some((node, workers))).await.expect("a turn");
        done += turn.ended.iter().filter(|current| **current).count();
        if turn.claimed.is_empty() {
            break;
        }
        let end = JobEnd { outcome: JobOutcome::Success(vec![]), checkpoint: Checkpoint::default() };
        ends = turn.claimed.iter().map(|job| (job.claim, end.clone())).collect();
    }
    let rate = |time: Duration| done as f64 / time.as_secs_f64();
    println!("{what}, {workers} workers: {:.0} jobs/s ({:.0} submitted/s)", rate(begin.elapsed()), rate(submitted));
}

#[tokio::main]
async fn main() {
    let time = Duration::from_secs(std::env::args().nth(1).map_or(3, |n| n.parse().expect("a number of seconds")));
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite: Arc<dyn Index> =
        index::sqlite::open(&folder.path().join("jobs.sqlite"), index::sqlite::Options::default()).expect("a file");
    for callers in [1, 8, 32] {
        run(sqlite.clone(), "SQLite", callers, time).await;
    }
    let Ok(uri) = std::env::var("PLEIAD_TEST_POSTGRES") else { return };
    let config = PostgresConfig {
        server: Server::Uri(uri),
        schema: format!("jobs_{}", uuid::Uuid::new_v4().simple()),
        connections: 8,
        application_name: String::new(),
        retries: 0,
        retry_interval: Duration::ZERO,
        stable_age: Duration::from_secs(60),
    };
    let postgres = index::postgres::open(&config).await.expect("a schema");
    for callers in [1, 8, 32] {
        run(postgres.clone(), "PostgreSQL", callers, time).await;
    }
    for workers in [2, 64, 500] {
        turns(postgres.clone(), "PostgreSQL, turns", workers, 16_000).await;
    }
    // Jobs that come after all others.
    let mut tasks = vec![];
    for _ in 0..16 {
        let db = postgres.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..20_000 {
                db.submit_job(NewJob { priority: -1, ..job() }).await.expect("submitted");
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    for callers in [1, 8, 32] {
        run(postgres.clone(), "PostgreSQL, 320,000 jobs wait", callers, time).await;
    }
    postgres.close().await;
}
