//! A batch as the arguments of `store_1`: columns of patients, studies, series and instances, each resource once, parents sorted by
//! public id; or as those of `store_more_1`, which adds to a series that is there.

use super::blobs::masks;
use super::store::{Item, Stores, compression_number};
use crate::text::{clean, metadata_json, norm, tags_json};
use dataset::Tag;
use model::{Level, OrthancId, Result, tags};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tokio_postgres::types::ToSql;

const PATIENT: [Tag; 4] = [tags::PATIENT_ID, tags::PATIENT_NAME, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX];
/// UID, date, time, accession number, id, description, referring physician, institution.
const STUDY: [Tag; 8] = [
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_DATE,
    Tag(0x0008, 0x0030),
    tags::ACCESSION_NUMBER,
    Tag(0x0020, 0x0010),
    tags::STUDY_DESCRIPTION,
    Tag(0x0008, 0x0090),
    Tag(0x0008, 0x0080),
];
/// UID, modality, description, body part.
const SERIES: [Tag; 4] = [tags::SERIES_INSTANCE_UID, tags::MODALITY, Tag(0x0008, 0x103E), Tag(0x0018, 0x0015)];

/// How many values `store_1` takes.
const COUNT: usize = 69;

/// The statement that calls it.
pub(super) fn call() -> &'static str {
    static CALL: LazyLock<String> =
        LazyLock::new(|| format!("SELECT at, instance_row, hidden, their_bytes, their_checksum FROM store_1({})", places(COUNT)));
    &CALL
}

/// How many values `store_more_1` takes.
const COUNT_MORE: usize = 24;

/// The statement that calls it.
pub(super) fn call_more() -> &'static str {
    static CALL: LazyLock<String> = LazyLock::new(|| format!("SELECT store_more_1({})", places(COUNT_MORE)));
    &CALL
}

fn places(count: usize) -> String {
    (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// The values of a call.
pub(super) struct Arguments<'n>(Vec<Box<dyn ToSql + Send + Sync + 'n>>);

/// What a batch has of one parent.
struct Group<'n> {
    first: usize,
    item: &'n Item,
    n: i64,
    bytes: i64,
    stored: i64,
    classes: BTreeSet<&'n str>,
}

type Groups<'n> = BTreeMap<OrthancId, Group<'n>>;

fn group<'n>(batch: &[&'n Item], level: Level) -> Groups<'n> {
    let mut groups = Groups::new();
    for (at, item) in batch.iter().enumerate() {
        let new = Group { first: at + 1, item, n: 0, bytes: 0, stored: 0, classes: BTreeSet::new() };
        let group = groups.entry(item.new.ids.at(level)).or_insert(new);
        group.n += 1;
        group.bytes = group.bytes.saturating_add(item.bytes);
        group.stored = group.stored.saturating_add(item.stored);
        if !item.new.sop_class_uid.is_empty() {
            group.classes.insert(&item.new.sop_class_uid);
        }
    }
    groups
}

/// Positions from 1, as SQL counts.
fn positions<'g>(groups: &'g Groups<'_>) -> BTreeMap<&'g OrthancId, i32> {
    groups.keys().zip(1..).collect()
}

