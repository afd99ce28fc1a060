//! Media: the files of an archive with a DICOMDIR behind them, which lists what was read.

use super::pack::{PIECE_BYTES, Place, pack};
use super::plan::Entry;
use super::records::Records;
use super::source::Part;
use crate::cpu;
use bytes::Bytes;
use dataset::{Directory, RecordId, WriteError};
use futures_util::stream::{self, BoxStream, StreamExt};
use model::{AttachmentId, Error, ErrorKind, OrthancId, Result};

/// The name of the directory (PS3.10 8.6).
pub(super) const DICOMDIR: &str = "DICOMDIR";
const FILE_SET_ID: &str = "PLEIAD_MEDIA";

/// Notes what passes by, and puts the directory behind it.
pub(super) fn with_directory(parts: BoxStream<'static, Result<Part>>) -> BoxStream<'static, Result<Part>> {
    stream::try_unfold(State::Start(parts), State::next).boxed()
}

enum State {
    Start(BoxStream<'static, Result<Part>>),
    Files(BoxStream<'static, Result<Part>>, FileSet),
    /// The directory, and how much of it was given away.
    Directory(Bytes, usize),
}

impl State {
    async fn next(mut self) -> Result<Option<(Part, Self)>> {
        loop {
            self = match self {
                Self::Start(parts) => Self::Files(parts, FileSet::new()?),
                Self::Files(mut parts, mut files) => match parts.next().await.transpose()? {
                    Some(mut part) => {
                        if let Part::Piece { entry, records, .. } = &mut part
                            && let Some(records) = records.take()
                        {
                            files.add(entry, *records)?;
                        }
                        return Ok(Some((part, Self::Files(parts, files))));
                    }
                    None => Self::Directory(files.directory.finish().map_err(too_large)?.into(), 0),
                },
                Self::Directory(all, from) if from < all.len() => {
                    let until = all.len().min(from + PIECE_BYTES);
                    let place = match (from, until == all.len()) {
                        (0, true) => Place::Whole,
                        (_, true) => Place::Last,
                        (_, false) => Place::Inner,
                    };
                    let (piece, size_bytes) = (all.slice(from..until), all.len() as u64);
                    let packed = cpu::run(move || Ok(pack(piece, place))).await?;
                    return Ok(Some((Part::Directory { size_bytes, place, packed }, Self::Directory(all, until))));
                }
                Self::Directory(..) => return Ok(None),
            }
        }
    }
}

/// The directory with the branch that grows: files come patient by patient, study by study, series by series.
struct FileSet {
    directory: Directory,
    /// The patient, the study and the series of the last file.
    open: [Option<(OrthancId, RecordId)>; 3],
}

impl FileSet {
    fn new() -> Result<Self> {
        // PS3.5 B.2
        let uid = format!("2.25.{}", AttachmentId::random().0.as_u128());
        let directory = Directory::new(&uid, FILE_SET_ID).map_err(too_large)?;
        Ok(Self { directory, open: [None; 3] })
    }

    fn add(&mut self, entry: &Entry, records: Records) -> Result<()> {
        let Some(media) = &entry.media else { return Ok(()) };
        let mut below = None;
        for (level, record) in records.parents.into_iter().enumerate() {
            let id = media.parents[level];
            let open = match self.open[level].filter(|(open, _)| *open == id) {
                Some((_, open)) => open,
                None => {
                    let added = self.directory.add(below, record).map_err(too_large)?;
                    self.open[level..].fill(None);
                    self.open[level] = Some((id, added));
                    added
                }
            };
            below = Some(open);
        }
        self.directory.add(below, records.instance).map_err(too_large)?;
        Ok(())
    }
}

fn too_large(error: WriteError) -> Error {
    Error::new(ErrorKind::OutOfRange, "the DICOMDIR would be too large: archive fewer instances at once").caused_by(error)
}
