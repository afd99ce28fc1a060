//! Which instances an archive holds, where, and in which order.

use super::names::{self, Characters, Names};
use crate::{Ctx, Engine, files};
use model::{Attachment, Error, ErrorKind, Fields, FindRequest, Level, MetadataKind, OrthancId, Resource, Result, TagMap};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What to archive, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Resources of any level. A resource that lies in another one is there once; an instance that is named twice is there
    /// twice (Orthanc: `POST /tools/create-archive`), but not in media.
    pub resources: Vec<(Level, OrthancId)>,
    pub layout: Layout,
    /// Orthanc: `Transcode`, the UID of a transfer syntax.
    pub transcode: Option<String>,
}

/// How an archive is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A folder for each patient, study and series. Orthanc: `Utf8`, else the option `ZipUseUtf8`, says how they are called.
    Folders(Characters),
    /// `IMAGES/IM0` and so on with a DICOMDIR. Orthanc: `Extended` adds keys to it.
    Media { extended: bool },
}

/// One file of an archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) instance: OrthancId,
    pub(super) name: String,
    pub(super) file: Attachment,
    pub(super) media: Option<Box<InMedia>>,
}

/// Where a file belongs in the directory of media.
#[derive(Clone, Debug)]
pub(super) struct InMedia {
    pub(super) extended: bool,
    /// Its patient, study and series.
    pub(super) parents: [OrthancId; 3],
    /// Of the study in its patient, of the series in its study, and its own in its series: from 1.
    pub(super) numbers: [u32; 3],
}

/// The contents of an archive, ready to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) layout: Layout,
    pub(super) entries: Vec<Arc<Entry>>,
}