impl<'n> Arguments<'n> {
    pub(super) fn new(stores: &Stores, batch: &[&'n Item]) -> Result<Self> {
        let mut arguments = Self(Vec::with_capacity(COUNT));
        let blocks = masks(batch.iter().map(|item| item.new.blob.id));
        arguments.push(stores.node);
        arguments.push(stores.shard);
        arguments.push(stores.stable_age_ms());
        arguments.push(blocks.keys().map(|prefix| prefix.to_vec()).collect::<Vec<_>>());
        arguments.push(blocks.into_values().collect::<Vec<_>>());
        let groups = [group(batch, Level::Patient), group(batch, Level::Study), group(batch, Level::Series)];
        arguments.patients(&groups[0])?;
        arguments.studies(&groups[1], &positions(&groups[0]))?;
        arguments.series(&groups[2], &positions(&groups[1]))?;
        let series = positions(&groups[2]);
        arguments.public_ids(batch);
        arguments.push(batch.iter().map(|item| series.get(&item.new.ids.series).copied().unwrap_or(0)).collect::<Vec<_>>());
        arguments.instances(batch);
        Ok(arguments)
    }

    /// Those of `store_more_1`. Nothing if the batch has several series, or names of several blocks.
    pub(super) fn more(stores: &Stores, batch: &[&'n Item]) -> Option<Self> {
        let mut blocks = masks(batch.iter().map(|item| item.new.blob.id)).into_iter();
        let mut groups = group(batch, Level::Series).into_iter();
        let ((prefix, mask), None) = (blocks.next()?, blocks.next()) else { return None };
        let ((id, series), None) = (groups.next()?, groups.next()) else { return None };
        let mut arguments = Self(Vec::with_capacity(COUNT_MORE));
        arguments.push(stores.node);
        arguments.push(stores.shard);
        arguments.push(stores.stable_age_ms());
        arguments.push(prefix.to_vec());
        arguments.push(mask);
        arguments.push(id.0.to_vec());
        arguments.push(classes(&series));
        arguments.push(series.bytes);
        arguments.push(series.stored);
        arguments.public_ids(batch);
        arguments.instances(batch);
        Some(arguments)
    }

    pub(super) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }

    fn push(&mut self, value: impl ToSql + Send + Sync + 'n) {
        self.0.push(Box::new(value));
    }

    fn public_and_first(&mut self, groups: &Groups<'n>) {
        self.push(groups.keys().map(|id| id.0.to_vec()).collect::<Vec<_>>());
        self.push(groups.values().map(|g| g.first as i32).collect::<Vec<_>>());
    }

    fn above(&mut self, groups: &Groups<'n>, level: Level, above: &BTreeMap<&OrthancId, i32>) {
        let position = |g: &Group<'_>| above.get(&g.item.new.ids.at(level)).copied().unwrap_or(0);
        self.push(groups.values().map(position).collect::<Vec<_>>());
    }

    fn norms(&mut self, groups: &Groups<'n>, level: Level, tags: &[Tag]) {
        for tag in tags {
            self.push(groups.values().map(|g| norm(&g.item.new.tags[level as usize], *tag)).collect::<Vec<_>>());
        }
    }

    fn tags(&mut self, groups: &Groups<'n>, level: Level) -> Result<()> {
        let tags = |g: &Group<'_>| tags_json(&g.item.new.tags[level as usize]);
        self.push(groups.values().map(tags).collect::<Result<Vec<_>>>()?);
        Ok(())
    }

    fn classes(&mut self, groups: &Groups<'n>) {
        self.push(groups.values().map(classes).collect::<Vec<_>>());
    }

    fn metadata_and_sums(&mut self, groups: &Groups<'n>, level: Level) -> Result<()> {
        let metadata = |g: &Group<'_>| metadata_json(&g.item.new.metadata[level as usize]);
        self.push(groups.values().map(metadata).collect::<Result<Vec<_>>>()?);
        self.push(groups.values().map(|g| g.n).collect::<Vec<_>>());
        self.push(groups.values().map(|g| g.bytes).collect::<Vec<_>>());
        self.push(groups.values().map(|g| g.stored).collect::<Vec<_>>());
        Ok(())
    }

    fn patients(&mut self, groups: &Groups<'n>) -> Result<()> {
        self.public_and_first(groups);
        self.norms(groups, Level::Patient, &PATIENT);
        self.tags(groups, Level::Patient)?;
        self.metadata_and_sums(groups, Level::Patient)
    }

    fn studies(&mut self, groups: &Groups<'n>, patients: &BTreeMap<&OrthancId, i32>) -> Result<()> {
        self.public_and_first(groups);
        self.above(groups, Level::Patient, patients);
        self.norms(groups, Level::Study, &STUDY);
        self.tags(groups, Level::Patient)?;
        self.norms(groups, Level::Patient, &PATIENT);
        self.classes(groups);
        self.tags(groups, Level::Study)?;
        self.metadata_and_sums(groups, Level::Study)
    }

    fn series(&mut self, groups: &Groups<'n>, studies: &BTreeMap<&OrthancId, i32>) -> Result<()> {
        self.public_and_first(groups);
        self.above(groups, Level::Study, studies);
        self.norms(groups, Level::Series, &SERIES);
        let modality = |g: &Group<'_>| match g.item.new.tags[Level::Series as usize].get(tags::MODALITY).map(clean) {
            Some(text) if !text.trim().is_empty() => quoted(text.trim()),
            _ => String::new(),
        };
        self.push(groups.values().map(modality).collect::<Vec<_>>());
        self.classes(groups);
        self.push(groups.values().map(|g| g.item.new.expected_instances.map(i64::from)).collect::<Vec<_>>());
        self.tags(groups, Level::Series)?;
        self.metadata_and_sums(groups, Level::Series)
    }

    fn public_ids(&mut self, batch: &[&'n Item]) {
        self.push(batch.iter().map(|item| item.new.ids.instance.0.as_slice()).collect::<Vec<_>>());
    }

    fn instances(&mut self, batch: &[&'n Item]) {
        macro_rules! column {
            ($value:expr) => {
                self.push(batch.iter().map(|item: &&'n Item| $value(*item)).collect::<Vec<_>>())
            };
        }
        column!(|i: &Item| i.new.index_in_series);
        column!(|i: &Item| norm(&i.new.tags[Level::Instance as usize], tags::SOP_INSTANCE_UID));
        column!(|i: &'n Item| clean(&i.new.sop_class_uid));
        column!(|i: &Item| i.new.blob.id.0);
        column!(|i: &Item| compression_number(i.new.blob.compression));
        column!(|i: &Item| i.bytes);
        column!(|i: &Item| i.stored);
        column!(|i: &Item| i.new.blob.checksum.cast_signed());
        column!(|i: &'n Item| i.new.blob.md5.as_deref().map(clean));
        column!(|i: &'n Item| i.new.blob.stored_md5.as_deref().map(clean));
        column!(|i: &Item| i.pixel_offset);
        column!(|i: &Item| i.tail_offset);
        column!(|i: &'n Item| i.tags.as_str());
        column!(|i: &'n Item| i.metadata.as_str());
    }
}

/// As JSON without brackets.
fn classes(group: &Group<'_>) -> String {
    group.classes.iter().map(|class| quoted(class)).collect::<Vec<_>>().join(",")
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(clean(text).into_owned()).to_string()
}
