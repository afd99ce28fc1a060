//! Storing one DICOM instance: one use case for every door.
//!
//! Bytes arrive in pieces. Small objects stay in memory until they are complete; larger ones go to the storage area while
//! they arrive, and only the header is kept. The blob is durable before the row, the row before the answer.

use crate::blobs::NewBlob;
use crate::describe::{Description, describe};
use crate::digests::Checksum;
use crate::engine::Metrics;
use crate::{Ctx, Engine, sweeps, zlib};
use bytes::{Bytes, BytesMut};
use dataset::{Completeness, DataSet, Header, PixelScanner, ReadError, read_header};
use model::instance::InstanceIds;
use model::ports::BlobWriter;
use model::ports::hooks::{Incoming, Verdict};
use model::{
    Attachment, AttachmentId, ContentType, Error, ErrorKind, MetadataKind, NewInstance, RequestOrigin, Result, StoreStatus, tags,
    time,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects up to this size are written in one go when they are complete.
const IN_MEMORY_BYTES: usize = 1 << 20;

/// What a door learns about an instance that it stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOutcome {
    pub status: StoreStatus,
    pub ids: InstanceIds,
    /// The C-STORE status (PS3.7 C) that a script chose for an instance that it refused, or 0.
    pub dimse_status: u16,
}

/// Stores an object that is in memory.
///
/// # Errors
/// As [`Ingest::finish`].
pub async fn store(eng: &Arc<Engine>, ctx: &Ctx, dicom: Bytes) -> Result<StoreOutcome> {
    let mut ingest = begin(eng, ctx, dicom.len() as u64);
    ingest.write(dicom).await?;
    ingest.finish().await
}

/// Begins to store an object whose bytes arrive in pieces, probably `expected_bytes` of them; 0 if nobody knows.
pub fn begin(eng: &Arc<Engine>, ctx: &Ctx, expected_bytes: u64) -> Ingest {
    Ingest {
        eng: eng.clone(),
        ctx: ctx.clone(),
        head: BytesMut::with_capacity(expected_bytes.min(IN_MEMORY_BYTES as u64) as usize),
        parse_at: 0,
        header: None,
        scanner: None,
        checksum: Checksum::default(),
        size_bytes: 0,
        blob: None,
        announced: None,
    }
}

/// An object on its way in. Dropping it gives it up; what was written is an orphan until the next sweep.
pub struct Ingest {
    eng: Arc<Engine>,
    ctx: Ctx,
    /// All bytes while the object is small, then the header's bytes until it is parsed.
    head: BytesMut,
    /// Length of `head` at which parsing is tried next.
    parse_at: usize,
    header: Option<Header>,
    scanner: Option<PixelScanner>,
    checksum: Checksum,
    size_bytes: u64,
    /// The blob, once the object is too large for memory.
    blob: Option<(AttachmentId, Box<dyn BlobWriter>)>,
    /// SOP class and instance UID that the data set must have.
    announced: Option<(String, String)>,
}

impl Ingest {
    /// Says which SOP class and instance the sender announced: [`Self::finish`] refuses another one as `SopClassMismatch`.
    pub fn expect(&mut self, sop_class: &str, sop_instance: &str) {
        self.announced = Some((sop_class.to_owned(), sop_instance.to_owned()));
    }

