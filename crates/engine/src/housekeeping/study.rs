//! One study is brought to what a run wants. Only what differs is read or written, so that a repetition costs little.

use super::Task;
use crate::describe::{Kept, describe_as};
use crate::{Ctx, Engine, read, sweeps, zlib};
use futures_util::{StreamExt, stream};
use model::ports::index::Expect;
use model::{
    Compression, ContentType, Error, ErrorKind, Fields, FindRequest, Level, MainTags, MetadataKind, OrthancId, Resource, Result,
};
use std::collections::HashSet;

/// Rows of instances that are looked at together.
const CHUNK: usize = 500;
/// Instances worked on at once.
const AT_ONCE: usize = 4;
/// `dicom-as-json`, which Orthanc made before 1.9.1.
const DICOM_AS_JSON: ContentType = ContentType(2);

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Instances of which something was written.
    pub(crate) changed: u64,
    /// Instances whose files are lost or damaged.
    pub(crate) failed: u64,
}

/// What has to be done with an instance.
struct Work {
    id: OrthancId,
    /// Rows, at and above it.
    levels: Vec<Level>,
    /// What they keep then.
    kept: Kept,
    compression: Option<Compression>,
    dicom_as_json: bool,
}

/// The tags of a run.
pub(crate) fn main_tags(task: &Task) -> Result<MainTags> {
    let mut tags = MainTags::default();
    for (level, signature) in Level::ALL.into_iter().zip(&task.signatures) {
        tags.add_signature(level, signature)?;
    }
    Ok(tags)
}

/// Sees to one study; nothing happens if it is gone.
///
/// # Errors
/// Those of the database, and of a storage area that cannot be reached or is full. Damaged files are counted.
pub(crate) async fn keep(eng: &Engine, study: OrthancId, task: &Task, tags: &MainTags) -> Result<Report> {
    let mut report = Report::default();
    let mut parents = HashSet::new();
    for series in children(eng, Level::Study, study).await? {
        for chunk in children(eng, Level::Series, series).await?.chunks(CHUNK) {
            let fields = Fields { parent_tags: true, parent_metadata: true, metadata: true, attachments: true, ..Fields::NONE };
            let among = Some((Level::Instance, chunk.to_vec()));
            let rows = eng.index.find(&FindRequest { among, fields, ..FindRequest::all(Level::Instance) }).await?;
            let work: Vec<Work> = rows.iter().filter_map(|row| work(row, task, tags, &mut parents)).collect();
            let mut done = stream::iter(work.into_iter().map(|work| one(eng, work))).buffered(AT_ONCE);
            while let Some(done) = done.next().await {
                match done {
                    Ok(()) => report.changed += 1,
                    // It was deleted meanwhile, or overwritten: then it is as it should be.
                    Err(e) if matches!(e.kind(), ErrorKind::UnknownResource | ErrorKind::Revision) => {}
                    Err(e) if is_damage(&e) => {
                        tracing::warn!(study.id = %study, error = %e, "housekeeping passes over a file");
                        report.failed += 1;
                    }
                    Err(e) => return Err(e),
                }
            }
        }
    }
    Ok(report)
}

/// Whether trying again would not help.
fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InexistentFile | ErrorKind::Corrupted | ErrorKind::BadDicom)
}

/// Ids one level below, in order of creation.
async fn children(eng: &Engine, level: Level, id: OrthancId) -> Result<Vec<OrthancId>> {
    let fields = Fields { children: true, ..Fields::NONE };
    Ok(eng.index.find(&FindRequest::one(level, id, fields)).await?.pop().map(|found| found.children).unwrap_or_default())
}

/// What has to be done with an instance, and with those of its parents that no earlier one has seen to: so they get the values of
/// their first instance, as when it was stored.
fn work(row: &Resource, task: &Task, tags: &MainTags, parents: &mut HashSet<OrthancId>) -> Option<Work> {
    let signature = |level| row.metadata_at(level, MetadataKind::MAIN_DICOM_TAGS_SIGNATURE).unwrap_or_default();
    let lacks = |level| task.anew || !tags.are_kept(level, signature(level)) || (level == Level::Study && copy_lacks(row, tags));
    let wanted = Level::ALL.into_iter().filter(|level| task.levels.contains(&(*level as usize)));
    let levels: Vec<Level> =
        wanted.filter(|level| lacks(*level) && row.lineage[*level as usize].is_some_and(|id| parents.insert(id))).collect();
    let compressed = task.compressed.map(|yes| if yes { Compression::Zlib } else { Compression::None });
    let has = |test: &dyn Fn(&model::Attachment) -> bool| row.attachments.iter().any(test);
    let compression = compressed.filter(|c| has(&|a| a.content_type == ContentType::DICOM && a.compression != *c));
    let dicom_as_json = task.dicom_as_json && has(&|a| a.content_type == DICOM_AS_JSON);
    if levels.is_empty() && compression.is_none() && !dicom_as_json {
        return None;
    }
    let mut kept = tags.clone();
    for level in Level::ALL.into_iter().filter(|_| !task.anew) {
        // What other processes declare stays: they go on to answer with it. What cannot be read names nothing.
        let _ = kept.add_signature(level, signature(level));
    }
    Some(Work { id: row.id, levels, kept: Kept::new(kept), compression, dicom_as_json })
}

/// Whether a study's copy of its patient's tags may lack some. It has no signature: a tag without a value is looked for again.
fn copy_lacks(row: &Resource, tags: &MainTags) -> bool {
    let defaults = MainTags::default();
    let extra = tags.of(Level::Patient).iter().filter(|tag| !defaults.of(Level::Patient).contains(tag));
    extra.into_iter().any(|tag| row.tags[Level::Patient as usize].get(*tag).is_none())
}

async fn one(eng: &Engine, work: Work) -> Result<()> {
    let ctx = Ctx::default();
    if work.dicom_as_json {
        eng.index.delete_attachment(Level::Instance, work.id, DICOM_AS_JSON, Expect::Anything).await?;
        sweeps::deleted(eng).await?;
    }
    if let Some(compression) = work.compression {
        zlib::store_as(eng, &ctx, (Level::Instance, work.id), ContentType::DICOM, compression).await?;
    }
    if work.levels.is_empty() {
        return Ok(());
    }
    let located = read::locate(eng, &ctx, Level::Instance, work.id, ContentType::DICOM).await?;
    let description = describe_as(eng, &read::header(eng, &located).await?, &work.kept)?;
    eng.index.reread_instance(description.into_reread(located.attachment.id, work.levels)).await
}
