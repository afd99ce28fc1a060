//! Reading files again, so that the index says what they say (Orthanc: `/{level}/{id}/reconstruct`): after a change of
//! `ExtraMainDicomTags`, `Dictionary` or `DefaultEncoding`, or of the program.

use crate::describe::{Description, describe};
use crate::{Ctx, Engine, read, zlib};
use futures_util::{StreamExt, stream};
use model::{AttachmentId, Compression, ContentType, ErrorKind, FindRequest, Level, OrthancId, Result};

/// Headers read at once.
const PARALLEL_READS: usize = 4;
/// Ids per page of the index.
const PAGE: u64 = 1000;

/// Which rows are written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the instances and of all their parents.
    AllLevels,
    /// Those of the resource's own level (Orthanc: `LimitToThisLevelMainDicomTags`).
    OwnLevel,
}

/// Whether files are written again as the configuration wants them now (Orthanc: `ReconstructFiles`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    Keep,
    /// With or without `StorageCompression`.
    Rewrite,
}

/// Reads the files of a resource again, in the order in which they came; for a parent, the last one counts.
///
/// # Errors
/// `UnknownResource`, `InexistentFile`, `Corrupted` for a file that is no longer what was stored. What was done before the
/// error stays.
pub async fn reconstruct(eng: &Engine, ctx: &Ctx, (level, id): (Level, OrthancId), reach: Reach, files: Files) -> Result<()> {
    eng.writable()?;
    let instances = ids(eng, Level::Instance, Some((level, id))).await?;
    if instances.is_empty() {
        return Err(ErrorKind::UnknownResource.into());
    }
    let levels = match reach {
        Reach::AllLevels => Level::ALL.to_vec(),
        Reach::OwnLevel => vec![level],
    };
    let mut descriptions = stream::iter(instances.into_iter().map(|id| again(eng, ctx, id, files))).buffered(PARALLEL_READS);
    while let Some(description) = descriptions.next().await {
        let written = match description {
            Ok((blob, description)) => eng.index.reread_instance(description.into_reread(blob, levels.clone())).await,
            Err(error) => Err(error),
        };
        match written {
            // It was deleted meanwhile, or overwritten: then its rows are as they should be.
            Err(error) if error.kind() == ErrorKind::UnknownResource => {}
            other => other?,
        }
    }
    Ok(())
}

/// Reads every file again, study by study (Orthanc: `/tools/reconstruct`).
///
/// # Errors
/// As [`reconstruct`].
pub async fn everything(eng: &Engine, ctx: &Ctx, files: Files) -> Result<()> {
    eng.writable()?;
    for study in ids(eng, Level::Study, None).await? {
        match reconstruct(eng, ctx, (Level::Study, study), Reach::AllLevels, files).await {
            Err(error) if error.kind() == ErrorKind::UnknownResource => {}
            other => other?,
        }
    }
    Ok(())
}

/// The ids of a level, all or those below a resource.
async fn ids(eng: &Engine, level: Level, below: Option<(Level, OrthancId)>) -> Result<Vec<OrthancId>> {
    let related_to = below.into_iter().collect();
    let mut request = FindRequest { related_to, limit: PAGE, ..FindRequest::all(level) };
    let mut ids = vec![];
    loop {
        let page = eng.index.find(&request).await?;
        ids.extend(page.iter().map(|resource| resource.id));
        if (page.len() as u64) < PAGE {
            return Ok(ids);
        }
        request.since += PAGE;
    }
}

/// What the file of an instance says now.
async fn again(eng: &Engine, ctx: &Ctx, id: OrthancId, files: Files) -> Result<(AttachmentId, Description)> {
    if files == Files::Rewrite {
        let compression = if eng.config.storage_compression { Compression::Zlib } else { Compression::None };
        zlib::store_as(eng, ctx, (Level::Instance, id), ContentType::DICOM, compression).await?;
    }
    let located = read::locate(eng, ctx, Level::Instance, id, ContentType::DICOM).await?;
    Ok((located.attachment.id, describe(eng, &read::header(eng, &located).await?)?))
}
