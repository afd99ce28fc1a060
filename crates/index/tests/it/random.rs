//! Any order of operations leaves true counters, and the feed, the blobs and the resources agree.

use crate::fixture::*;
use crate::for_each_index;
use model::instance::Overwrite;
use model::ports::index::Expect;
use model::{AttachmentId, ContentType, ErrorKind, Level, MetadataKind, tags};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Op {
    Store { path: [u8; 4], overwrite: Overwrite, bytes: u64, modality: u8 },
    Delete { path: [u8; 4], level: usize },
    Attach { path: [u8; 4], level: usize, kind: u16, bytes: u64 },
    Detach { path: [u8; 4], level: usize, kind: u16 },
    Settle,
    Restart,
}

fn operation() -> impl Strategy<Value = Op> {
    let path = || [0..2_u8, 0..2_u8, 0..2_u8, 0..3_u8];
    let overwrite = prop_oneof![Just(Overwrite::Never), Just(Overwrite::Always), Just(Overwrite::IfChanged)];
    prop_oneof![
        12 => (path(), overwrite, 1..1000_u64, 0..3_u8)
            .prop_map(|(path, overwrite, bytes, modality)| Op::Store { path, overwrite, bytes, modality }),
        4 => (path(), 0..4_usize).prop_map(|(path, level)| Op::Delete { path, level }),
        3 => (path(), 0..4_usize, 1024..1026_u16, 1..1000_u64)
            .prop_map(|(path, level, kind, bytes)| Op::Attach { path, level, kind, bytes }),
        2 => (path(), 0..4_usize, 1024..1026_u16).prop_map(|(path, level, kind)| Op::Detach { path, level, kind }),
        1 => Just(Op::Settle),
        1 => Just(Op::Restart),
    ]
}

async fn counters_stay_true(db: &mut Fresh) {
    let mut runner = TestRunner::deterministic();
    let operations = proptest::collection::vec(operation(), 400).new_tree(&mut runner).unwrap().current();
    let mut names = BTreeSet::new();
    let mut last = 0;
    for (n, op) in operations.into_iter().enumerate() {
        apply(db, op.clone(), &mut names).await;
        let page = db.last_change().await.unwrap();
        assert!(page.last_seq >= last, "after {op:?}");
        last = page.last_seq;
        if n % 20 == 0 {
            assert_consistent(&**db).await;
        }
    }
    // Every name that was ever used is now referenced by a row, on the deletion list, or still reserved.
    db.restart();
    db.sweep_intents().await.unwrap();
    let mut seen: BTreeSet<AttachmentId> =
        db.deleted_blobs(100_000, std::time::Duration::ZERO).await.unwrap().into_iter().collect();
    for level in Level::ALL {
        for resource in all(&**db, level).await {
            for attachment in resource.attachments {
                assert!(seen.insert(attachment.id), "{} is referenced and on the deletion list", attachment.id);
            }
        }
    }
    assert_eq!(seen, names);
}

async fn apply(db: &mut Fresh, op: Op, names: &mut BTreeSet<AttachmentId>) {
    let text = |path: [u8; 4]| path.map(|n| n.to_string());
    let at = |path: [u8; 4], level: usize| {
        let t = text(path);
        (Level::ALL[level], ids([&t[0], &t[1], &t[2], &t[3]]).at(Level::ALL[level]))
    };
    let known = |result: Result<(), model::Error>, expected: &[ErrorKind]| {
        assert!(result.as_ref().is_ok() || result.as_ref().is_err_and(|e| expected.contains(&e.kind())), "{result:?}");
    };
    match op {
        Op::Store { path, overwrite, bytes, modality } => {
            let t = text(path);
            let mut new = instance(&**db, [&t[0], &t[1], &t[2], &t[3]]).await;
            let class = format!("1.2.{modality}");
            names.insert(new.blob.id);
            new.blob = attachment(new.blob.id, ContentType::DICOM, bytes);
            new.overwrite = overwrite;
            new.metadata[3].insert(MetadataKind::SOP_CLASS_UID, class.clone());
            new.tags[2].put(tags::MODALITY, ["CT", "MR", ""][usize::from(modality)]);
            if modality == 2 {
                new.tags[2] = [(tags::SERIES_INSTANCE_UID, t[2].clone())].into_iter().collect();
            }
            new.sop_class_uid = class;
            db.store_instance(new).await.unwrap();
        }
        Op::Delete { path, level } => {
            let (level, id) = at(path, level);
            known(db.delete(level, id).await.map(|_| ()), &[ErrorKind::UnknownResource]);
        }
        Op::Attach { path, level, kind, bytes } => {
            let (level, id) = at(path, level);
            let new = attachment(blob(&**db).await, ContentType(kind), bytes);
            names.insert(new.id);
            known(db.set_attachment(level, id, new, Expect::Anything).await.map(|_| ()), &[ErrorKind::UnknownResource]);
        }
        Op::Detach { path, level, kind } => {
            let (level, id) = at(path, level);
            let expected = [ErrorKind::UnknownResource, ErrorKind::InexistentItem];
            known(db.delete_attachment(level, id, ContentType(kind), Expect::Anything).await, &expected);
        }
        Op::Settle => {
            db.sweep_stability().await.unwrap();
            db.sweep_tombstones().await.unwrap();
        }
        Op::Restart => {
            db.restart();
            db.sweep_intents().await.unwrap();
        }
    }
}

for_each_index!(counters_stay_true);
