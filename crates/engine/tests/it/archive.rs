//! The bytes of archives: every reader takes them, they hold what was stored, and failures are said.

use crate::support::{File, Lab, noise};
use bytes::Bytes;
use engine::Ctx;
use engine::archive::{self, Characters, Layout, Progress, Request};
use futures_util::{StreamExt, TryStreamExt};
use model::instance::InstanceIds;
use model::ports::StorageArea;
use model::{Error, ErrorKind, Level, Result, tags};
use std::io::{Cursor, Read};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
use zip::CompressionMethod::{Deflated, Stored};

impl Lab {
    /// An archive of one study with what was reported on the way.
    async fn zip(&self, ids: InstanceIds, cancel: &CancellationToken) -> (Vec<Progress>, Result<Vec<u8>>) {
        let resources = vec![(Level::Study, ids.study)];
        let request = Request { resources, layout: Layout::Folders(Characters::Utf8), transcode: None };
        let plan = archive::plan(&self.eng, &Ctx::default(), &request).await.unwrap();
        let reports = Arc::new(Mutex::new(vec![]));
        let report = {
            let reports = reports.clone();
            move |progress| reports.lock().unwrap().push(progress)
        };
        let stream = archive::stream(&self.eng, &Ctx::default(), plan, report, cancel.clone());
        let bytes = stream.try_fold(vec![], async |mut all, piece| {
            assert!(piece.len() < 2 << 20, "a piece of {} bytes", piece.len());
            all.extend_from_slice(&piece);
            Ok(all)
        });
        let bytes = bytes.await;
        (reports.lock().unwrap().clone(), bytes)
    }

    async fn zip_of(&self, ids: InstanceIds) -> Result<Vec<u8>> {
        self.zip(ids, &CancellationToken::new()).await.1
    }

    async fn failure(&self, ids: InstanceIds) -> Error {
        self.zip_of(ids).await.unwrap_err()
    }
}

/// Names and contents, read by the directory.
fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut all = vec![];
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let mut content = vec![];
        entry.read_to_end(&mut content).unwrap();
        all.push((entry.name().unwrap().into_owned(), content));
    }
    all
}

fn text(len: usize) -> Vec<u8> {
    b"DICOM pixels that shrink well: 0123456789. ".iter().copied().cycle().take(len).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_back_as_they_were_stored() {
    let lab = Lab::new().await;
    let mut files = vec![];
    let sizes = [0, 2, 70_000, 1 << 20, (1 << 20) + 2, 3 << 20, 3_500_000];
    for (n, size) in sizes.into_iter().enumerate() {
        for (kind, pixels) in [text(size), noise(size, n as u64), [text(size / 2 / 2 * 2), noise(size / 2 / 2 * 2, 7)].concat()]
            .into_iter()
            .enumerate()
        {
            let file = File::new(&format!("1.{n}.{kind}")).number(&(n * 3 + kind).to_string()).pixels(pixels);
            files.push(file.with(tags::PATIENT_NAME, b"PN", "M\u{fc}ller").bytes());
        }
    }
    let mut ids = None;
    for file in files.iter().rev() {
        ids = Some(lab.store(file.clone()).await);
    }
    let (reports, bytes) = lab.zip(ids.unwrap(), &CancellationToken::new()).await;
    let bytes = bytes.unwrap();
    let found = unzip(&bytes);
    assert_eq!(found.len(), files.len());
    for (n, ((name, content), file)) in found.iter().zip(&files).enumerate() {
        assert!(content == file, "{name} of {} bytes", file.len());
        assert!(name.ends_with(&format!("/CT{n:06}.dcm")), "{name}");
    }
    let total: usize = files.iter().map(Bytes::len).sum();
    let end = Progress { instances: files.len() as u64, bytes: total as u64, archive_bytes: bytes.len() as u64 };
    assert_eq!(reports.last(), Some(&end));
    assert!(reports.is_sorted_by(|a, b| a.archive_bytes < b.archive_bytes && a.bytes <= b.bytes));
    // What shrinks is deflated, what does not is stored if it is small enough to know its size before.
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let mut method = |n: usize| archive.by_index(n).unwrap().compression();
    assert_eq!((method(2 * 3), method(2 * 3 + 1)), (Deflated, Stored));
    assert_eq!((method(5 * 3), method(5 * 3 + 1)), (Deflated, Deflated));
    assert!(bytes.len() < total * 2 / 3, "{} of {total}", bytes.len());
    assert!(lab.storage.most_reads_at_once.load(Ordering::SeqCst) > 1, "files are read ahead");
}

/// Who reads a stream cannot look at the directory: what stands in front of each file must be enough.
#[tokio::test]
async fn a_stream_can_be_read_from_front_to_back() {
    let lab = Lab::new().await;
    let files = [File::new("1.1").number("1").pixels(noise(100_000, 1)), File::new("1.2").number("2").pixels(text(100_000))];
    let mut ids = None;
    for file in &files {
        ids = Some(lab.store(file.clone()).await);
    }
    let bytes = lab.zip_of(ids.unwrap()).await.unwrap();
    let mut stream = Cursor::new(&bytes);
    for file in &files {
        let mut entry = zip::read::read_zipfile_from_stream(&mut stream).unwrap().unwrap();
        let mut content = vec![];
        entry.read_to_end(&mut content).unwrap();
        assert!(content == file.bytes());
    }
    assert!(zip::read::read_zipfile_from_stream(&mut stream).unwrap().is_none());
}

#[tokio::test]
async fn missing_and_damaged_files_end_the_archive_with_the_name_of_the_instance() {
    for size in [1000, 2_500_000] {
        let lab = Lab::new().await;
        let file = File::new("1.2").pixels(text(size));
        let ids = lab.store(file.clone()).await;
        lab.store(File::new("1.1")).await;
        let good = file.bytes();
        let mut flipped = good.to_vec();
        flipped[size / 2] ^= 1;
        for (damage, kind, word) in [
            (None, ErrorKind::InexistentFile, "missing"),
            (Some(good.slice(..size / 2)), ErrorKind::Corrupted, "bytes"),
            (Some([&good[..], b"more"].concat().into()), ErrorKind::Corrupted, "at least"),
            (Some(Bytes::new()), ErrorKind::Corrupted, "0 bytes"),
            (Some(flipped.into()), ErrorKind::Corrupted, "checksum"),
        ] {
            lab.damage(ids.instance, damage).await;
            let error = lab.failure(ids).await;
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(&ids.instance.to_string()) && error.message().contains(word), "{error}");
        }
        lab.damage(ids.instance, Some(good)).await;
        assert_eq!(unzip(&lab.zip_of(ids).await.unwrap()).len(), 2);
    }
}

