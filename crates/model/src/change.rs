//! The change feed and the log of exports.

use crate::{Level, OrthancId};

/// Orthanc's numbers of changes that its feed holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ChangeType {
    CompletedSeries = 1,
    NewInstance = 2,
    NewPatient = 3,
    NewSeries = 4,
    NewStudy = 5,
    AnonymizedStudy = 6,
    AnonymizedSeries = 7,
    ModifiedStudy = 8,
    ModifiedSeries = 9,
    AnonymizedPatient = 10,
    ModifiedPatient = 11,
    StablePatient = 12,
    StableStudy = 13,
    StableSeries = 14,
    UpdatedAttachment = 15,
    UpdatedMetadata = 16,
}

impl ChangeType {
    pub const ALL: [ChangeType; 16] = [
        Self::CompletedSeries,
        Self::NewInstance,
        Self::NewPatient,
        Self::NewSeries,
        Self::NewStudy,
        Self::AnonymizedStudy,
        Self::AnonymizedSeries,
        Self::ModifiedStudy,
        Self::ModifiedSeries,
        Self::AnonymizedPatient,
        Self::ModifiedPatient,
        Self::StablePatient,
        Self::StableStudy,
        Self::StableSeries,
        Self::UpdatedAttachment,
        Self::UpdatedMetadata,
    ];

    /// `ChangeType` in JSON: the variant's name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|c| *c as u16 == number)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == text)
    }

    pub fn new(level: Level) -> Self {
        [Self::NewPatient, Self::NewStudy, Self::NewSeries, Self::NewInstance][level as usize]
    }

    /// The event of a resource that got no instance for `StableAge`; instances have none.
    pub fn stable(level: Level) -> Option<Self> {
        [Some(Self::StablePatient), Some(Self::StableStudy), Some(Self::StableSeries), None][level as usize]
    }
}

/// One line of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Grows, may have holes, and becomes visible in order.
    pub seq: i64,
    pub kind: ChangeType,
    pub level: Level,
    pub id: OrthancId,
    /// `20261124T101530`, UTC.
    pub date: String,
}

/// Orthanc: `GET /changes`.
#[derive(Clone, Debug, Default)]
pub struct ChangesRequest {
    /// Lines after this number.
    pub since: i64,
    /// Lines up to and including this number; then the page is the *last* `limit` of them.
    pub to: Option<i64>,
    /// At most so many lines.
    pub limit: u32,
    /// Only these types; empty for all.
    pub kinds: Vec<ChangeType>,
}

/// A page of the feed.
#[derive(Clone, Debug, Default)]
pub struct ChangesPage {
    pub changes: Vec<Change>,
    /// No more lines after (or, with `to`, before) this page.
    pub done: bool,
    /// The number of the newest line ever, also if it was deleted.
    pub last_seq: i64,
}

/// One resource that was sent to another system (Orthanc: `LogExportedResources`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Given by the index; 0 before.
    pub seq: i64,
    pub level: Level,
    pub id: OrthancId,
    pub remote: String,
    pub date: String,
    pub patient_id: String,
    pub study_uid: String,
    pub series_uid: String,
    pub sop_uid: String,
}

/// Orthanc: `GET /exports`.
#[derive(Clone, Debug, Default)]
pub struct ExportsPage {
    pub exports: Vec<Exported>,
    pub done: bool,
}
