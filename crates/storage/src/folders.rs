//! The folders of the local storage area: `ROOT/ab/cd/`, named by the first four digits of a blob's identifier (Orthanc's layout).
//!
//! A folder is made when its first blob comes and removed when its last one goes, while other threads do the same.
//! Invariant, within one process: the bit of a folder in `durable` is set only while the folder exists *and* the entries that
//! lead to it are on disk. Bits change only under the lock of their first byte. Other processes on the same storage area may
//! remove a folder under us at any time: then opening fails with "not found" (or "stale", on NFS), and the folder is made again.
//! If such a process has made the folder again itself, our bit is about the old one: the entry of the new one is on disk with
//! our file's, because file systems with a journal keep the order of what makes names, and NFS makes folders at once.

use crate::errors;
use model::{AttachmentId, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a create is tried against other processes that remove its folder again and again.
const ATTEMPTS: usize = 100;

pub(crate) struct Folders {
    root: PathBuf,
    sync: bool,
    /// One bit for each of the 65,536 folders.
    durable: Vec<AtomicU64>,
    /// One lock for each folder below the root.
    locks: Vec<Mutex<()>>,
}

impl Folders {
    /// Makes the root. `sync`: whether new entries must be on disk before a blob counts as stored.
    ///
    /// # Errors
    /// `CannotWrite` if the root cannot be made or written to; `StorageFull`.
    pub(crate) fn open(root: PathBuf, sync: bool) -> Result<Self> {
        let fail = |e| errors::writing(format!("storage folder {} (StorageDirectory)", root.display()), e);
        fs::create_dir_all(&root).map_err(fail)?;
        let probe = root.join(AttachmentId::random().to_string());
        File::create_new(&probe).map_err(fail)?;
        fs::remove_file(&probe).map_err(fail)?;
        if sync && let Some(parent) = root.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            sync_folder(parent).map_err(fail)?;
        }
        Ok(Self {
            durable: (0..1024).map(|_| AtomicU64::new(0)).collect(),
            locks: (0..256).map(|_| Mutex::new(())).collect(),
            root,
            sync,
        })
    }

    /// Where the blob lies.
    pub(crate) fn path(&self, id: AttachmentId) -> PathBuf {
        let mut path = self.folder(id);
        path.push(id.to_string());
        path
    }

    /// Creates the file of a new blob, and its folder.
    ///
    /// # Errors
    /// `CannotWrite`, also if the blob exists; `StorageFull`.
    pub(crate) fn create(&self, id: AttachmentId) -> Result<File> {
        let path = self.path(id);
        for _ in 0..ATTEMPTS {
            match File::create_new(&path) {
                Ok(file) => {
                    // The folder cannot go while our file is in it, so the bit is about this very folder.
                    if !self.is_durable(id)
                        && let Err(e) = self.make_folder(id)
                    {
                        let _ = fs::remove_file(&path);
                        return Err(e);
                    }
                    return Ok(file);
                }
                Err(e) if is_gone(&e) => self.make_folder(id)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(errors::exists(id)),
                Err(e) => return Err(errors::writing(format!("blob {id}"), e)),
            }
        }
        Err(errors::writing(format!("blob {id}"), io::Error::other("its folder is removed again and again")))
    }

    /// Puts the file's entry in its folder on disk.
    ///
    /// # Errors
    /// `CannotWrite`, `StorageFull`.
    pub(crate) fn sync_entry(&self, id: AttachmentId) -> Result<()> {
        sync_folder(&self.folder(id)).map_err(|e| errors::writing(format!("folder of blob {id}"), e))
    }

    /// Removes the blob's file, and the folders that are empty then.
    ///
    /// # Errors
    /// `CannotWrite` if the file is there and cannot be removed, or if the storage area itself is not there: then nobody knows.
    pub(crate) fn remove(&self, id: AttachmentId) -> Result<()> {
        match fs::remove_file(self.path(id)) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) && self.root.is_dir() => {
                return Ok(());
            }
            Err(e) => return Err(errors::writing(format!("removing blob {id}"), e)),
        }
        let _guard = self.lock(id);
        let (word, bit) = self.bit(id);
        let before = word.fetch_and(!bit, Ordering::AcqRel);
        let folder = self.folder(id);
        if fs::remove_dir(&folder).is_err() {
            // Not empty, as a rule: it stays as durable as it was.
            word.fetch_or(before & bit, Ordering::AcqRel);
        } else if let Some(parent) = folder.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    fn folder(&self, id: AttachmentId) -> PathBuf {
        let [first, second] = first_bytes(id);
        self.root.join(format!("{first:02x}")).join(format!("{second:02x}"))
    }

    fn make_folder(&self, id: AttachmentId) -> Result<()> {
        let _guard = self.lock(id);
        let folder = self.folder(id);
        let fail = |e| errors::writing(format!("folder {}", folder.display()), e);
        let (word, bit) = self.bit(id);
        if word.load(Ordering::Acquire) & bit != 0 && folder.is_dir() {
            return Ok(()); // another thread was faster
        }
        word.fetch_and(!bit, Ordering::AcqRel);
        let parent = folder.parent().unwrap_or(&self.root);
        match self.make_durable(parent, &folder, first_bytes(id)[0]) {
            Ok(()) => {}
            // Another process removed a folder in between. The caller tries again.
            Err(e) if is_gone(&e) && self.root.is_dir() => return Ok(()),
            Err(e) => return Err(fail(e)),
        }
        word.fetch_or(bit, Ordering::AcqRel);
        Ok(())
    }

    /// Makes `parent` and `folder` and puts their entries on disk. `first` is the byte that names `parent`.
    fn make_durable(&self, parent: &Path, folder: &Path, first: u8) -> io::Result<()> {
        let parent_is_new = make_folder_if_missing(parent)?;
        make_folder_if_missing(folder)?;
        if self.sync {
            sync_folder(parent)?;
            let words = usize::from(first) * 4;
            let parent_is_durable = self.durable[words..words + 4].iter().any(|w| w.load(Ordering::Acquire) != 0);
            if parent_is_new || !parent_is_durable {
                sync_folder(&self.root)?;
            }
        }
        Ok(())
    }

    fn is_durable(&self, id: AttachmentId) -> bool {
        let (word, bit) = self.bit(id);
        !self.sync || word.load(Ordering::Acquire) & bit != 0
    }

    fn bit(&self, id: AttachmentId) -> (&AtomicU64, u64) {
        let n = usize::from(u16::from_be_bytes(first_bytes(id)));
        (&self.durable[n / 64], 1 << (n % 64))
    }

    fn lock(&self, id: AttachmentId) -> std::sync::MutexGuard<'_, ()> {
        let lock = &self.locks[usize::from(first_bytes(id)[0])];
        lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn first_bytes(id: AttachmentId) -> [u8; 2] {
    let bytes = id.0.as_bytes();
    [bytes[0], bytes[1]]
}

/// Whether the folder of a new entry is not there (any more).
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// Returns whether the folder was missing.
fn make_folder_if_missing(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
