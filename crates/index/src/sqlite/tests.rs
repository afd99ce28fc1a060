//! What only SQLite can do: files of others, locks, full disks.

use super::*;
use model::instance::{InstanceIds, Origin, Overwrite};
use model::job::JobState;
use model::{Compression, StoreStatus, TagMap, tags};
use std::collections::BTreeMap;

fn instance(blob: AttachmentId, n: usize, filler: usize) -> NewInstance {
    let sop = n.to_string();
    let mut own: [TagMap; 4] = Default::default();
    own[3].put(tags::SOP_INSTANCE_UID, sop.clone());
    own[3].put(dataset::Tag(0x0020, 0x4000), "x".repeat(filler));
    NewInstance {
        ids: InstanceIds {
            patient: OrthancId::patient("P"),
            study: OrthancId::study("P", "1"),
            series: OrthancId::series("P", "1", "2"),
            instance: OrthancId::instance("P", "1", "2", &sop),
        },
        tags: own,
        sop_class_uid: "1.2".into(),
        transfer_syntax_uid: "1.2".into(),
        expected_instances: None,
        index_in_series: None,
        metadata: std::array::from_fn(|_| BTreeMap::new()),
        origin: Origin::default(),
        blob: Attachment {
            id: blob,
            content_type: ContentType::DICOM,
            compression: Compression::None,
            size_bytes: 1,
            stored_size_bytes: 1,
            checksum: 0,
            md5: None,
            stored_md5: None,
            revision: 0,
        },
        pixel_offset: None,
        tail_offset: None,
        overwrite: Overwrite::Never,
    }
}

#[test]
fn two_processes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pleiad.sqlite");
    let first = open(&path, Options::default()).unwrap();
    let error = open(&path, Options::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
    assert!(error.message().contains("another process") && error.message().contains("pleiad.sqlite"), "{error}");
    drop(first);
    open(&path, Options::default()).unwrap();
}

