//! An engine to be used, files to store in it, and a storage area that fails on request.

use async_trait::async_trait;
use bytes::Bytes;
use dataset::Tag;
use engine::{Ctx, Engine, EngineConfig, Parts};
use futures_util::stream::BoxStream;
use model::instance::InstanceIds;
use model::ports::hooks::NoHooks;
use model::ports::http::NoHttp;
use model::ports::{BlobWriter, Index, StorageArea};
use model::{AttachmentId, Fields, FindRequest, Level, OrthancId, Resource, Result, tags};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// An engine with its parts at hand.
pub struct Lab {
    pub eng: Arc<Engine>,
    pub index: Arc<dyn Index>,
    pub storage: Arc<Spied>,
    _folder: tempfile::TempDir,
}

impl Lab {
    pub async fn new() -> Self {
        Self::with(EngineConfig::default()).await
    }

    pub async fn with(config: EngineConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            index::sqlite::Options { stable_age: Duration::from_secs(3600), readers: 2, ..index::sqlite::Options::default() };
        let index: Arc<dyn Index> = index::sqlite::open(&folder.path().join("index"), options).unwrap();
        let storage = Arc::new(Spied::new(storage::open(storage::StorageConfig::Memory).await.unwrap()));
        let parts =
            Parts { index: index.clone(), storage: storage.clone(), hooks: Arc::new(NoHooks), http: Arc::new(NoHttp), config };
        Self { eng: Arc::new(Engine::new(parts)), index, storage, _folder: folder }
    }

    /// Another process with the same index and storage area.
    pub fn other(&self, config: EngineConfig) -> Engine {
        let (index, storage) = (self.index.clone(), self.storage.clone());
        Engine::new(Parts { index, storage, hooks: Arc::new(NoHooks), http: Arc::new(NoHttp), config })
    }

    /// Stores a file.
    pub async fn store(&self, file: impl Into<Bytes>) -> InstanceIds {
        engine::store::store(&self.eng, &Ctx::default(), file.into()).await.unwrap().ids
    }

    /// An instance with its file.
    pub async fn instance(&self, id: OrthancId) -> Resource {
        self.index.find(&FindRequest::one(Level::Instance, id, Fields::ALL)).await.unwrap().remove(0)
    }

    /// Replaces the stored bytes of an instance, or removes them.
    pub async fn damage(&self, id: OrthancId, bytes: Option<Bytes>) {
        let blob = self.instance(id).await.attachments[0].id;
        self.storage.remove(blob).await.unwrap();
        if let Some(bytes) = bytes {
            self.storage.put(blob, bytes).await.unwrap();
        }
    }
}

/// A DICOM file in Explicit VR Little Endian: the patient `P`, the study `1.1`, the series `1.1.1`, unless told otherwise.
#[derive(Clone)]
pub struct File {
    values: Vec<(Tag, [u8; 2], String)>,
    pixels: Bytes,
    syntax: &'static str,
}

impl File {
    pub fn new(sop: &str) -> Self {
        let mut file = Self { values: vec![], pixels: Bytes::new(), syntax: EXPLICIT };
        for (tag, vr, value) in [
            (tags::SOP_CLASS_UID, b"UI", CT),
            (tags::SOP_INSTANCE_UID, b"UI", sop),
            (tags::MODALITY, b"CS", "CT"),
            (tags::PATIENT_ID, b"LO", "P"),
            (tags::STUDY_INSTANCE_UID, b"UI", "1.1"),
            (tags::SERIES_INSTANCE_UID, b"UI", "1.1.1"),
        ] {
            file.values.push((tag, *vr, value.to_owned()));
        }
        file
    }

    pub fn with(mut self, tag: Tag, vr: &[u8; 2], value: &str) -> Self {
        self.values.retain(|(t, ..)| *t != tag);
        self.values.push((tag, *vr, value.to_owned()));
        self
    }

    pub fn number(self, number: &str) -> Self {
        self.with(tags::INSTANCE_NUMBER, b"IS", number)
    }

    pub fn series(self, patient: &str, study: &str, series: &str) -> Self {
        self.with(tags::PATIENT_ID, b"LO", patient).with(tags::STUDY_INSTANCE_UID, b"UI", study).with(
            tags::SERIES_INSTANCE_UID,
            b"UI",
            series,
        )
    }

    pub fn pixels(mut self, pixels: impl Into<Bytes>) -> Self {
        self.pixels = pixels.into();
        self
    }

    pub fn syntax(mut self, uid: &'static str) -> Self {
        self.syntax = uid;
        self
    }

    pub fn bytes(&self) -> Bytes {
        let mut sorted = self.values.clone();
        sorted.sort_by_key(|(tag, ..)| (tag.0, tag.1));
        let mut meta = vec![];
        put(&mut meta, Tag(2, 0x10), *b"UI", self.syntax.as_bytes());
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        put(&mut file, Tag(2, 0), *b"UL", &(meta.len() as u32).to_le_bytes());
        file.extend(meta);
        sorted.iter().for_each(|(tag, vr, value)| put(&mut file, *tag, *vr, value.as_bytes()));
        if !self.pixels.is_empty() {
            file.extend(b"\xe0\x7f\x10\x00OB\0\0");
            file.extend((self.pixels.len() as u32).to_le_bytes());
            file.extend(&self.pixels);
        }
        file.into()
    }
}

impl From<File> for Bytes {
    fn from(file: File) -> Self {
        file.bytes()
    }
}

fn put(out: &mut Vec<u8>, tag: Tag, vr: [u8; 2], value: &[u8]) {
    let pad = if matches!(&vr, b"UI" | b"UL") { 0 } else { b' ' };
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(2), pad);
    out.extend([tag.0.to_le_bytes(), tag.1.to_le_bytes(), vr].concat());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
}

/// Bytes that no packer can shrink, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A storage area that counts what is read from it.
pub struct Spied {
    area: Arc<dyn StorageArea>,
    reading: AtomicUsize,
    pub most_reads_at_once: AtomicUsize,
    pub read_bytes: AtomicU64,
    /// Blobs that were begun with [`StorageArea::create`].
    pub begun: Mutex<Vec<AttachmentId>>,
}

impl Spied {
    fn new(area: Arc<dyn StorageArea>) -> Self {
        let none = AtomicUsize::default;
        Self { area, reading: none(), most_reads_at_once: none(), read_bytes: AtomicU64::default(), begun: Mutex::default() }
    }
}

#[async_trait]
impl StorageArea for Spied {
    async fn create(&self, id: AttachmentId) -> Result<Box<dyn BlobWriter>> {
        self.begun.lock().unwrap().push(id);
        self.area.create(id).await
    }

    async fn put(&self, id: AttachmentId, bytes: Bytes) -> Result<()> {
        self.area.put(id, bytes).await
    }

    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        let now = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_reads_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let bytes = self.area.read(id, range).await;
        self.reading.fetch_sub(1, Ordering::SeqCst);
        self.read_bytes.fetch_add(bytes.as_ref().map_or(0, |b| b.len() as u64), Ordering::SeqCst);
        bytes
    }

    async fn stream(&self, id: AttachmentId, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.area.stream(id, range).await
    }

    async fn remove(&self, id: AttachmentId) -> Result<()> {
        self.area.remove(id).await
    }
}
