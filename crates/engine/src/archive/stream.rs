//! An archive as a stream of bytes, made as fast as it is taken.

use super::media::{DICOMDIR, with_directory};
use super::pack::{Packed, Place};
use super::plan::{Layout, Plan};
use super::source::{Part, parts};
use super::zip::{Sizes, ZipWriter};
use crate::{Ctx, Engine};
use bytes::Bytes;
use flate2::Crc;
use futures_util::stream::{self, BoxStream, StreamExt};
use model::{ErrorKind, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// How far an archive is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Instances whose files are in the archive, or were deleted meanwhile.
    pub instances: u64,
    /// Bytes of DICOM files that are in it (Orthanc: `UncompressedSize` at the end).
    pub bytes: u64,
    /// Bytes of the archive that were handed out (Orthanc: `ArchiveSize` at the end).
    pub archive_bytes: u64,
}

/// Writes an archive: a stream of its bytes, in pieces of at most about 1 MiB. `report` is told after each of them.
///
/// Files are read ahead and packed on all cores while the stream is asked for more; it holds at most 32 MiB, however large the
/// files are. Nothing of it is on disk. An instance that was deleted after it was planned is left out.
///
/// # Errors
/// In the stream, which ends with the first one, so that the archive lacks its directory and nobody takes it for complete:
/// `Canceled` as soon as `cancel` is; `InexistentFile` or `Corrupted`, naming the instance, if its file is missing or has
/// another size or checksum than was stored; `Busy` if a small instance was replaced by a large one.
pub fn stream(
    eng: &Arc<Engine>,
    ctx: &Ctx,
    plan: Plan,
    report: impl FnMut(Progress) + Send + 'static,
    cancel: CancellationToken,
) -> BoxStream<'static, Result<Bytes>> {
    let parts = parts(eng.clone(), ctx.clone(), plan.entries).boxed();
    let archive = Archive {
        parts: if matches!(plan.layout, Layout::Media { .. }) { with_directory(parts) } else { parts },
        zip: Some(ZipWriter::new(SystemTime::now())),
        open: None,
        ready: VecDeque::new(),
        end: None,
        progress: Progress::default(),
        report: Box::new(report),
        cancel,
    };
    stream::try_unfold(archive, Archive::next).boxed()
}

struct Archive {
    parts: BoxStream<'static, Result<Part>>,
    /// Until the directory is made.
    zip: Option<ZipWriter>,
    /// The entry that is being written in pieces: its CRC and sizes so far.
    open: Option<(Crc, Sizes)>,
    /// Bytes to be handed out.
    ready: VecDeque<Bytes>,
    end: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
    progress: Progress,
    report: Box<dyn FnMut(Progress) + Send>,
    cancel: CancellationToken,
}

impl Archive {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(ErrorKind::Canceled.into());
            }
            let bytes = self.ready.pop_front().or_else(|| self.end.as_mut()?.next());
            if let Some(bytes) = bytes {
                self.progress.archive_bytes += bytes.len() as u64;
                (self.report)(self.progress);
                return Ok(Some((bytes, self)));
            }
            let cancel = self.cancel.clone();
            match cancel.run_until_cancelled(self.parts.next()).await {
                None => return Err(ErrorKind::Canceled.into()),
                Some(Some(part)) => self.add(part?),
                Some(None) => match self.zip.take() {
                    Some(zip) => self.end = Some(Box::new(zip.finish())),
                    None => return Ok(None),
                },
            }
        }
    }

    fn add(&mut self, part: Part) {
        match part {
            Part::Piece { entry, size_bytes, place, packed, .. } => {
                self.progress.bytes += u64::from(packed.crc.amount());
                self.progress.instances += u64::from(place != Place::Inner);
                self.write(&entry.name, size_bytes, place, packed);
            }
            Part::Directory { size_bytes, place, packed } => self.write(DICOMDIR, size_bytes, place, packed),
            Part::Gone(entry) => {
                tracing::info!(instance.id = %entry.instance, "deleted while it was to be archived: it is left out");
                self.progress.instances += 1;
            }
        }
    }

    fn write(&mut self, name: &str, size_bytes: u64, place: Place, packed: Packed) {
        let Some(zip) = &mut self.zip else { return };
        let packed_len = packed.bytes.len();
        if place == Place::Whole {
            let (crc, len) = (packed.crc.sum(), packed.crc.amount());
            self.ready.push_back(zip.whole(name, packed.method, crc, len, packed_len as u32));
            self.ready.push_back(packed.bytes);
            return;
        }
        let (crc, sizes) = self.open.get_or_insert_with(|| {
            self.ready.push_back(zip.begin_entry(name, size_bytes));
            (Crc::new(), Sizes::default())
        });
        crc.combine(&packed.crc);
        sizes.crc = crc.sum();
        sizes.bytes += u64::from(packed.crc.amount());
        sizes.packed += packed_len as u64;
        self.ready.push_back(packed.bytes);
        if place == Place::Last {
            self.ready.push_back(zip.end_entry(*sizes));
            self.open = None;
        }
    }
}
