//! What is stored is brought to the configuration.

use crate::support::*;
use dataset::Tag;
use engine::housekeeping::{Housekeeper, Schedule, Triggers};
use engine::{Ctx, Engine, EngineConfig, jobs};
use model::job::{Job, JobState};
use model::ports::StorageArea;
use model::ports::index::Expect;
use model::{Attachment, Compression, ContentType, FindRequest, Level, MainTags};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const DESCRIPTION: Tag = Tag(0x0008, 0x103F);
const PIXELS: usize = 200_000;

/// Two series of two instances in one study.
async fn fill(lab: &Lab) -> Vec<model::instance::InstanceIds> {
    let mut stored = vec![];
    for (n, series) in ["1.1.1", "1.1.1", "1.1.2", "1.1.2"].iter().enumerate() {
        let file = File::new(&format!("1.2.{n}")).series("P", "1.1", series).with(DESCRIPTION, b"LO", series);
        stored.push(lab.store(file.pixels(noise(PIXELS, n as u64))).await);
    }
    stored
}

fn declared(level: Level) -> EngineConfig {
    let mut main_tags = MainTags::default();
    main_tags.add(level, DESCRIPTION);
    EngineConfig { main_tags, ..EngineConfig::default() }
}

fn housekeeper() -> Housekeeper {
    let triggers = Triggers { storage_compression: true, main_tags: true, dicom_as_json: true };
    let (throttle, schedule) = (Duration::ZERO, Schedule::default());
    Housekeeper { force: false, force_files: false, throttle, schedule, triggers, level: None }
}

/// Starts a process and waits for the end of its run.
async fn run(lab: &Lab, config: EngineConfig) -> Job {
    let eng: Arc<Engine> = Arc::new(lab.other(config));
    let process = jobs::start(eng.clone()).await.unwrap();
    let ended = async {
        loop {
            let newest = jobs::list(&eng, &Ctx::default()).await.unwrap().into_iter().max_by_key(|job| job.created_at);
            match newest.filter(|job| job.state.is_final()) {
                Some(job) => break job,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let job = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the run ends");
    process.release(Duration::from_secs(5)).await;
    process.leave().await;
    assert_eq!((job.kind.as_str(), job.state), ("Housekeeping", JobState::Success), "{job:?}");
    job
}

async fn values(lab: &Lab, level: Level) -> Vec<Option<String>> {
    let found = lab.index.find(&FindRequest::all(level)).await.unwrap();
    found.iter().map(|one| one.tags[level as usize].get(DESCRIPTION).map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_headers_are_read_and_only_where_something_lacks() {
    for (level, files, expected) in [
        (Level::Study, 1, vec!["1.1.1"]),
        (Level::Series, 2, vec!["1.1.1", "1.1.2"]),
        (Level::Instance, 4, vec!["1.1.1", "1.1.1", "1.1.2", "1.1.2"]),
    ] {
        let lab = Lab::new().await;
        fill(&lab).await;
        let before = lab.storage.read_bytes.load(Ordering::SeqCst);
        let job = run(&lab, declared(level)).await;
        let read = lab.storage.read_bytes.load(Ordering::SeqCst) - before;
        assert!(read > 0 && read < 1000 * files, "{level:?}: {read} bytes");
        assert_eq!(job.content["ChangedInstancesCount"], files);
        let expected: Vec<_> = expected.into_iter().map(|value| Some(value.to_owned())).collect();
        assert_eq!(values(&lab, level).await, expected, "as the first instance says");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_counted_and_hold_nothing_up() {
    let lab = Lab::new().await;
    let stored = fill(&lab).await;
    lab.damage(stored[0].instance, None).await;
    lab.damage(stored[3].instance, Some(noise(500, 1).into())).await;
    let job = run(&lab, declared(Level::Instance)).await;
    assert_eq!((job.content["FailedInstancesCount"].as_u64(), job.content["ChangedInstancesCount"].as_u64()), (Some(2), Some(2)));
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(values(&lab, Level::Instance).await, [None, value("1.1.1"), value("1.1.2"), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_rewritten_and_attachments_of_old_versions_go() {
    let lab = Lab::new().await;
    let stored = fill(&lab).await;
    let blob = lab.index.reserve_blobs(1).await.unwrap().0[0];
    lab.storage.put(blob, "{}".into()).await.unwrap();
    let (size_bytes, stored_size_bytes) = (2, 2);
    let compression = Compression::None;
    let (content_type, checksum, revision) = (ContentType(2), 0, 0);
    let old = Attachment {
        id: blob,
        content_type,
        compression,
        size_bytes,
        stored_size_bytes,
        checksum,
        md5: None,
        stored_md5: None,
        revision,
    };
    lab.index.set_attachment(Level::Instance, stored[1].instance, old, Expect::Anything).await.unwrap();
    assert_eq!(lab.instance(stored[1].instance).await.attachments.len(), 2);
    let config = || EngineConfig { storage_compression: true, housekeeper: Some(housekeeper()), ..EngineConfig::default() };
    let job = run(&lab, config()).await;
    for ids in &stored {
        let instance = lab.instance(ids.instance).await;
        assert_eq!(instance.attachments.len(), 1);
        assert_eq!(instance.attachments[0].compression, Compression::Zlib);
    }
    assert_eq!(job.content["ChangedInstancesCount"], 4);
    let again = run(&lab, config()).await;
    assert_eq!(again.id, job.id, "nothing is left to do");
}