impl Plan {
    /// How many files there are (Orthanc: `InstancesCount`).
    pub fn instances(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Their bytes (Orthanc: `UncompressedSize`).
    pub fn size_bytes(&self) -> u64 {
        self.entries.iter().map(|e| e.file.size_bytes).sum()
    }

    /// The instances with the names of their files, in order.
    pub fn files(&self) -> impl Iterator<Item = (OrthancId, &str)> {
        self.entries.iter().map(|e| (e.instance, e.name.as_str()))
    }
}

/// The instances of one series, in order.
enum Members {
    /// All of them.
    Whole(Vec<Resource>),
    /// Those that were named.
    Named(Vec<Resource>),
}

/// Instances by their patient, study and series: folders are in the order of these ids, as Orthanc's are.
type Tree = BTreeMap<[OrthancId; 3], Members>;

/// Plans an archive with one search for each level that is named, and one for the folders.
///
/// # Errors
/// `UnknownResource` if a resource does not exist, `OutOfRange` for what is no transfer syntax, `NotImplemented` if a file is
/// in another one.
pub async fn plan(eng: &Engine, ctx: &Ctx, request: &Request) -> Result<Plan> {
    if let Some(syntax) = &request.transcode {
        check_syntax(syntax)?;
    }
    let fields = Fields { attachments: true, metadata: request.transcode.is_some(), ..Fields::NONE };
    let mut tree = Tree::new();
    for level in [Level::Patient, Level::Study, Level::Series] {
        for instance in files::below(eng, ctx, level, &at(request, level), fields).await? {
            if let Members::Whole(all) = tree.entry(folder(&instance)?).or_insert_with(|| Members::Whole(vec![])) {
                all.push(instance);
            }
        }
    }
    tree.values_mut().for_each(order);
    add_named(&mut tree, files::in_order(eng, ctx, &at(request, Level::Instance), fields).await?)?;
    if let Some(syntax) = &request.transcode {
        let mut all = tree.values().flat_map(|m| match m {
            Members::Whole(list) | Members::Named(list) => list,
        });
        all.try_for_each(|instance| check_transcoding(instance, syntax))?;
    }
    let characters = match request.layout {
        Layout::Folders(characters) => characters,
        Layout::Media { extended } => return media_entries(tree, extended),
    };
    let ids = tree.keys().map(|[_, _, series]| *series).collect();
    let fields = Fields { parent_tags: true, ..Fields::NONE };
    let series = FindRequest { among: Some((Level::Series, ids)), fields, ..FindRequest::all(Level::Series) };
    let tags = eng.index.find(&series).await?.into_iter().map(|s| (s.id, s.tags)).collect();
    let entries = entries(tree, &tags, characters)?;
    Ok(Plan { layout: request.layout, entries })
}

fn at(request: &Request, level: Level) -> Vec<OrthancId> {
    request.resources.iter().filter(|(l, _)| *l == level).map(|(_, id)| *id).collect()
}

fn folder(instance: &Resource) -> Result<[OrthancId; 3]> {
    match instance.lineage {
        [Some(patient), Some(study), Some(series), _] => Ok([patient, study, series]),
        _ => Err(Error::new(ErrorKind::Database, format!("instance {} has no parents", instance.id))),
    }
}

/// Sorts a whole series, and forgets what is there twice because two resources hold it.
fn order(members: &mut Members) {
    if let Members::Whole(all) = members {
        all.sort_by_key(|i| (number(i) as u32, i.id));
        all.dedup_by_key(|i| i.id);
    }
}

/// Adds instances to the series that are not there as a whole.
fn add_named(tree: &mut Tree, named: Vec<Resource>) -> Result<()> {
    for instance in named {
        if let Members::Named(some) = tree.entry(folder(&instance)?).or_insert_with(|| Members::Named(vec![])) {
            some.push(instance);
        }
    }
    Ok(())
}

/// The number of an instance in the name of its file: Orthanc keeps 32 bits of `IndexInSeries`, and 0 for what is none.
fn number(instance: &Resource) -> i32 {
    instance.index_in_series.filter(|i| *i >= 0).unwrap_or_default() as i32
}

fn entries(tree: Tree, tags: &BTreeMap<OrthancId, [TagMap; 4]>, characters: Characters) -> Result<Vec<Arc<Entry>>> {
    let mut patients = Folders::default();
    let mut studies = Folders::default();
    let mut entries = vec![];
    let mut series_names = Names::default();
    for ([patient_id, study_id, series_id], members) in tree {
        // Deleted since the instances were found: so are they.
        let Some([patient, study, series, _]) = tags.get(&series_id) else { continue };
        if patients.enter(patient_id, || names::patient(patient, characters)) {
            studies = Folders::default();
        }
        if studies.enter(study_id, || names::study(study, characters)) {
            series_names = Names::default();
        }
        let folder = series_names.unique(names::series(series, characters));
        let folder = format!("{}/{}/{folder}", patients.name, studies.name);
        let mut file_names = Names::default();
        let (list, by_position) = match members {
            Members::Whole(list) => {
                let repeated = list.windows(2).any(|pair| number(&pair[0]) == number(&pair[1]));
                (list, repeated)
            }
            Members::Named(list) => (list, false),
        };
        for (position, instance) in list.into_iter().enumerate() {
            let number = if by_position { position as i32 } else { number(&instance) };
            let file = file_names.unique(names::file(series, number, characters));
            let name = format!("{folder}/{file}");
            entries.push(Arc::new(Entry { instance: instance.id, name, file: files::dicom(instance)?, media: None }));
        }
    }
    Ok(entries)
}

/// Orthanc numbers the files of media from 0, whatever they are.
fn media_entries(tree: Tree, extended: bool) -> Result<Plan> {
    let mut entries = vec![];
    let mut open = None;
    let mut numbers = [0; 3];
    for (parents @ [patient, study, _], members) in tree {
        numbers = match open.replace((patient, study)) {
            Some(last) if last == (patient, study) => [numbers[0], numbers[1] + 1, 0],
            Some((last, _)) if last == patient => [numbers[0] + 1, 1, 0],
            _ => [1, 1, 0],
        };
        let (Members::Whole(list) | Members::Named(list)) = members;
        let mut seen = HashSet::new();
        for instance in list.into_iter().filter(|i| seen.insert(i.id)) {
            numbers[2] += 1;
            let name = format!("IMAGES/IM{}", entries.len());
            let media = Some(Box::new(InMedia { extended, parents, numbers }));
            entries.push(Arc::new(Entry { instance: instance.id, name, file: files::dicom(instance)?, media }));
        }
    }
    Ok(Plan { layout: Layout::Media { extended }, entries })
}

/// Folders beside each other, of which one is open.
#[derive(Default)]
struct Folders {
    names: Names,
    open: Option<OrthancId>,
    name: String,
}

impl Folders {
    /// Opens the folder of a resource; whether it was another one.
    fn enter(&mut self, id: OrthancId, name: impl FnOnce() -> String) -> bool {
        if self.open == Some(id) {
            return false;
        }
        self.open = Some(id);
        self.name = self.names.unique(name());
        true
    }
}

/// Whether this may be the UID of a transfer syntax.
///
/// # Errors
/// `OutOfRange`, with Orthanc's words.
pub(crate) fn check_syntax(uid: &str) -> Result<()> {
    // PS3.6 A: all transfer syntaxes of the standard are below this root.
    let below = uid.strip_prefix("1.2.840.10008.1.2").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if below && uid.len() <= 64 && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Ok(());
    }
    Err(Error::new(ErrorKind::OutOfRange, format!("Unknown transfer syntax: {uid}")))
}

fn check_transcoding(instance: &Resource, wanted: &str) -> Result<()> {
    let present = instance.metadata.get(&MetadataKind::TRANSFER_SYNTAX).map_or("", |m| &m.value);
    if present == wanted {
        return Ok(());
    }
    let text = format!("transcoding is not available yet: instance {} is in {present}, not in {wanted}", instance.id);
    Err(Error::new(ErrorKind::NotImplemented, text))
}