#[test]
fn files_of_others_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE GlobalProperties (property, value); CREATE TABLE Resources (internalId);")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(is_orthanc_index(&path));
    let error = open(&path, Options::default()).err().unwrap();
    assert!(error.message().contains("index of Orthanc"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let other = folder.path().join("other.sqlite");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(!is_orthanc_index(&other));
    assert!(open(&other, Options::default()).err().unwrap().message().contains("another program"));
    let text = folder.path().join("text");
    std::fs::write(&text, "not a database at all, but longer than a header of SQLite would be: ".repeat(20)).unwrap();
    assert!(!is_orthanc_index(&text));
    assert_eq!(open(&text, Options::default()).err().unwrap().kind(), ErrorKind::Database);
    assert!(!is_orthanc_index(&folder.path().join("nothing")));
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(files.iter().all(|f| !f.to_string_lossy().contains("-wal")), "{files:?}");
}

#[test]
fn later_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pleiad.sqlite");
    drop(open::writer(&path, Durability::None).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(open(&path, Options::default()).err().unwrap().message().contains("later version"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let db = Arc::new(assemble_temporary());
    let names = db.reserve_blobs(40).await.unwrap().0;
    let pages =
        db.writer.run(|batch| Ok(batch.conn.pragma_query_value(None, "page_count", |r| r.get::<_, i64>(0)).unwrap())).await;
    let limit = pages.unwrap() + 60;
    let set =
        move |n: i64| move |batch: &mut batch::Batch<'_>| batch.conn.pragma_update(None, "max_page_count", n).map_err(error::sql);
    db.writer.run(set(limit)).await.unwrap();
    // Small and large ones at once: 400 KB do not fit.
    let mut tasks = vec![];
    for (n, blob) in names.iter().copied().enumerate() {
        let db = db.clone();
        tasks.push(tokio::spawn(async move { db.store_instance(instance(blob, n, if n % 4 == 3 { 400_000 } else { 1 })).await }));
    }
    let mut stored = 0;
    for (n, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(outcome) => {
                assert_eq!((outcome.status, n % 4 == 3), (StoreStatus::Success, false));
                stored += 1;
            }
            Err(error) => assert_eq!((error.kind(), n % 4), (ErrorKind::StorageFull, 3), "{error}"),
        }
    }
    assert_eq!((stored, db.totals().await.unwrap().instances), (30, 30));
    // With room again, the same name can be stored: nothing of the failed attempt remained.
    db.writer.run(set(1_000_000)).await.unwrap();
    db.store_instance(instance(names[3], 3, 400_000)).await.unwrap();
    assert_eq!(db.totals().await.unwrap().instances, 31);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_its_caller_only() {
    let db = assemble_temporary();
    let failed = db
        .writer
        .run(|batch| -> Result<()> {
            batch.conn.execute("DELETE FROM setting", []).map_err(error::sql)?;
            panic!("on purpose")
        })
        .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Internal);
    db.set_setting("k", "v").await.unwrap();
    let failed = db.readers.run(|_| -> Result<()> { panic!("on purpose") }).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Internal);
    for _ in 0..10 {
        assert_eq!(db.settings().await.unwrap().values["k"], "v");
    }
}

#[tokio::test]
async fn a_temporary_index_leaves_nothing() {
    let db = assemble_temporary();
    let folder = db.folder.lock().unwrap().as_ref().unwrap().path().to_owned();
    assert!(folder.exists());
    db.close().await;
    assert!(!folder.exists());
}

async fn joined(db: &SqliteIndex) -> NodeId {
    let node = NewNode {
        id: NodeId::random(),
        name: String::new(),
        version: String::new(),
        kinds: vec!["Test".into()],
        new_jobs_only: false,
        configuration: String::new(),
        details: Value::Null,
    };
    db.join(&node, Duration::from_secs(60)).await.unwrap();
    node.id
}

fn job(id: JobId) -> NewJob {
    NewJob { id, ..NewJob::new("Test", 1, Value::Null, Value::Null) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let db = assemble_temporary();
    let node = joined(&db).await;
    let limits = JobLimits { history: 10, outputs: 10 };
    let ids: [JobId; 4] = std::array::from_fn(|_| JobId::random());
    for id in ids {
        assert!(db.submit_job(NewJob { claim: Some(node), ..job(id) }).await.unwrap().is_some());
    }
    db.act_on_job(ids[1], JobAction::Pause, limits).await.unwrap();
    db.act_on_job(ids[2], JobAction::Cancel, limits).await.unwrap();
    let lease = Duration::from_secs(60);
    let beat = Beat { node, running: vec![ids[3]], lease, draining: false, settings: 0, limits };
    db.tick(&beat).await.unwrap();
    assert_eq!(db.job_counts().await.unwrap(), [0, 4, 0, 0, 0, 0], "the answer may be on its way");
    let earlier = "UPDATE job SET started_at = started_at - 6000000";
    db.writer.run(move |batch| batch.conn.execute_batch(earlier).map_err(error::sql)).await.unwrap();
    let tick = db.tick(&beat).await.unwrap();
    assert_eq!((tick.rescued, tick.work, tick.wanted.len()), (0, true, 0));
    let found = db.jobs(Some(&ids)).await.unwrap().into_iter().map(|job| (job.state, job.crashes)).collect::<Vec<_>>();
    let expected = [JobState::Pending, JobState::Paused, JobState::Failure, JobState::Running];
    assert_eq!(found, expected.map(|state| (state, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_job_does_not_hide_the_others() {
    let db = assemble_temporary();
    let node = joined(&db).await;
    let ids = [1, 2, 3].map(|n| JobId(uuid::Uuid::from_u128(n)));
    for id in ids {
        db.submit_job(NewJob { user_data: Some("u".into()), ..job(id) }).await.unwrap();
    }
    let damage = "UPDATE job SET content = '{', error_payload = '[' WHERE seq = 1;
        UPDATE job_input SET user_data = '' WHERE job = 1; UPDATE job_input SET arguments = '{' WHERE job = 2;";
    db.writer.run(move |batch| batch.conn.execute_batch(damage).map_err(error::sql)).await.unwrap();
    let listed = db.jobs(None).await.unwrap();
    assert_eq!(listed.iter().map(|j| j.id).collect::<Vec<_>>(), ids);
    assert_eq!((&listed[0].content, &listed[1].user_data), (&Value::Null, &Some("u".into())));
    let claimed = db.claim_jobs(node, 3).await.unwrap();
    assert_eq!(claimed.iter().map(|j| j.claim.job).collect::<Vec<_>>(), [ids[0], ids[2]]);
    let failed = db.jobs(Some(&ids[1..2])).await.unwrap().remove(0);
    assert_eq!((failed.state, failed.error.code), (JobState::Failure, 11));
    assert!(failed.error.details.contains("damaged"));
}

fn assemble_temporary() -> SqliteIndex {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pleiad.sqlite");
    assemble(&path, Options::default(), Durability::None, Some(folder)).unwrap()
}
