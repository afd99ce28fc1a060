//! Jobs on PostgreSQL: hints between processes, lost connections, plans, damaged rows, a database that has just started.

use super::tests::{config, server};
use super::*;
use model::job::*;
use model::ports::Jobs;
use model::ports::index::SharedSettings;
use serde_json::json;

const LONG: Duration = Duration::from_secs(3600);
const KEEP: JobLimits = JobLimits { history: 100, outputs: 100 };

fn job() -> NewJob {
    NewJob::new("Test", 1, json!({}), json!({}))
}

async fn join(index: &PostgresIndex, lease: Duration) -> NodeId {
    let node = NewNode {
        id: NodeId::random(),
        name: String::new(),
        version: String::new(),
        kinds: vec!["Test".into()],
        new_jobs_only: false,
        configuration: String::new(),
        details: json!(null),
    };
    index.join(&node, lease).await.unwrap();
    node.id
}

fn beat(node: NodeId, lease: Duration) -> Beat {
    Beat { node, running: vec![], lease, draining: false, settings: 0, limits: KEEP }
}

/// Passes over other hints.
async fn hear(index: &PostgresIndex, expected: Hint) {
    let heard = async { while index.hint().await != expected {} };
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("the hint comes");
}

async fn execute(index: &PostgresIndex, statement: &str) {
    pool::get(&index.pool).await.unwrap().batch_execute(statement).await.unwrap();
}

#[tokio::test]
async fn processes_hear_each_other() {
    let Some(server) = server() else { return };
    let config = config(server);
    let (here, there) = (assemble(&config).await.unwrap(), assemble(&config).await.unwrap());
    hear(&there, Hint::Look).await;
    hear(&here, Hint::Look).await;
    let node = join(&here, LONG).await;
    let id = job().id;
    assert!(here.submit_job(NewJob { id, ..job() }).await.unwrap().is_none());
    hear(&there, Hint::Work).await;
    let claim = here.claim_jobs(node, 1).await.unwrap().remove(0).claim;
    there.act_on_job(id, JobAction::Cancel, KEEP).await.unwrap();
    hear(&here, Hint::Wanted(id)).await;
    let end = JobEnd { outcome: JobOutcome::Paused, checkpoint: Checkpoint::default() };
    assert!(here.finish_job(claim, end, KEEP).await.unwrap());
    hear(&there, Hint::Ended(id)).await;
    hear(&here, Hint::Ended(id)).await;
    // One's own hints do not come a second time: nothing else is heard until the next write of the other.
    tokio::time::sleep(Duration::from_millis(100)).await;
    there.set_setting("k", "v").await.unwrap();
    assert_eq!(here.hint().await, Hint::Settings);
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn lost_connections_are_made_again() {
    let Some(server) = server() else { return };
    let application_name = format!("lost {}", uuid::Uuid::new_v4());
    let config = PostgresConfig { application_name: application_name.clone(), ..config(server) };
    let index = assemble(&config).await.unwrap();
    let other = assemble(&PostgresConfig { application_name: "other".into(), ..config }).await.unwrap();
    hear(&index, Hint::Look).await;
    let node = join(&index, LONG).await;
    assert!(!index.tick(&beat(node, LONG)).await.unwrap().lost);
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application_name}'");
    execute(&other, &kill).await;
    // A beat may fail once, and one that nobody could hear is heard all the same.
    let first = index.tick(&beat(node, LONG)).await;
    assert!(first.is_ok() || first.unwrap_err().kind() == ErrorKind::DatabaseUnavailable);
    assert!(!index.tick(&beat(node, LONG)).await.unwrap().lost);
    hear(&index, Hint::Work).await;
    hear(&index, Hint::Look).await;
    let id = job().id;
    other.submit_job(NewJob { id, ..job() }).await.unwrap();
    other.act_on_job(id, JobAction::Cancel, KEEP).await.unwrap();
    hear(&index, Hint::Ended(id)).await;
}

