//! Finding resources: what every door's search becomes.
//!
//! The index filters by the tags that it keeps. Other tags are read from the header of one instance below the candidate, if
//! `StorageAccessOnFind` allows it.

use crate::engine::{Metrics, StorageAccessOnFind};
use crate::read::{self, Extent};
use crate::{Ctx, Engine};
use dataset::{DataSet, Tag, VR, Value};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::matching::{Ranges, matches, parse_rule};
use model::query::{LabelsRule, MetadataConstraint, OrderBy, TagConstraint};
use model::{Error, ErrorKind, Fields, FindRequest, Level, MainTags, MetadataKind, OrthancId, Resource, Result, TagMap, tags};
use serde_json::{Map, Value as Json};

/// Files that are read at once for one answer.
pub const PARALLEL_READS: usize = 4;
/// Candidates that a search by a tag outside of the index may read.
const SCAN_PAGE: u64 = 500;

/// A search as a client asks for it.
#[derive(Clone, Debug)]
pub struct Query {
    pub level: Level,
    /// The resource itself, or its ancestors or descendants.
    pub related_to: Vec<(Level, OrthancId)>,
    /// DICOM query keys as text (PS3.4 C.2.2.2); empty matches everything.
    pub tags: Vec<(Tag, String)>,
    pub case_sensitive: bool,
    pub metadata: Vec<MetadataConstraint>,
    pub labels: Vec<String>,
    pub labels_rule: LabelsRule,
    pub order: Vec<OrderBy>,
    pub since: u64,
    /// 0 for all.
    pub limit: u64,
    pub fields: Fields,
    /// More tags for the answer, from the index if it has them.
    pub requested: Vec<Tag>,
}

