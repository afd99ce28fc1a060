//! A resource as the index returns it.

use crate::{Attachment, Level, MetadataKind, MetadataValue, OrthancId, TagMap};
use std::collections::{BTreeMap, BTreeSet};

/// How many resources lie below another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub studies: u64,
    pub series: u64,
    pub instances: u64,
}

/// One patient, study, series or instance. What was not asked for by [`crate::Fields`] is empty.
#[derive(Clone, Debug)]
pub struct Resource {
    pub level: Level,
    pub id: OrthancId,
    /// Public ids of the ancestors and of the resource itself, by level; `None` below it.
    pub lineage: [Option<OrthancId>; 4],
    /// Main DICOM tags by level: its own, and those of its ancestors if [`crate::Fields::parent_tags`].
    pub tags: [TagMap; 4],
    /// With the built-in ones, such as `LastUpdate`.
    pub metadata: BTreeMap<MetadataKind, MetadataValue>,
    /// Values of its ancestors, by level, if [`crate::Fields::parent_metadata`]; without `LastUpdate`.
    pub parent_metadata: [BTreeMap<MetadataKind, MetadataValue>; 3],
    pub labels: BTreeSet<String>,
    /// Ids one level below, in the order of creation.
    pub children: Vec<OrthancId>,
    pub attachments: Vec<Attachment>,
    pub counts: Counts,
    /// Sum of the sizes of all attachments at and below the resource, as stored and after decompression.
    pub stored_size_bytes: u64,
    pub size_bytes: u64,
    /// Distinct `Modality` values of a study, sorted.
    pub modalities: Vec<String>,
    /// Distinct `SOPClassUID` values of a study or series, sorted.
    pub sop_classes: Vec<String>,
    pub is_stable: bool,
    /// Patients only: exempt from recycling.
    pub is_protected: bool,
    /// Series only: instances expected, and how many distinct `IndexInSeries` values are in `1..=expected` or outside of it
    /// (Orthanc: `Status` of a series).
    pub expected_instances: Option<u32>,
    /// Instances only.
    pub index_in_series: Option<i64>,
    /// Instances only: see [`crate::NewInstance`].
    pub pixel_offset: Option<u64>,
    pub tail_offset: Option<u64>,
}

impl Resource {
    /// A metadata of the resource or of an ancestor, as far as it was loaded.
    pub fn metadata_at(&self, level: Level, kind: MetadataKind) -> Option<&str> {
        let of_level = if level == self.level { Some(&self.metadata) } else { self.parent_metadata.get(level as usize) };
        of_level.and_then(|all| all.get(&kind)).map(|metadata| metadata.value.as_str())
    }
}

/// Orthanc: `GET /{level}/{id}/statistics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceStatistics {
    pub counts: Counts,
    /// All attachments.
    pub stored_size_bytes: u64,
    pub size_bytes: u64,
    /// Attachments of type `dicom` only.
    pub dicom_stored_size_bytes: u64,
    pub dicom_size_bytes: u64,
}

/// Orthanc: `GET /statistics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub patients: u64,
    pub studies: u64,
    pub series: u64,
    pub instances: u64,
    pub stored_size_bytes: u64,
    pub size_bytes: u64,
}
