//! The tree of folders that WebDAV shows (Orthanc: `/webdav/`): the same resources by patient, study, date and UID, and the area for
//! uploads. Folders are made of what the index says at the moment: nothing of them is kept.
//!
//! Each part of a path is one indexed search. A folder that would show everything is cut at [`MOST_ENTRIES`]; what is beyond can still be
//! opened by its name.

mod names;

use crate::find::{self, Query};
use crate::{Ctx, Engine, delete};
use dataset::Tag;
use model::query::{OrderAs, OrderBy, OrderKey};
use model::{ContentType, Error, ErrorKind, Fields, Level, MetadataKind, OrthancId, Resource, Result, tags};
use std::collections::HashSet;

/// Entries that one folder shows.
pub const MOST_ENTRIES: u64 = 10_000;

/// Parts of the longest path: `by-dates/YYYY/YYYY-MM/study/series/instance`.
const DEEPEST: usize = 6;

/// Years of `by-dates`.
const MOST_YEARS: usize = 1000;

/// The folders at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Dates,
    Patients,
    Studies,
    Uids,
}

impl View {
    pub const ALL: [Self; 4] = [Self::Dates, Self::Patients, Self::Studies, Self::Uids];

    pub fn name(self) -> &'static str {
        match self {
            Self::Dates => "by-dates",
            Self::Patients => "by-patients",
            Self::Studies => "by-studies",
            Self::Uids => "by-uids",
        }
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Root,
    View(View),
    /// `2007`
    Year(String),
    /// `200701`
    Month(String),
    /// A patient, study or series, as a folder.
    Folder(View, Level, OrthancId),
    /// The record of a study or series: `study.json`, `series.json`.
    Record(Level, OrthancId),
    /// A DICOM file.
    File(OrthancId),
}

/// One line of a folder.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub place: Place,
    /// Of files.
    pub size_bytes: Option<u64>,
    /// When it was changed or received, as Orthanc writes it (`20070101T101530`), if anybody knows.
    pub modified: Option<String>,
}

impl Entry {
    fn folder(name: impl Into<String>, place: Place) -> Self {
        Self { name: name.into(), place, size_bytes: None, modified: None }
    }
}

/// Finds what a path names, whose parts are decoded already.
///
/// # Errors
/// `UnknownResource`.
pub async fn locate(eng: &Engine, ctx: &Ctx, path: &[String]) -> Result<Entry> {
    let unknown = || Error::new(ErrorKind::UnknownResource, "there is no such file or folder");
    if path.len() > DEEPEST {
        return Err(unknown());
    }
    let mut entry = Entry::folder("webdav", Place::Root);
    for name in path {
        entry = step(eng, ctx, &entry.place, name).await?.ok_or_else(unknown)?;
    }
    Ok(entry)
}

/// What a folder shows. Files show nothing.
pub async fn list(eng: &Engine, ctx: &Ctx, place: &Place) -> Result<Vec<Entry>> {
    match place {
        Place::Root => Ok(View::ALL.map(|view| Entry::folder(view.name(), Place::View(view))).into()),
        Place::View(View::Dates) => years(eng, ctx).await,
        Place::Year(year) => months(eng, ctx, year).await,
        Place::Record(..) | Place::File(_) => Ok(vec![]),
        Place::View(_) | Place::Month(_) | Place::Folder(..) => resources(eng, ctx, place).await,
    }
}

/// Deletes a file, a folder and all that it shows. Of records, and of folders that show nothing, nothing goes.
///
/// # Errors
/// `Forbidden` for the folders at the top; those of the index, after which a part may be gone.
pub async fn remove(eng: &Engine, ctx: &Ctx, place: &Place) -> Result<()> {
    match place {
        Place::Root | Place::View(_) => Err(Error::new(ErrorKind::Forbidden, "this folder cannot be deleted")),
        Place::Record(..) => Ok(()),
        Place::File(id) => delete_once(eng, ctx, Level::Instance, *id).await,
        Place::Folder(_, level, id) => delete_once(eng, ctx, *level, *id).await,
        Place::Year(date) | Place::Month(date) => loop {
            let found = find::find(eng, ctx, &Query { limit: 100, ..in_period(date) }).await?;
            if found.is_empty() {
                return Ok(());
            }
            for study in found {
                delete_once(eng, ctx, Level::Study, study.resource.id).await?;
            }
        },
    }
}

/// What somebody else deleted at the same moment is gone as well.
async fn delete_once(eng: &Engine, ctx: &Ctx, level: Level, id: OrthancId) -> Result<()> {
    match delete::delete(eng, ctx, level, id).await {
        Err(error) if error.kind() == ErrorKind::UnknownResource => Ok(()),
        other => other.map(drop),
    }
}

/// One part further.
async fn step(eng: &Engine, ctx: &Ctx, place: &Place, name: &str) -> Result<Option<Entry>> {
    let entry = match place {
        Place::Root => View::ALL.into_iter().find(|v| v.name() == name).map(|v| Entry::folder(name, Place::View(v))),
        // Every year and month is a folder, which may be empty.
        Place::View(View::Dates) => names::year(name).map(|year| Entry::folder(name, Place::Year(year))),
        Place::Year(year) => names::month(year, name).map(|month| Entry::folder(name, Place::Month(month))),
        Place::Record(..) | Place::File(_) => None,
        Place::Folder(View::Uids, level, id) if Some(name) == names::record(*level) => Some(record(*level, *id)),
        Place::View(_) | Place::Month(_) | Place::Folder(..) => named(eng, ctx, place, name).await?,
    };
    Ok(entry)
}

