//! Files that come piece by piece.

use crate::fixture::*;
use crate::for_each_index;
use model::job::{Beat, JobAction, JobId, JobLimits, NewJob, NodeId};
use model::upload::{CompleteUpload, NewPiece, NewUploaded, PieceAdded, UploadKey, UploadLimits};
use model::{AttachmentId, ErrorKind};
use std::collections::BTreeSet;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const LIMITS: UploadLimits = UploadLimits { files: 3, pieces: 4, patience: HOUR, storing: HOUR };

fn piece(blob: AttachmentId, name: &str, size_bytes: u64, start: Option<u64>) -> NewPiece {
    NewPiece { file: UploadKey::of("alice", name, 100), file_bytes: 100, start, blob, size_bytes }
}

/// Adds a piece of a new blob, and returns that too.
async fn add(db: &Fresh, name: &str, size: u64, start: Option<u64>, limits: UploadLimits) -> (PieceAdded, AttachmentId) {
    let blob = blob(&**db).await;
    (db.add_piece(&piece(blob, name, size, start), limits).await.unwrap(), blob)
}

async fn deleted(db: &Fresh) -> BTreeSet<AttachmentId> {
    db.deleted_blobs(1000, Duration::ZERO).await.unwrap().into_iter().collect()
}

/// Whether a beat says that a sweep has something to do.
async fn due(db: &Fresh) -> bool {
    let limits = JobLimits { history: 10, outputs: 1 };
    let beat = Beat { node: NodeId::random(), running: vec![], lease: HOUR, draining: false, settings: 0, limits };
    db.tick(&beat).await.unwrap().due
}

async fn pieces_become_a_file_once(db: &mut Fresh) {
    let (first, a) = add(db, "f", 60, None, LIMITS).await;
    assert_eq!(first, PieceAdded::Kept);
    assert_eq!(add(db, "g", 1, Some(0), LIMITS).await.0, PieceAdded::Kept);
    let (last, b) = add(db, "f", 40, Some(60), LIMITS).await;
    let PieceAdded::Complete(upload) = last else { panic!("{last:?}") };
    assert_eq!(upload.pieces, [(a, 60), (b, 40)]);
    // The name is free again while the file is stored.
    let (again, c) = add(db, "f", 100, None, LIMITS).await;
    let PieceAdded::Complete(CompleteUpload { id, pieces }) = again else { panic!("{again:?}") };
    assert_eq!(pieces, [(c, 100)]);
    assert!(deleted(db).await.is_empty() && !due(db).await);
    db.forget_upload(upload.id).await.unwrap();
    db.forget_upload(upload.id).await.unwrap();
    assert_eq!(deleted(db).await, BTreeSet::from([a, b]));
    db.forget_upload(id).await.unwrap();
    assert_eq!(deleted(db).await, BTreeSet::from([a, b, c]));
}

async fn what_does_not_fit_is_refused(db: &mut Fresh) {
    assert_eq!(add(db, "f", 10, Some(1), LIMITS).await.0, PieceAdded::Misplaced(0));
    let (_, a) = add(db, "f", 10, Some(0), LIMITS).await;
    for start in [0, 9, 11] {
        assert_eq!(add(db, "f", 10, Some(start), LIMITS).await.0, PieceAdded::Misplaced(10));
    }
    assert!(deleted(db).await.is_empty(), "nothing was changed");
    assert_eq!(add(db, "f", 91, Some(10), LIMITS).await.0, PieceAdded::TooLong);
    assert_eq!(deleted(db).await, BTreeSet::from([a]));
    assert_eq!(add(db, "f", 101, None, LIMITS).await.0, PieceAdded::TooLong);
    for _ in 0..4 {
        assert_eq!(add(db, "f", 10, None, LIMITS).await.0, PieceAdded::Kept);
    }
    assert_eq!(add(db, "f", 10, None, LIMITS).await.0, PieceAdded::TooMany);
    assert_eq!(deleted(db).await.len(), 5);
    assert_eq!(add(db, "f", 10, Some(10), LIMITS).await.0, PieceAdded::Misplaced(0), "it is forgotten");
}

