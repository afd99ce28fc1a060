//! The one form of a search that every door builds and every index answers.

use crate::{Level, MetadataKind, OrthancId};
use dataset::Tag;

/// How a value is compared (PS3.4 C.2.2.2). Texts are as the client wrote them; [`crate::matching`] normalises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Equal to the text.
    Single(String),
    /// `*` and `?` (PS3.4 C.2.2.2.4).
    Wildcard(String),
    /// Bounds are inclusive; an absent one is open (PS3.4 C.2.2.2.5).
    Range { from: Option<String>, to: Option<String> },
    /// Equal to one of them (`\` in a query).
    OneOf(Vec<String>),
}

/// A condition on one DICOM tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagConstraint {
    pub tag: Tag,
    pub rule: Rule,
    pub case_sensitive: bool,
    /// Also find what may have the tag although its row does not say so: rows of this level were written by a process that did not
    /// keep it. The caller asks the file. `None` for tags that every process keeps.
    pub or_unkept: Option<Level>,
}

/// A condition on one metadata of the level that is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataConstraint {
    pub kind: MetadataKind,
    pub rule: Rule,
    pub case_sensitive: bool,
}

/// Orthanc: `LabelsConstraint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LabelsRule {
    #[default]
    All,
    Any,
    /// None of them; without any label named, no label at all.
    None,
}

/// What to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKey {
    Tag(Tag),
    Metadata(MetadataKind),
}

/// How two values are compared when sorting. Absent values come last in either direction (Orthanc: `OrderBy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAs {
    Text,
    Integer,
    Float,
}

/// One sort criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBy {
    pub key: OrderKey,
    pub cast: OrderAs,
    pub descending: bool,
}

/// Which parts of a [`crate::Resource`] to load. Own tags, lineage, counts, sizes and flags always come: they are in the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub parent_tags: bool,
    pub parent_metadata: bool,
    pub metadata: bool,
    pub labels: bool,
    pub children: bool,
    pub attachments: bool,
}

impl Fields {
    pub const NONE: Self =
        Self { parent_tags: false, parent_metadata: false, metadata: false, labels: false, children: false, attachments: false };
    /// What an answer can show.
    pub const ALL: Self =
        Self { parent_tags: true, parent_metadata: false, metadata: true, labels: true, children: true, attachments: true };
}

/// A search at one level.
#[derive(Clone, Debug)]
pub struct FindRequest {
    pub level: Level,
    /// Only the resource itself, or what is below (or above) it.
    pub related_to: Vec<(Level, OrthancId)>,
    /// Only these resources and what is below them. All are of one level, which is `level` or above it; unknown ids are passed
    /// over. `None` for no such condition.
    pub among: Option<(Level, Vec<OrthancId>)>,
    /// All must hold. Each tag is a main DICOM tag at `level` or above, or `ModalitiesInStudy`.
    pub tags: Vec<TagConstraint>,
    pub metadata: Vec<MetadataConstraint>,
    pub labels: Vec<String>,
    pub labels_rule: LabelsRule,
    /// Then by order of creation.
    pub order: Vec<OrderBy>,
    /// Skips so many.
    pub since: u64,
    /// At most so many, 0 for all.
    pub limit: u64,
    pub fields: Fields,
}

impl FindRequest {
    /// Everything at one level, with only what is in the rows.
    pub fn all(level: Level) -> Self {
        Self {
            level,
            related_to: vec![],
            among: None,
            tags: vec![],
            metadata: vec![],
            labels: vec![],
            labels_rule: LabelsRule::All,
            order: vec![],
            since: 0,
            limit: 0,
            fields: Fields::NONE,
        }
    }

    /// One resource.
    pub fn one(level: Level, id: OrthancId, fields: Fields) -> Self {
        Self { related_to: vec![(level, id)], fields, limit: 1, ..Self::all(level) }
    }
}