/// The view to which a place belongs, and the level of what it shows.
fn below(place: &Place) -> Option<(View, Level)> {
    match place {
        Place::View(View::Patients) => Some((View::Patients, Level::Patient)),
        Place::View(view) => Some((*view, Level::Study)),
        Place::Month(_) => Some((View::Dates, Level::Study)),
        Place::Folder(view, level, _) => Some((*view, level.child()?)),
        _ => None,
    }
}

/// The search for what a folder shows.
fn query(place: &Place, level: Level) -> Query {
    let all = match place {
        Place::Month(month) => in_period(month),
        Place::Folder(_, above, id) => Query { related_to: vec![(*above, *id)], ..Query::all(level) },
        _ => Query::all(level),
    };
    let fields = Fields { parent_tags: true, metadata: true, attachments: level == Level::Instance, ..Fields::NONE };
    Query { fields, limit: MOST_ENTRIES, ..all }
}

/// Studies of a year or a month.
fn in_period(date: &str) -> Query {
    let (first, last) = if date.len() == 4 { ("0101", "1231") } else { ("01", "31") };
    Query { tags: vec![(tags::STUDY_DATE, format!("{date}{first}-{date}{last}"))], ..Query::all(Level::Study) }
}

/// The resource of this name in a folder.
async fn named(eng: &Engine, ctx: &Ctx, place: &Place, name: &str) -> Result<Option<Entry>> {
    let Some((view, level)) = below(place) else { return Ok(None) };
    for (tag, value) in names::keys(view, level, name) {
        let mut query = query(place, level);
        match (tag, value) {
            (Some(tag), value) => query.tags.push((tag, value)),
            (None, id) => match id.parse() {
                Ok(id) => query.related_to.push((level, id)),
                Err(_) => continue,
            },
        }
        let found = find::find(eng, ctx, &query).await?;
        let entries = found.iter().map(|f| entry(view, &f.resource, names::of(view, &f.resource)));
        if let Some(mut found) = entries.into_iter().find(|e| e.name == name || names::with_id(e) == name) {
            name.clone_into(&mut found.name);
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn resources(eng: &Engine, ctx: &Ctx, place: &Place) -> Result<Vec<Entry>> {
    let Some((view, level)) = below(place) else { return Ok(vec![]) };
    let found = find::find(eng, ctx, &query(place, level)).await?;
    let mut seen = HashSet::new();
    let mut entries = vec![];
    if let Place::Folder(View::Uids, level, id) = place {
        entries.push(record(*level, *id));
    }
    for found in &found {
        let mut entry = entry(view, &found.resource, names::of(view, &found.resource));
        if !seen.insert(entry.name.clone()) {
            entry.name = names::with_id(&entry);
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(view: View, resource: &Resource, name: String) -> Entry {
    let of_instance = resource.level == Level::Instance;
    let modified = if of_instance { MetadataKind::RECEPTION_DATE } else { MetadataKind::LAST_UPDATE };
    let dicom = resource.attachments.iter().find(|a| a.content_type == ContentType::DICOM);
    Entry {
        name,
        place: if of_instance { Place::File(resource.id) } else { Place::Folder(view, resource.level, resource.id) },
        size_bytes: dicom.map(|a| a.size_bytes),
        modified: resource.metadata.get(&modified).map(|m| m.value.clone()),
    }
}

fn record(level: Level, id: OrthancId) -> Entry {
    Entry::folder(names::record(level).unwrap_or_default(), Place::Record(level, id))
}

/// The years in which there are studies: each is found by a search for the first study behind the year before.
async fn years(eng: &Engine, ctx: &Ctx) -> Result<Vec<Entry>> {
    let mut years = vec![];
    let mut next = Some(String::from("0000"));
    while let Some(from) = next.take().filter(|_| years.len() < MOST_YEARS) {
        let Some(date) = first_date(eng, ctx, format!("{from}0101-99991231")).await? else { break };
        if let Some(year) = date.get(..4).and_then(names::year) {
            next = year.parse().ok().filter(|n: &u32| *n < 9999).map(|n| format!("{:04}", n + 1));
            years.push(Entry::folder(year.clone(), Place::Year(year)));
        }
    }
    Ok(years)
}

async fn first_date(eng: &Engine, ctx: &Ctx, range: String) -> Result<Option<String>> {
    let order = vec![OrderBy { key: OrderKey::Tag(tags::STUDY_DATE), cast: OrderAs::Text, descending: false }];
    let query = Query { tags: vec![(tags::STUDY_DATE, range)], order, limit: 1, ..Query::all(Level::Study) };
    let found = find::find(eng, ctx, &query).await?;
    Ok(found.first().and_then(|f| value(&f.resource, Level::Study, tags::STUDY_DATE)).map(str::to_owned))
}

async fn months(eng: &Engine, ctx: &Ctx, year: &str) -> Result<Vec<Entry>> {
    let mut months = vec![];
    for month in 1..=12 {
        let date = format!("{year}{month:02}");
        if !find::find(eng, ctx, &Query { limit: 1, ..in_period(&date) }).await?.is_empty() {
            months.push(Entry::folder(format!("{year}-{month:02}"), Place::Month(date)));
        }
    }
    Ok(months)
}

/// A tag of a resource or of one above it.
fn value(resource: &Resource, level: Level, tag: Tag) -> Option<&str> {
    resource.tags[level as usize].get(tag)
}