async fn a_blob_belongs_to_one_piece(db: &mut Fresh) {
    let blob = blob(&**db).await;
    assert_eq!(db.add_piece(&piece(blob, "f", 1, None), LIMITS).await.unwrap(), PieceAdded::Kept);
    for name in ["f", "g"] {
        assert_eq!(db.add_piece(&piece(blob, name, 1, None), LIMITS).await.unwrap_err().kind(), ErrorKind::Busy);
    }
    assert_eq!(add(db, "f", 1, Some(1), LIMITS).await.0, PieceAdded::Kept);
    assert_eq!(add(db, "g", 1, Some(0), LIMITS).await.0, PieceAdded::Kept);
    // The blob of a piece that was refused is still the caller's to give back.
    let refused = add(db, "f", 1, Some(7), LIMITS).await.1;
    db.release_blobs(&[refused]).await.unwrap();
    db.restart();
    db.sweep_intents().await.unwrap();
    assert!(!deleted(db).await.contains(&blob), "a crash does not touch what waits");
    assert!(matches!(add(db, "f", 98, Some(2), LIMITS).await.0, PieceAdded::Complete(_)));
}

async fn files_do_not_wait_for_ever(db: &mut Fresh) {
    let hasty = UploadLimits { patience: Duration::ZERO, ..LIMITS };
    let (_, a) = add(db, "f", 10, None, hasty).await;
    assert!(due(db).await);
    // It is not found any more, even before the sweep.
    let (begun, b) = add(db, "f", 10, Some(0), LIMITS).await;
    assert_eq!((begun, deleted(db).await), (PieceAdded::Kept, BTreeSet::from([a])));
    let (_, c) = add(db, "g", 10, None, hasty).await;
    let unstored = UploadLimits { storing: Duration::ZERO, ..LIMITS };
    let (complete, d) = add(db, "h", 100, None, unstored).await;
    assert!(matches!(complete, PieceAdded::Complete(_)));
    db.sweep_uploads().await.unwrap();
    db.sweep_uploads().await.unwrap();
    assert_eq!(deleted(db).await, BTreeSet::from([a, c, d]));
    db.forget_deleted_blobs(&[a, c, d]).await.unwrap();
    assert!(!due(db).await);
    let (last, e) = add(db, "f", 90, Some(10), LIMITS).await;
    let PieceAdded::Complete(upload) = last else { panic!("{last:?}") };
    assert_eq!(upload.pieces, [(b, 10), (e, 90)]);
}

async fn no_more_than_some_wait(db: &mut Fresh) {
    let mut blobs = vec![];
    for name in ["a", "b", "c"] {
        blobs.push(add(db, name, 10, None, LIMITS).await.1);
    }
    // A piece makes its file the youngest.
    assert_eq!(add(db, "a", 10, None, LIMITS).await.0, PieceAdded::Kept);
    assert_eq!(add(db, "d", 10, None, LIMITS).await.0, PieceAdded::Kept);
    assert_eq!(deleted(db).await, BTreeSet::from([blobs[1]]));
    // A file in one piece takes nobody's place.
    assert!(matches!(add(db, "e", 100, None, LIMITS).await.0, PieceAdded::Complete(_)));
    for name in ["a", "c", "d"] {
        assert!(matches!(add(db, name, 10, Some(0), LIMITS).await.0, PieceAdded::Misplaced(_)), "{name} waits");
    }
    assert_eq!(add(db, "b", 10, Some(10), LIMITS).await.0, PieceAdded::Misplaced(0));
}

async fn pieces_at_the_same_moment_all_count(db: &mut Fresh) {
    let limits = UploadLimits { pieces: 100, ..LIMITS };
    let names = db.reserve_blobs(40).await.unwrap().0;
    let all =
        names.chunks(20).enumerate().flat_map(|(file, blobs)| blobs.iter().map(move |blob| (file, *blob)).collect::<Vec<_>>());
    let tasks: Vec<_> = all
        .map(|(file, blob)| {
            let db = db.shared();
            tokio::spawn(async move { db.add_piece(&piece(blob, &file.to_string(), 5, None), limits).await.unwrap() })
        })
        .collect();
    let mut complete = vec![];
    for task in tasks {
        match task.await.unwrap() {
            PieceAdded::Complete(upload) => complete.push(upload),
            kept => assert_eq!(kept, PieceAdded::Kept),
        }
    }
    assert_eq!(complete.len(), 2);
    let seen: BTreeSet<_> = complete.iter().flat_map(|u| u.pieces.iter().map(|p| p.0)).collect();
    assert_eq!(seen, names.into_iter().collect());
    assert!(complete.iter().all(|u| u.pieces.len() == 20));
}

