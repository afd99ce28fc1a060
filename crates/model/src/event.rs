//! What happened to resources and jobs, for scripts that listen.

use crate::job::JobId;
use crate::{ChangeType, Level, OrthancId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A line of the change feed.
    Change(ChangeType),
    /// A resource is gone.
    Deleted,
    JobSubmitted,
    JobSuccess,
    JobFailure,
}

impl EventKind {
    /// The number that a database row holds; those of changes are Orthanc's.
    pub fn number(self) -> u16 {
        match self {
            Self::Change(change) => change as u16,
            Self::Deleted => 32,
            Self::JobSubmitted => 33,
            Self::JobSuccess => 34,
            Self::JobFailure => 35,
        }
    }

    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            32 => Some(Self::Deleted),
            33 => Some(Self::JobSubmitted),
            34 => Some(Self::JobSuccess),
            35 => Some(Self::JobFailure),
            change => ChangeType::from_number(change).map(Self::Change),
        }
    }
}

/// A set of kinds. Events of other kinds are not written down at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds(i64);

impl EventKinds {
    pub fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind.number())
    }

    pub fn has(self, kind: EventKind) -> bool {
        self.0 & 1 << kind.number() != 0
    }

    /// One bit for each number.
    pub fn bits(self) -> i64 {
        self.0
    }
}

/// To what it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Job(JobId),
    Resource(Level, OrthancId),
}

/// An event that waits for its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Rises. Events of one subject are in their order.
    pub seq: i64,
    pub kind: EventKind,
    pub subject: Subject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_read_back() {
        let others = [EventKind::Deleted, EventKind::JobSubmitted, EventKind::JobSuccess, EventKind::JobFailure];
        let mut all = EventKinds::default();
        for kind in ChangeType::ALL.map(EventKind::Change).into_iter().chain(others) {
            assert_eq!(EventKind::from_number(kind.number()), Some(kind));
            assert!(!all.has(kind));
            all = all.with(kind);
            assert!(all.has(kind));
        }
        assert_eq!(EventKind::from_number(36), None);
    }
}