impl Query {
    /// Everything at one level.
    pub fn all(level: Level) -> Self {
        Self {
            level,
            related_to: vec![],
            tags: vec![],
            case_sensitive: false,
            metadata: vec![],
            labels: vec![],
            labels_rule: LabelsRule::All,
            order: vec![],
            since: 0,
            limit: 0,
            fields: Fields::NONE,
            requested: vec![],
        }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Found {
    pub resource: Resource,
    /// The values of `Query::requested` that exist.
    pub requested: TagMap,
    /// Those of them that are sequences, read from the file.
    pub requested_items: DataSet,
    /// Those that are sequences and are kept in the index, as Orthanc's full JSON.
    pub requested_sequences: Map<String, Json>,
    /// Those that the file does not have; `None` if nothing was requested.
    pub requested_missing: Option<Vec<Tag>>,
}

impl Found {
    /// A resource of which no more tags were requested.
    pub(crate) fn bare(resource: Resource) -> Self {
        Self {
            resource,
            requested: TagMap::new(),
            requested_items: DataSet::new(),
            requested_sequences: Map::new(),
            requested_missing: None,
        }
    }
}

/// Answers a search, in the order of [`Query::order`], then of creation.
///
/// # Errors
/// `DatabaseUnavailable`, `Database`; those of reading files.
pub async fn find(eng: &Engine, ctx: &Ctx, query: &Query) -> Result<Vec<Found>> {
    Metrics::add(&eng.metrics.finds, 1);
    let plan = plan(eng, query);
    let resources = if plan.is_certain() { eng.index.find(&plan.request).await? } else { scan(eng, &plan).await? };
    let _ = ctx;
    if query.requested.is_empty() {
        return Ok(resources.into_iter().map(Found::bare).collect());
    }
    let answers = resources.into_iter().map(|resource| answer(eng, resource, &query.requested));
    stream::iter(answers).buffered(PARALLEL_READS).try_collect().await
}

/// How many resources a search would find without paging (Orthanc: `/tools/count-resources`).
pub async fn count(eng: &Engine, _ctx: &Ctx, query: &Query) -> Result<u64> {
    let mut plan = plan(eng, query);
    plan.request.since = 0;
    plan.request.limit = 0;
    if plan.unindexed.is_empty() {
        let certain = eng.index.count(&plan.request_of_rows()).await?;
        if plan.is_certain() || eng.index.count(&plan.request).await? == certain {
            return Ok(certain);
        }
    }
    (plan.since, plan.limit, plan.request.limit) = (0, 0, SCAN_PAGE);
    Ok(scan(eng, &plan).await?.len() as u64)
}

/// One resource.
///
/// # Errors
/// `UnknownResource`.
pub async fn one(eng: &Engine, ctx: &Ctx, level: Level, id: OrthancId, fields: Fields, requested: Vec<Tag>) -> Result<Found> {
    let query = Query { related_to: vec![(level, id)], limit: 1, fields, requested, ..Query::all(level) };
    find(eng, ctx, &query).await?.pop().ok_or_else(|| ErrorKind::UnknownResource.into())
}

/// Resources whose DICOM identifier equals `text` (Orthanc: `/tools/lookup`).
pub async fn lookup(eng: &Engine, _ctx: &Ctx, text: &str) -> Result<Vec<(Level, OrthancId)>> {
    eng.index.lookup_identifier(text).await
}

/// The level of a resource.
///
/// # Errors
/// `UnknownResource`.
pub async fn level_of(eng: &Engine, _ctx: &Ctx, id: OrthancId) -> Result<Level> {
    eng.index.level_of(id).await?.ok_or_else(|| ErrorKind::UnknownResource.into())
}

/// A search, split into what the index answers and what files must tell.
struct Plan {
    request: FindRequest,
    unindexed: Vec<TagConstraint>,
    since: u64,
    limit: u64,
}

impl Plan {
    /// Whether rows tell all.
    fn is_certain(&self) -> bool {
        self.unindexed.is_empty() && self.request.tags.iter().all(|constraint| constraint.or_unkept.is_none())
    }

    /// The search without what only files could tell.
    fn request_of_rows(&self) -> FindRequest {
        let mut request = self.request.clone();
        request.tags.iter_mut().for_each(|constraint| constraint.or_unkept = None);
        request
    }

    /// What the file of a resource must say, because its row does not.
    fn open<'p>(&'p self, resource: &'p Resource) -> impl Iterator<Item = &'p TagConstraint> {
        let uncertain = |c: &&TagConstraint| c.or_unkept.is_some_and(|home| !is_kept(resource, home, c.tag));
        self.unindexed.iter().chain(self.request.tags.iter().filter(uncertain))
    }
}

/// Whether the row of `home` at or above a resource has this tag of it, if the file does.
fn is_kept(resource: &Resource, home: Level, tag: Tag) -> bool {
    if home == Level::Patient && resource.level > home {
        // Studies have a copy, of which nothing is known but its values.
        return MainTags::default().of(home).contains(&tag) || resource.tags[home as usize].get(tag).is_some();
    }
    resource.metadata_at(home, MetadataKind::MAIN_DICOM_TAGS_SIGNATURE).is_some_and(|names| tags::is_named(names, tag))
}

fn plan(eng: &Engine, query: &Query) -> Plan {
    let defaults = MainTags::default();
    let mut indexed = vec![];
    let mut unindexed = vec![];
    for (tag, text) in &query.tags {
        let ranges = match eng.config.dictionary.vr(*tag, None) {
            Some(VR::DA | VR::TM | VR::DT) => Ranges::Allowed,
            _ => Ranges::Literal,
        };
        let Some(rule) = parse_rule(text, ranges) else { continue };
        let home = eng.config.main_tags.level_of(query.level, *tag);
        let known = home.is_some() || (*tag == tags::MODALITIES_IN_STUDY && query.level >= Level::Study);
        // Processes with other `ExtraMainDicomTags` may have written rows without it.
        let may_read = eng.config.storage_access_on_find != StorageAccessOnFind::Never;
        let or_unkept = home.filter(|home| may_read && !defaults.of(*home).contains(tag));
        let constraint = TagConstraint { tag: *tag, rule, case_sensitive: query.case_sensitive, or_unkept };
        if known { indexed.push(constraint) } else { unindexed.push(constraint) }
    }
    let uncertain = indexed.iter().any(|constraint| constraint.or_unkept.is_some());
    let scans = uncertain || !unindexed.is_empty();
    let tags = query.fields.parent_tags || uncertain || !query.requested.is_empty();
    let metadata = uncertain || !query.requested.is_empty();
    let page = match query.limit {
        limit if limit > 0 && unindexed.is_empty() => query.since.saturating_add(limit).min(SCAN_PAGE),
        _ => SCAN_PAGE,
    };
    let request = FindRequest {
        level: query.level,
        related_to: query.related_to.clone(),
        among: None,
        tags: indexed,
        metadata: query.metadata.clone(),
        labels: query.labels.clone(),
        labels_rule: query.labels_rule,
        order: query.order.clone(),
        since: if scans { 0 } else { query.since },
        limit: if scans { page } else { query.limit },
        fields: Fields {
            parent_tags: tags,
            metadata: query.fields.metadata || metadata,
            parent_metadata: metadata,
            ..query.fields
        },
    };
    Plan { request, unindexed, since: query.since, limit: query.limit }
}

/// Reads candidates page by page and keeps those whose file matches: none if no file may be read.
async fn scan(eng: &Engine, plan: &Plan) -> Result<Vec<Resource>> {
    if eng.config.storage_access_on_find == StorageAccessOnFind::Never && !plan.unindexed.is_empty() {
        tracing::warn!("a search by tags outside of the index finds nothing, as StorageAccessOnFind asks");
        return Ok(vec![]);
    }
    let mut request = plan.request.clone();
    let mut skip = plan.since;
    let mut kept = vec![];
    loop {
        let page = eng.index.find(&request).await?;
        let full = page.len() as u64 == request.limit;
        let checks = page.into_iter().map(|resource| async {
            let matched = file_matches(eng, &resource, plan.open(&resource).collect()).await?;
            Ok::<_, Error>((resource, matched))
        });
        let mut checks = stream::iter(checks).buffered(PARALLEL_READS);
        while let Some((resource, matched)) = checks.try_next().await? {
            if !matched {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            kept.push(resource);
            if plan.limit > 0 && kept.len() as u64 == plan.limit {
                return Ok(kept);
            }
        }
        if !full {
            return Ok(kept);
        }
        request.since += request.limit;
    }
}

async fn file_matches(eng: &Engine, resource: &Resource, constraints: Vec<&TagConstraint>) -> Result<bool> {
    if constraints.is_empty() {
        return Ok(true);
    }
    let Some(data) = sample(eng, resource).await? else { return Ok(false) };
    Ok(constraints.iter().all(|c| {
        let value = computed(resource, c.tag).or_else(|| data.text(c.tag));
        value.is_some_and(|v| {
            v.split('\\').any(|part| matches(&c.rule, part, c.case_sensitive)) || matches(&c.rule, &v, c.case_sensitive)
        })
    }))
}

/// Orthanc: `Status` of a series, from the `IndexInSeries` of its instances.
pub async fn series_status(eng: &Engine, series: &Resource) -> Result<&'static str> {
    let Some(expected) = series.expected_instances else { return Ok("Unknown") };
    let request = FindRequest { related_to: vec![(Level::Series, series.id)], ..FindRequest::all(Level::Instance) };
    let mut seen = std::collections::BTreeSet::new();
    for instance in eng.index.find(&request).await? {
        match instance.index_in_series {
            Some(i) if i >= 1 && i <= i64::from(expected) && seen.insert(i) => {}
            _ => return Ok("Inconsistent"),
        }
    }
    Ok(if seen.len() == expected as usize { "Complete" } else { "Missing" })
}

/// The header of one instance at or below a resource; `None` if it was deleted meanwhile.
async fn sample(eng: &Engine, resource: &Resource) -> Result<Option<DataSet>> {
    let located = match read::first_instance(eng, resource.level, resource.id).await {
        Err(error) if error.kind() == ErrorKind::UnknownResource => return Ok(None),
        other => other?,
    };
    match read::of(eng, &located, Extent::WithoutPixels).await {
        Err(error) if error.kind() == ErrorKind::InexistentFile => Ok(None),
        other => other.map(|stored| Some(stored.dataset)),
    }
}

async fn answer(eng: &Engine, resource: Resource, requested: &[Tag]) -> Result<Found> {
    let mut found = Found { requested_missing: Some(vec![]), ..Found::bare(resource) };
    let mut missing = vec![];
    for tag in requested {
        match computed(&found.resource, *tag) {
            Some(value) => found.requested.put(*tag, value),
            None if is_computed(*tag) => {}
            None => match found.resource.tags.iter().rev().find_map(|level| level.get(*tag)) {
                Some(value) => found.requested.put(*tag, value.to_owned()),
                None => match kept_sequence(&found.resource, *tag) {
                    Some((number, sequence)) => drop(found.requested_sequences.insert(number, sequence)),
                    None if is_absent(eng, &found.resource, *tag) => {}
                    None => missing.push(*tag),
                },
            },
        }
    }
    if missing.is_empty() || eng.config.storage_access_on_find == StorageAccessOnFind::Never {
        return Ok(found);
    }
    if let Some(data) = sample(eng, &found.resource).await? {
        for tag in missing {
            match (data.get(tag), data.text(tag)) {
                (_, Some(text)) => found.requested.put(tag, text),
                (Some(element), None) if matches!(element.value, Value::Items(_)) => found.requested_items.put(element.clone()),
                _ => found.requested_missing.get_or_insert_default().push(tag),
            }
        }
    }
    Ok(found)
}

/// Whether the data set does not have a tag of which the index has no value: the row would have it.
fn is_absent(eng: &Engine, resource: &Resource, tag: Tag) -> bool {
    eng.config.main_tags.level_of(resource.level, tag).is_some_and(|home| is_kept(resource, home, tag))
}

/// A sequence among the main DICOM tags of a resource or of one above it, as Orthanc's full JSON.
fn kept_sequence(resource: &Resource, tag: Tag) -> Option<(String, Json)> {
    let number = format!("{:04x},{:04x}", tag.0, tag.1);
    let levels = Level::ALL[..=resource.level as usize].iter().rev();
    let mut kept = levels.filter_map(|level| resource.metadata_at(*level, MetadataKind::MAIN_DICOM_SEQUENCES));
    let sequence = kept.find_map(|text| sequences(text).remove(&number));
    sequence.map(|sequence| (number, sequence))
}

/// Reads the metadata `MainDicomSequences`: Orthanc's full JSON of each.
pub fn sequences(text: &str) -> Map<String, Json> {
    let mut kept: Json = serde_json::from_str(text).unwrap_or_default();
    // What was stored before Pleiad wrote this as Orthanc does has no member around it.
    match kept.get_mut("Sequences").map(Json::take).unwrap_or(kept) {
        Json::Object(sequences) => sequences,
        _ => Map::new(),
    }
}

/// Whether a tag is counted at some level.
fn is_computed(tag: Tag) -> bool {
    matches!((tag.0, tag.1), (0x0008, 0x0056 | 0x0061 | 0x0062) | (0x0020, 0x1200 | 0x1202 | 0x1204 | 0x1206 | 0x1208 | 0x1209))
}

/// Tags that are counted, not stored (Orthanc: computed tags, PS3.4 C.6.1.1).
pub fn computed(resource: &Resource, tag: Tag) -> Option<String> {
    let counts = resource.counts;
    let is = |level| resource.level == level;
    Some(match (tag.0, tag.1) {
        (0x0008, 0x0056) if is(Level::Instance) => "ONLINE".to_owned(),
        (0x0020, 0x1200) if is(Level::Patient) => counts.studies.to_string(),
        (0x0020, 0x1202) if is(Level::Patient) => counts.series.to_string(),
        (0x0020, 0x1204) if is(Level::Patient) => counts.instances.to_string(),
        (0x0020, 0x1206) if is(Level::Study) => counts.series.to_string(),
        (0x0020, 0x1208) if is(Level::Study) => counts.instances.to_string(),
        (0x0020, 0x1209) if is(Level::Series) => counts.instances.to_string(),
        (0x0008, 0x0061) if is(Level::Study) => resource.modalities.join("\\"),
        (0x0008, 0x0062) if is(Level::Study) => resource.sop_classes.join("\\"),
        _ => return None,
    })
}