async fn folders_are_made_once_and_go(db: &mut Fresh) {
    let hour = Duration::from_secs(3600);
    assert_eq!(db.upload_folders(hour).await.unwrap(), [""; 0]);
    for (path, made) in [("a", true), ("a/b", true), ("a", false), ("a_", true), ("é%", true), ("one too many", false)] {
        assert_eq!(db.make_upload_folder(path, hour, 4).await.unwrap(), made, "{path}");
    }
    assert_eq!(db.upload_folders(hour).await.unwrap(), ["a", "a/b", "a_", "é%"]);
    assert_eq!(db.upload_folders(Duration::ZERO).await.unwrap(), [""; 0]);
    assert!(db.remove_upload("a").await.unwrap());
    assert!(!db.remove_upload("a").await.unwrap());
    assert_eq!(db.upload_folders(hour).await.unwrap(), ["a_", "é%"]);
    // What is too old makes room.
    assert!(db.make_upload_folder("new", Duration::ZERO, 1).await.unwrap());
    assert_eq!(db.upload_folders(hour).await.unwrap(), ["new"]);
}

async fn files_wait_for_a_job(db: &mut Fresh) {
    let put = async |db: &Fresh, path: &str| {
        let file = NewUploaded {
            path: path.to_owned(),
            blob: blob(&**db).await,
            size_bytes: 5,
            remote_ip: "1.2.3.4".to_owned(),
            http_user: "alice".to_owned(),
        };
        db.add_uploaded(&file).await.unwrap();
        file.blob
    };
    let wait = async |db: &Fresh| db.uploads_wait("Import", Duration::ZERO).await.unwrap();
    assert!(!wait(db).await && !due(db).await);
    let blobs = [put(db, "a/x").await, put(db, "a/x").await, put(db, "b").await];
    assert!(wait(db).await && due(db).await);
    assert!(!db.uploads_wait("Import", HOUR).await.unwrap());
    let all = db.uploaded(10).await.unwrap();
    assert_eq!(all.iter().map(|f| f.blob).collect::<Vec<_>>(), blobs);
    assert_eq!((all[0].path.as_str(), all[0].size_bytes, all[0].http_user.as_str()), ("a/x", 5, "alice"));
    assert!(all[0].age < HOUR);

    let (job, other) = (fixture_job(db).await, fixture_job(db).await);
    assert!(!wait(db).await, "a job of this kind is there");
    let ids =
        async |db: &Fresh, job, after| db.take_uploaded(job, after, 2).await.unwrap().iter().map(|f| f.id).collect::<Vec<_>>();
    assert_eq!(ids(db, job, 0).await, [all[0].id, all[1].id]);
    assert_eq!(ids(db, job, 0).await, [all[0].id, all[1].id], "they stay its own");
    assert_eq!(ids(db, other, 0).await, [all[2].id]);
    assert_eq!(ids(db, job, all[0].id).await, [all[1].id]);
    assert!(!due(db).await);

    db.forget_uploaded(all[0].id).await.unwrap();
    db.forget_uploaded(all[0].id).await.unwrap();
    assert!(db.remove_upload("a").await.unwrap());
    assert!(!db.remove_upload("a").await.unwrap());
    assert_eq!(deleted(db).await, blobs[..2].iter().copied().collect());
    db.act_on_job(other, JobAction::Cancel, LONG).await.unwrap();
    db.act_on_job(job, JobAction::Cancel, LONG).await.unwrap();
    assert!(!wait(db).await, "who resubmits the job tries again");
    assert!(ids(db, job, 0).await.is_empty());
    db.delete_job(other).await.unwrap();
    assert!(wait(db).await, "the job is forgotten");
    assert_eq!(ids(db, job, 0).await, [all[2].id]);
}

/// A job that waits.
async fn fixture_job(db: &Fresh) -> JobId {
    let id = JobId::random();
    let new = NewJob { id, ..NewJob::new("Import", 1, serde_json::json!({}), serde_json::json!({})) };
    db.submit_job(new).await.unwrap();
    id
}

const LONG: JobLimits = JobLimits { history: 10, outputs: 10 };

for_each_index!(
    files_wait_for_a_job,
    folders_are_made_once_and_go,
    pieces_become_a_file_once,
    what_does_not_fit_is_refused,
    a_blob_belongs_to_one_piece,
    files_do_not_wait_for_ever,
    no_more_than_some_wait,
    pieces_at_the_same_moment_all_count,
);
