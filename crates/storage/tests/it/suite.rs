//! What every storage area must do.

use bytes::Bytes;
use futures_util::TryStreamExt;
use model::ports::StorageArea;
use model::{AttachmentId, ErrorKind};
use std::sync::Arc;
use storage::{LocalConfig, StorageConfig};

const PIECE: usize = 256 << 10;

/// Runs each check on each storage area.
macro_rules! for_each_storage {
    ($($check:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                super::$check(storage::open(super::StorageConfig::Memory).await.unwrap()).await;
            })*
        }
        mod s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let config = super::StorageConfig::S3(Box::new(crate::moto::bucket()));
                super::$check(storage::open(config).await.unwrap()).await;
            })*
        }
        mod local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let folder = tempfile::tempdir().unwrap();
                let config = super::LocalConfig { root: folder.path().join("not/yet/made"), sync: true };
                super::$check(storage::open(super::StorageConfig::Local(config)).await.unwrap()).await;
            })*
        }
    };
}

for_each_storage!(
    a_blob_comes_back_as_it_was,
    a_written_blob_comes_back_as_it_was,
    ranges_are_cut_at_the_end_of_the_blob,
    pieces_are_bounded_and_in_order,
    a_missing_blob_is_named,
    a_blob_is_never_overwritten,
    removal_is_idempotent,
    a_discarded_blob_is_gone,
    an_abandoned_blob_goes_and_its_name_is_free,
    neighbours_come_and_go_in_one_folder,
    one_name_is_won_by_one_writer,
);

/// Bytes that differ at every place that matters: no two pieces or chunks are equal.
pub fn pattern(size: usize) -> Bytes {
    (0..size.div_ceil(8) as u64).flat_map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes()).take(size).collect()
}

async fn whole_stream(area: &dyn StorageArea, id: AttachmentId, range: std::ops::Range<u64>) -> Vec<Bytes> {
    area.stream(id, range).await.unwrap().try_collect().await.unwrap()
}

async fn a_blob_comes_back_as_it_was(area: Arc<dyn StorageArea>) {
    for size in [0, 1, 4096, PIECE, 3 * PIECE + 1] {
        let (id, bytes) = (AttachmentId::random(), pattern(size));
        area.put(id, bytes.clone()).await.unwrap();
        assert!(area.read(id, None).await.unwrap() == bytes, "{size}");
        assert!(whole_stream(&*area, id, 0..size as u64).await.concat() == bytes, "{size}");
    }
}

async fn a_written_blob_comes_back_as_it_was(area: Arc<dyn StorageArea>) {
    for (size, chunk) in [(0, 1), (1, 1), (100_000, 1000), (PIECE, PIECE), (2_000_001, 16_381), (5_000_000, 1_000_000)] {
        let (id, bytes) = (AttachmentId::random(), pattern(size));
        let mut writer = area.create(id).await.unwrap();
        for at in (0..size).step_by(chunk) {
            writer.write(bytes.slice(at..size.min(at + chunk))).await.unwrap();
        }
        writer.finish().await.unwrap();
        assert!(area.read(id, None).await.unwrap() == bytes, "{size} by {chunk}");
    }
}

async fn ranges_are_cut_at_the_end_of_the_blob(area: Arc<dyn StorageArea>) {
    let (id, bytes) = (AttachmentId::random(), pattern(1000));
    area.put(id, bytes.clone()).await.unwrap();
    for (range, expected) in [
        (0..1000, 0..1000),
        (10..20, 10..20),
        (990..5000, 990..1000),
        (0..u64::MAX, 0..1000),
        (1000..1001, 0..0),
        (u64::MAX - 1..u64::MAX, 0..0),
        (7..7, 0..0),
    ] {
        let expected = bytes.slice(expected);
        assert_eq!(area.read(id, Some(range.clone())).await.unwrap(), expected, "{range:?}");
        assert_eq!(whole_stream(&*area, id, range.clone()).await.concat(), expected, "{range:?}");
    }
}

