//! How much may be stored (Orthanc: `MaximumStorageSize`, `MaximumPatientCount`, `MaximumStorageMode`).

use crate::{Error, ErrorKind};

/// What happens to an instance for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageMode {
    /// Patients that are not protected go, the one that was stored into the longest ago first.
    Recycle,
    /// It is refused.
    Reject,
}

/// The limits on what all processes together store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all attachments as stored.
    pub bytes: Option<u64>,
    pub patients: Option<u64>,
    pub mode: StorageMode,
}

impl Quota {
    /// No limits.
    pub const NONE: Self = Self { bytes: None, patients: None, mode: StorageMode::Recycle };

    pub fn is_none(&self) -> bool {
        self.bytes.is_none() && self.patients.is_none()
    }

    /// Whether so much may be stored.
    pub fn allows(&self, bytes: u64, patients: u64) -> bool {
        self.bytes.is_none_or(|most| bytes <= most) && self.patients.is_none_or(|most| patients <= most)
    }

    /// Why there is no room.
    pub fn exceeded(&self) -> Error {
        let limits = [self.bytes.map(|n| format!("{n} bytes")), self.patients.map(|n| format!("{n} patients"))];
        let limits: Vec<_> = limits.into_iter().flatten().collect();
        let kept = match self.mode {
            StorageMode::Recycle => ", and the patients that may go make no room (MaximumStorageMode Recycle)",
            StorageMode::Reject => " (MaximumStorageMode Reject)",
        };
        Error::new(ErrorKind::StorageFull, format!("at most {} are stored{kept}", limits.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_the_most_that_is_stored() {
        let quota = Quota { bytes: Some(10), patients: Some(2), mode: StorageMode::Reject };
        assert!(quota.allows(10, 2) && !quota.allows(11, 2) && !quota.allows(10, 3));
        assert!(Quota::NONE.allows(u64::MAX, u64::MAX) && Quota::NONE.is_none() && !quota.is_none());
        assert!(quota.exceeded().message().contains("10 bytes and 2 patients"));
    }
}
