//! What only a folder can get wrong.

use crate::suite::pattern;
use futures_util::TryStreamExt;
use model::ports::StorageArea;
use model::{AttachmentId, ErrorKind};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use storage::{Local, LocalConfig};

async fn open(root: &Path) -> Arc<Local> {
    Arc::new(Local::open(LocalConfig { root: root.to_owned(), sync: true }).await.unwrap())
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn the_layout_is_orthancs_and_nothing_else_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let area = open(folder.path()).await;
    assert_eq!(entries(folder.path()), 0);
    let id: AttachmentId = "c0ffee00-0000-4000-8000-000000000001".parse().unwrap();
    area.put(id, pattern(9)).await.unwrap();
    let file = folder.path().join("c0/ff/c0ffee00-0000-4000-8000-000000000001");
    assert_eq!(fs::read(file).unwrap(), pattern(9));
    area.remove(id).await.unwrap();
    assert_eq!(entries(folder.path()), 0, "empty folders go with their last blob");
}

#[tokio::test]
async fn a_folder_stays_while_a_blob_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let area = open(folder.path()).await;
    let block = AttachmentId::random().0;
    let (a, b) = (crate::in_block(block), crate::in_block(block));
    area.put(a, pattern(1)).await.unwrap();
    area.put(b, pattern(2)).await.unwrap();
    area.remove(a).await.unwrap();
    assert_eq!(area.read(b, None).await.unwrap(), pattern(2));
}

#[tokio::test]
async fn nothing_is_removed_while_the_storage_area_is_away() {
    let parent = tempfile::tempdir().unwrap();
    let (root, aside) = (parent.path().join("storage"), parent.path().join("aside"));
    let area = open(&root).await;
    let id = AttachmentId::random();
    area.put(id, pattern(1)).await.unwrap();
    fs::rename(&root, &aside).unwrap();
    assert_eq!(area.remove(id).await.unwrap_err().kind(), ErrorKind::CannotWrite);
    fs::write(&root, "no folder").unwrap();
    assert_eq!(area.remove(id).await.unwrap_err().kind(), ErrorKind::CannotWrite);
    fs::remove_file(&root).unwrap();
    fs::rename(&aside, &root).unwrap();
    area.remove(id).await.unwrap();
    assert_eq!(entries(&root), 0);
}

#[tokio::test]
async fn folders_that_another_process_removed_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let area = open(folder.path()).await;
    let block = AttachmentId::random().0;
    for _ in 0..3 {
        area.put(crate::in_block(block), pattern(1)).await.unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let block = AttachmentId::random().0;
    let mut tasks = vec![];
    for _ in 0..3 {
        // Each with its own knowledge of which folders exist, as two processes would have.
        let area = open(folder.path()).await;
        for _ in 0..4 {
            let area = area.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0..100 {
                    let id = crate::in_block(block);
                    if n % 3 == 0 {
                        let mut writer = area.create(id).await.unwrap();
                        writer.write(pattern(n)).await.unwrap();
                        writer.finish().await.unwrap();
                    } else {
                        area.put(id, pattern(n)).await.unwrap();
                    }
                    assert_eq!(area.read(id, None).await.unwrap(), pattern(n));
                    area.remove(id).await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(entries(folder.path()), 0);
}

#[tokio::test]
async fn a_failed_write_leaves_no_file_and_the_writer_stays_failed() {
    let folder = tempfile::tempdir().unwrap();
    let area = open(folder.path()).await;
    let id = AttachmentId::random();
    // A file where the folder should be: nothing can be made below it.
    fs::write(folder.path().join(&id.to_string()[..2]), "in the way").unwrap();
    let mut writer = area.create(id).await.unwrap();
    writer.write(pattern(300_000)).await.unwrap();
    assert_eq!(writer.write(pattern(300_000)).await.unwrap_err().kind(), ErrorKind::CannotWrite);
    fs::remove_file(folder.path().join(&id.to_string()[..2])).unwrap();
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::CannotWrite, "half a blob must not be promised");
    assert_eq!(entries(folder.path()), 0);
    assert_eq!(area.read(id, None).await.unwrap_err().kind(), ErrorKind::InexistentFile);
}

#[tokio::test]
async fn a_root_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let Err(error) = Local::open(LocalConfig { root: file.path().to_owned(), sync: true }).await else {
        panic!("a file was taken for a folder");
    };
    assert_eq!(error.kind(), ErrorKind::CannotWrite);
    assert!(error.to_string().contains("StorageDirectory"));
}

#[tokio::test]
async fn a_blob_that_shrinks_under_its_reader_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let area = open(folder.path()).await;
    let id = AttachmentId::random();
    area.put(id, pattern(3 << 20)).await.unwrap();
    let mut stream = area.stream(id, 0..u64::MAX).await.unwrap();
    let text = id.to_string();
    let path = folder.path().join(&text[..2]).join(&text[2..4]).join(&text);
    stream.try_next().await.unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_passes_through_little_memory() {
    const SIZE: usize = 192 << 20;
    let folder = tempfile::tempdir().unwrap();
    let area = Local::open(LocalConfig { root: folder.path().to_owned(), sync: false }).await.unwrap();
    let before = crate::peak_bytes();
    let id = AttachmentId::random();
    let chunk = pattern(64 << 10);
    let mut writer = area.create(id).await.unwrap();
    for _ in 0..SIZE / chunk.len() {
        writer.write(chunk.to_vec().into()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let mut size = 0;
    let mut stream = area.stream(id, 0..u64::MAX).await.unwrap();
    while let Some(piece) = stream.try_next().await.unwrap() {
        size += piece.len();
    }
    assert_eq!(size, SIZE);
    // The other tests of this program run beside this one and use some megabytes themselves.
    let grown = crate::peak_bytes() - before;
    assert!(grown < SIZE / 2, "{grown} bytes for a blob of {SIZE}");
}