async fn pieces_are_bounded_and_in_order(area: Arc<dyn StorageArea>) {
    let (id, bytes) = (AttachmentId::random(), pattern(5 * PIECE + 77));
    area.put(id, bytes.clone()).await.unwrap();
    let pieces = whole_stream(&*area, id, 13..u64::MAX).await;
    assert!(pieces.iter().all(|p| !p.is_empty() && p.len() <= PIECE));
    assert!(pieces.concat() == bytes.slice(13..));
}

async fn a_missing_blob_is_named(area: Arc<dyn StorageArea>) {
    let id = AttachmentId::random();
    let errors = [area.read(id, None).await.err(), area.read(id, Some(0..0)).await.err(), area.stream(id, 0..1).await.err()]
        .map(|e| e.unwrap());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InexistentFile);
        assert!(error.to_string().contains(&id.to_string()));
    }
}

async fn a_blob_is_never_overwritten(area: Arc<dyn StorageArea>) {
    let (id, bytes) = (AttachmentId::random(), pattern(100));
    area.put(id, bytes.clone()).await.unwrap();
    assert_eq!(area.put(id, pattern(10)).await.unwrap_err().kind(), ErrorKind::CannotWrite);
    let mut writer = area.create(id).await.unwrap();
    writer.write(pattern(10)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::CannotWrite);
    let mut writer = area.create(id).await.unwrap();
    let _ = writer.write(pattern(2 * PIECE)).await;
    writer.discard().await;
    assert_eq!(area.read(id, None).await.unwrap(), bytes);
}

async fn removal_is_idempotent(area: Arc<dyn StorageArea>) {
    let id = AttachmentId::random();
    area.remove(id).await.unwrap();
    area.put(id, pattern(5)).await.unwrap();
    area.remove(id).await.unwrap();
    assert_eq!(area.read(id, None).await.unwrap_err().kind(), ErrorKind::InexistentFile);
    area.remove(id).await.unwrap();
}

async fn a_discarded_blob_is_gone(area: Arc<dyn StorageArea>) {
    for size in [0, 100, 3 * PIECE] {
        let id = AttachmentId::random();
        let mut writer = area.create(id).await.unwrap();
        writer.write(pattern(size)).await.unwrap();
        writer.discard().await;
        assert_eq!(area.read(id, None).await.unwrap_err().kind(), ErrorKind::InexistentFile);
        area.put(id, pattern(1)).await.unwrap();
    }
}

async fn an_abandoned_blob_goes_and_its_name_is_free(area: Arc<dyn StorageArea>) {
    let id = AttachmentId::random();
    let mut writer = area.create(id).await.unwrap();
    writer.write(pattern(3 * PIECE)).await.unwrap();
    drop(writer);
    // The removal runs in the background, perhaps after a write that had not begun yet: only a name that can be taken again
    // shows that both have ended. At most ten seconds.
    for _ in 0..1000 {
        if area.put(id, pattern(1)).await.is_ok() {
            return assert_eq!(area.read(id, None).await.unwrap(), pattern(1));
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the abandoned blob is still there");
}

async fn neighbours_come_and_go_in_one_folder(area: Arc<dyn StorageArea>) {
    let block = AttachmentId::random().0;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let area = area.clone();
            tokio::spawn(async move {
                for round in 0..30 {
                    let (id, bytes) = (crate::in_block(block), pattern(task * 100 + round));
                    if round % 2 == 0 {
                        area.put(id, bytes.clone()).await.unwrap();
                    } else {
                        let mut writer = area.create(id).await.unwrap();
                        writer.write(bytes.clone()).await.unwrap();
                        writer.finish().await.unwrap();
                    }
                    assert_eq!(area.read(id, None).await.unwrap(), bytes);
                    area.remove(id).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn one_name_is_won_by_one_writer(area: Arc<dyn StorageArea>) {
    let id = AttachmentId::random();
    let tasks: Vec<_> = (1..=8)
        .map(|n| {
            let area = area.clone();
            tokio::spawn(async move { area.put(id, pattern(n)).await.is_ok().then_some(n) })
        })
        .collect();
    let mut won = vec![];
    for task in tasks {
        won.extend(task.await.unwrap());
    }
    assert_eq!(won.len(), 1);
    assert_eq!(area.read(id, None).await.unwrap(), pattern(won[0]));
}