    /// Appends bytes of the DICOM file (PS3.10 7). Waits while the storage area is slow.
    ///
    /// # Errors
    /// `BadDicom`, `StorageFull`, `CannotWrite`, `ReadOnly`. The ingest is then useless: call [`Self::discard`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.eng.writable()?;
        self.checksum.update(&bytes);
        self.size_bytes += bytes.len() as u64;
        if self.blob.is_none() {
            self.head.extend_from_slice(&bytes);
            return if self.head.len() > IN_MEMORY_BYTES { self.spill().await } else { Ok(()) };
        }
        self.look_at(&bytes)?;
        if let Some((_, writer)) = &mut self.blob {
            writer.write(bytes).await?;
        }
        Ok(())
    }

    /// Moves from memory to a blob.
    async fn spill(&mut self) -> Result<()> {
        let all = self.head.split().freeze();
        self.look_at(&all)?;
        let id = self.eng.blobs.take().await?;
        let mut writer = self.eng.storage.create(id).await?;
        writer.write(all).await?;
        self.blob = Some((id, writer));
        Ok(())
    }

    /// Collects bytes until the header is complete, then follows the pixel data.
    fn look_at(&mut self, bytes: &Bytes) -> Result<()> {
        if self.header.is_some() {
            if let Some(scanner) = &mut self.scanner {
                scanner.feed(bytes);
            }
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        if self.head.len() < self.parse_at {
            return Ok(());
        }
        let options = self.eng.read_options();
        // A copy, because the header keeps slices of what it is read from; it happens a few times per object.
        let head = Bytes::copy_from_slice(&self.head);
        match read_header(head, Completeness::Prefix, &options) {
            Ok(header) => self.follow(header),
            Err(ReadError::Incomplete { .. }) if self.head.len() <= options.max_header_bytes => {
                self.parse_at = self.head.len() * 2;
                Ok(())
            }
            Err(error) => Err(bad_dicom(error)),
        }
    }

    fn follow(&mut self, header: Header) -> Result<()> {
        self.scanner = PixelScanner::new(&header);
        let start = header.pixel.as_ref().and_then(|p| p.value_offset).unwrap_or(u64::MAX) as usize;
        if let (Some(scanner), Some(rest)) = (&mut self.scanner, self.head.get(start..)) {
            scanner.feed(rest);
        }
        self.header = Some(header);
        self.head = BytesMut::new();
        Ok(())
    }

    /// Stores what was written: parses it, asks the scripts, makes the blob durable, commits the row.
    ///
    /// # Errors
    /// `BadDicom` if it is no DICOM object or lacks a UID, `StorageFull`, `Busy`, `DatabaseUnavailable`. All are safe to retry:
    /// storing twice is storing once.
    pub async fn finish(mut self) -> Result<StoreOutcome> {
        let outcome = self.complete().await;
        let metrics = &self.eng.metrics;
        match &outcome {
            Ok(o) if o.status == StoreStatus::Success => {
                Metrics::add(&metrics.stored, 1);
                Metrics::add(&metrics.received_bytes, self.size_bytes);
            }
            Ok(_) => Metrics::add(&metrics.already_stored, 1),
            Err(_) => Metrics::add(&metrics.store_failures, 1),
        }
        outcome
    }

    async fn complete(&mut self) -> Result<StoreOutcome> {
        let whole = self.blob.is_none().then(|| self.head.split().freeze());
        let header = match self.take_header(whole.as_ref()) {
            Ok(header) => header,
            Err(error) => {
                self.remove_blob().await;
                return Err(error);
            }
        };
        let described = describe(&self.eng, &header).and_then(|d| self.check_announced(&header.dataset).map(|()| d));
        let description = match described {
            Ok(description) => description,
            Err(error) => {
                self.remove_blob().await;
                return Err(error);
            }
        };
        let verdict = self.eng.hooks.received_instance(&self.incoming(&header)).await;
        if !matches!(verdict, Ok(Verdict::Accept)) {
            self.remove_blob().await;
            let dimse_status = if let Ok(Verdict::Refuse(status)) = verdict { status } else { 0 };
            return verdict.map(|_| StoreOutcome { status: StoreStatus::FilteredOut, ids: description.ids, dimse_status });
        }
        let blob = self.make_durable(whole).await?;
        let id = blob.id;
        let new = self.new_instance(description, &header, blob);
        let stored = match self.eng.index.store_instance(new).await {
            Ok(stored) => stored,
            Err(error) => {
                sweeps::refused(&self.eng, id, &error).await;
                return Err(error);
            }
        };
        if !stored.keeps_blob {
            sweeps::discard(&self.eng, id).await;
        }
        if stored.recycled > 0 {
            recycled(&self.eng, stored.recycled).await;
        }
        Ok(StoreOutcome { status: stored.status, ids: stored.ids, dimse_status: 0 })
    }

    fn incoming<'a>(&'a self, header: &'a Header) -> Incoming<'a> {
        Incoming {
            header: &header.dataset,
            origin: &self.ctx.origin,
            transfer_syntax: header.transfer_syntax.uid(),
            has_pixel_data: header.pixel.is_some(),
        }
    }

    fn check_announced(&self, data: &DataSet) -> Result<()> {
        let Some((sop_class, sop_instance)) = &self.announced else { return Ok(()) };
        let is = |tag, announced: &str| data.text(tag).unwrap_or_default().trim() == announced;
        if is(tags::SOP_CLASS_UID, sop_class) && is(tags::SOP_INSTANCE_UID, sop_instance) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::SopClassMismatch, "the data set has another SOP class or instance than announced"))
    }

    fn take_header(&mut self, whole: Option<&Bytes>) -> Result<Header> {
        if let Some(header) = self.header.take() {
            return Ok(header);
        }
        let bytes = whole.cloned().unwrap_or_else(|| self.head.split().freeze());
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::BadDicom, "the file is empty"));
        }
        let header = read_header(bytes.clone(), Completeness::Whole, &self.eng.read_options()).map_err(bad_dicom)?;
        self.scanner = PixelScanner::new(&header);
        let start = header.pixel.as_ref().and_then(|p| p.value_offset).unwrap_or(u64::MAX) as usize;
        if let (Some(scanner), Some(rest)) = (&mut self.scanner, bytes.get(start..)) {
            scanner.feed(rest);
        }
        Ok(header)
    }

    /// The file at rest. Nothing refers to its blob yet.
    async fn make_durable(&mut self, whole: Option<Bytes>) -> Result<Attachment> {
        let (eng, checksum) = (&self.eng, self.checksum.value());
        match self.blob.take() {
            Some((id, writer)) => {
                writer.finish().await?;
                zlib::at_rest(eng, NewBlob { id, size_bytes: self.size_bytes, checksum }, ContentType::DICOM).await
            }
            None => zlib::put(eng, whole.unwrap_or_default(), checksum, ContentType::DICOM).await,
        }
    }

    fn new_instance(&mut self, description: Description, header: &Header, blob: Attachment) -> NewInstance {
        let layout = self.scanner.take().map(PixelScanner::finish);
        NewInstance {
            ids: description.ids,
            expected_instances: description.expected_instances,
            index_in_series: description.index_in_series,
            metadata: self.with_origin(description.metadata),
            tags: description.tags,
            sop_class_uid: description.sop_class_uid,
            transfer_syntax_uid: header.transfer_syntax.uid().to_owned(),
            origin: self.ctx.origin.clone(),
            blob,
            pixel_offset: header.pixel.as_ref().and_then(|p| p.offset),
            tail_offset: layout.and_then(|l| l.tail_offset),
            overwrite: self.eng.config.overwrite,
        }
    }

    /// Adds what Orthanc records of the sender and the moment.
    fn with_origin(&self, of_file: [BTreeMap<MetadataKind, Option<String>>; 4]) -> [BTreeMap<MetadataKind, String>; 4] {
        use MetadataKind as M;
        let origin = &self.ctx.origin;
        let mut levels = of_file.map(|all| all.into_iter().filter_map(|(kind, value)| Some((kind, value?))).collect());
        let [_, _, series, instance]: &mut [BTreeMap<MetadataKind, String>; 4] = &mut levels;
        // Orthanc: it is there, and empty, for other doors than DICOM too.
        series.insert(M::REMOTE_AET, origin.remote_aet.clone());
        instance.insert(M::REMOTE_AET, origin.remote_aet.clone());
        if origin.door != RequestOrigin::DicomProtocol {
            instance.insert(M::HTTP_USERNAME, origin.http_user.clone());
        }
        for (kind, value) in [
            (M::RECEPTION_DATE, time::now_iso().as_str()),
            (M::ORIGIN, origin.door.name()),
            (M::REMOTE_IP, &origin.remote_ip),
            (M::CALLED_AET, &origin.called_aet),
        ] {
            if !value.is_empty() {
                instance.insert(kind, value.to_owned());
            }
        }
        levels
    }

    async fn remove_blob(&mut self) {
        if let Some((id, writer)) = self.blob.take() {
            writer.discard().await;
            sweeps::discard(&self.eng, id).await;
        }
    }

    /// Gives up and removes what was written.
    pub async fn discard(mut self) {
        self.remove_blob().await;
    }
}

/// Removes the files of patients that made room.
async fn recycled(eng: &Engine, patients: u32) {
    Metrics::add(&eng.metrics.recycled, u64::from(patients));
    tracing::info!(patients, "recycled, because the storage is full (MaximumStorageSize, MaximumPatientCount)");
    if let Err(error) = sweeps::deleted(eng).await {
        tracing::warn!(error = %error, "blobs of recycled patients remain for the next sweep");
    }
}

fn bad_dicom(error: ReadError) -> Error {
    Error::new(ErrorKind::BadDicom, error.to_string())
}