#[tokio::test]
async fn instances_that_are_deleted_or_replaced_meanwhile() {
    for size in [1000, 2_500_000] {
        let lab = Lab::new().await;
        let kept = lab.store(File::new("1.1").number("1")).await;
        let gone = lab.store(File::new("1.2").number("2").pixels(text(size))).await;
        let old = File::new("1.3").number("3").pixels(text(size));
        let replaced = lab.store(old.clone()).await;
        let resources = vec![(Level::Study, kept.study)];
        let request = Request { resources, layout: Layout::Folders(Characters::Ascii), transcode: None };
        let plan = archive::plan(&lab.eng, &Ctx::default(), &request).await.unwrap();
        engine::delete::delete(&lab.eng, &Ctx::default(), Level::Instance, gone.instance).await.unwrap();
        engine::delete::delete(&lab.eng, &Ctx::default(), Level::Instance, replaced.instance).await.unwrap();
        let new = old.pixels(noise(size + 2, 5));
        lab.store(new.clone()).await;
        let stream = archive::stream(&lab.eng, &Ctx::default(), plan, |_| {}, CancellationToken::new());
        let found = unzip(&stream.map_ok(|b| b.to_vec()).try_concat().await.unwrap());
        assert_eq!(found.len(), 2, "the deleted one is left out");
        assert!(found[1].1 == new.bytes(), "the new file is there");
    }
}

#[tokio::test]
async fn a_cancel_stops_at_once() {
    let lab = Lab::new().await;
    let mut ids = None;
    for n in 0..100 {
        ids = Some(lab.store(File::new(&format!("1.{n}")).pixels(noise(100_000, n))).await);
    }
    let cancel = CancellationToken::new();
    cancel.cancel();
    let (reports, result) = lab.zip(ids.unwrap(), &cancel).await;
    assert_eq!((reports.len(), result.unwrap_err().kind()), (0, ErrorKind::Canceled));
    let request = Request {
        resources: vec![(Level::Study, ids.unwrap().study)],
        layout: Layout::Folders(Characters::Ascii),
        transcode: None,
    };
    let plan = archive::plan(&lab.eng, &Ctx::default(), &request).await.unwrap();
    let cancel = CancellationToken::new();
    let mut stream = archive::stream(&lab.eng, &Ctx::default(), plan, |_| {}, cancel.clone());
    for _ in 0..9 {
        stream.next().await.unwrap().unwrap();
    }
    cancel.cancel();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Canceled);
    assert!(stream.next().await.is_none());
    let read = lab.storage.read_bytes.load(Ordering::SeqCst);
    assert!(read < 60 * 100_000, "only what was soon needed was read: {read} bytes");
}

#[tokio::test]
async fn an_archive_is_kept_as_a_blob_or_leaves_nothing() {
    let lab = Lab::new().await;
    let ids = lab.store(File::new("1.1").pixels(text(500_000))).await;
    let request =
        Request { resources: vec![(Level::Patient, ids.patient)], layout: Layout::Folders(Characters::Ascii), transcode: None };
    let plan = archive::plan(&lab.eng, &Ctx::default(), &request).await.unwrap();
    assert_eq!((plan.instances(), plan.size_bytes()), (1, lab.instance(ids.instance).await.size_bytes));
    let stream = || archive::stream(&lab.eng, &Ctx::default(), plan.clone(), |_| {}, CancellationToken::new());
    let blob = archive::into_blob(&lab.eng, stream()).await.unwrap();
    let bytes = lab.storage.read(blob.id, None).await.unwrap();
    assert_eq!(bytes.len() as u64, blob.size_bytes);
    assert_eq!(unzip(&bytes).len(), 1);
    lab.damage(ids.instance, None).await;
    assert_eq!(archive::into_blob(&lab.eng, stream()).await.unwrap_err().kind(), ErrorKind::InexistentFile);
    let begun = lab.storage.begun.lock().unwrap().clone();
    assert_eq!(begun.len(), 2);
    assert_eq!(lab.storage.read(begun[1], None).await.unwrap_err().kind(), ErrorKind::InexistentFile, "nothing is left");
}

#[tokio::test]
async fn an_empty_archive_is_one() {
    let lab = Lab::new().await;
    let request = Request { resources: vec![], layout: Layout::Folders(Characters::Ascii), transcode: None };
    let plan = archive::plan(&lab.eng, &Ctx::default(), &request).await.unwrap();
    let stream = archive::stream(&lab.eng, &Ctx::default(), plan, |_| {}, CancellationToken::new());
    let bytes: Vec<u8> = stream.map_ok(|b| b.to_vec()).try_concat().await.unwrap();
    assert_eq!((bytes.len(), unzip(&bytes).len()), (22, 0));
}