#[tokio::test]
async fn nobody_is_rescued_just_after_the_start() {
    let Some(server) = server() else { return };
    let index = assemble(&config(server)).await.unwrap();
    let dead = join(&index, Duration::from_millis(1)).await;
    let node = join(&index, LONG).await;
    let waits = NewJob { pinned: Some(dead), ..job() };
    index.submit_job(NewJob { ..waits }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let longer_than_it_runs = Duration::from_secs(10 * 365 * 86_400);
    assert_eq!(index.tick(&beat(node, longer_than_it_runs)).await.unwrap().rescued, 0);
    assert_eq!(index.nodes().await.unwrap().len(), 2);
    assert_eq!(index.tick(&beat(node, Duration::from_millis(10))).await.unwrap().rescued, 1);
    assert_eq!(index.nodes().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let Some(server) = server() else { return };
    let index = assemble(&config(server)).await.unwrap();
    let node = join(&index, LONG).await;
    let mut claims = vec![];
    for _ in 0..4 {
        claims.push(index.submit_job(NewJob { claim: Some(node), ..job() }).await.unwrap().unwrap().claim);
    }
    index.act_on_job(claims[1].job, JobAction::Pause, KEEP).await.unwrap();
    index.act_on_job(claims[2].job, JobAction::Cancel, KEEP).await.unwrap();
    let known = Beat { running: vec![claims[3].job], ..beat(node, LONG) };
    index.tick(&known).await.unwrap();
    assert_eq!(index.job_counts().await.unwrap(), [0, 4, 0, 0, 0, 0], "the answer may be on its way");
    execute(&index, "UPDATE job SET started_at = started_at - 6000000").await;
    let tick = index.tick(&known).await.unwrap();
    assert_eq!((tick.rescued, tick.work, tick.wanted.len()), (0, true, 0));
    let expected = [JobState::Pending, JobState::Paused, JobState::Failure, JobState::Running];
    for (claim, state) in claims.iter().zip(expected) {
        let job = index.jobs(Some(&[claim.job])).await.unwrap().remove(0);
        assert_eq!((job.state, job.crashes), (state, 0));
    }
}

#[tokio::test]
async fn a_damaged_row_does_not_hide_the_others() {
    let Some(server) = server() else { return };
    let index = assemble(&config(server)).await.unwrap();
    let node = join(&index, LONG).await;
    let mut ids = vec![];
    for _ in 0..3 {
        let new = job();
        ids.push(new.id);
        index.submit_job(NewJob { user_data: Some(json!("u")), ..new }).await.unwrap();
    }
    execute(&index, &format!("UPDATE job SET content = '{{', user_data = '', error_payload = '[' WHERE id = '{}'", ids[0])).await;
    execute(&index, &format!("UPDATE job SET arguments = '{{' WHERE id = '{}'", ids[1])).await;
    let listed = index.jobs(Some(&ids)).await.unwrap();
    assert_eq!(listed.iter().map(|j| j.id).collect::<Vec<_>>(), ids);
    assert_eq!((&listed[0].content, &listed[1].user_data), (&json!(null), &Some(json!("u"))));
    let claimed = index.claim_jobs(node, 3).await.unwrap();
    assert_eq!(claimed.iter().map(|j| j.claim.job).collect::<Vec<_>>(), [ids[0], ids[2]]);
    let failed = index.jobs(Some(&ids[1..2])).await.unwrap().remove(0);
    assert_eq!((failed.state, failed.error.code), (JobState::Failure, 11));
    assert!(failed.error.details.contains("damaged"));
}

/// Rows of `job` that a statement reads, in a transaction that is undone.
async fn rows_read(index: &PostgresIndex, statement: &str) -> i64 {
    let mut client = pool::get(&index.pool).await.unwrap();
    let tx = client.transaction().await.unwrap();
    let read = "SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
        WHERE relid = 'job'::regclass";
    let before = tx.query_opt(read, &[]).await.unwrap().map_or(0, |row| row.get::<_, i64>(0));
    tx.query(statement, &[]).await.unwrap();
    tx.query_one(read, &[]).await.unwrap().get::<_, i64>(0) - before
}

#[tokio::test]
async fn nothing_depends_on_how_many_jobs_wait_or_have_ended() {
    let Some(server) = server() else { return };
    let index = assemble(&config(server)).await.unwrap();
    let node = join(&index, LONG).await.0;
    // Vacuum and statistics come when they come: a plan must not need them.
    for n in ["AND n < 0", ""] {
        let fill = |state: &str, owner: &str, crashes: i32, done: &str, count: u32| {
            format!(
                "INSERT INTO job (id, kind, version, priority, created_at, content, arguments, state, owner, crashes, done_seq, epoch)
                 SELECT gen_random_uuid(), 'Test', 1, n % 10, 0, '{{}}', '{{}}', '{state}', {owner}, {crashes}, {done}, 1
                 FROM generate_series(1, {count}) n WHERE true {n}"
            )
        };
        execute(&index, &fill("P", "NULL", 0, "NULL", 20_000)).await;
        execute(&index, &fill("P", "NULL", 2, "NULL", 20_000)).await;
        execute(&index, &fill("S", "NULL", 0, "nextval('job_done_seq')", 20_000)).await;
        execute(&index, &fill("R", &format!("'{node}'"), 0, "NULL", 3)).await;
        for (most, statement) in [
            (20, format!("SELECT * FROM job_claim_1('{node}', 3, false)")),
            (20, format!("SELECT * FROM job_claim_1('{node}', 3, true)")),
            (800, "SELECT job_trim_1(100, 100, 20)".to_owned()),
            (
                800,
                format!("SELECT * FROM job_tick_1('{node}', '{{}}', 1000000, false, 0, 100, 100, 20, 5000000, 37, -1, 14, '')"),
            ),
        ] {
            let read = rows_read(&index, &statement).await;
            assert!(read <= most, "{read} rows: {statement}");
        }
    }
    let first = "SELECT min(j.priority) FROM job_claim_1($1, 3, $2) c JOIN job j ON j.id = c.job_id";
    for suspects in [false, true] {
        let row = pool::get(&index.pool).await.unwrap().query_one(first, &[&node, &suspects]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 9, "the highest priority");
    }
    execute(&index, "ANALYZE job").await;
    let read = rows_read(&index, &format!("SELECT * FROM job_claim_1('{node}', 3, false)")).await;
    assert!((3..20).contains(&read), "{read} rows with statistics");
}
