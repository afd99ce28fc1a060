//! Identifiers: what a client names a resource by, and what a blob is stored under.

use crate::{Error, ErrorKind};
use sha1::{Digest, Sha1};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The four levels of the DICOM information model (PS3.3 7.1), ordered from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Patient,
    Study,
    Series,
    Instance,
}

impl Level {
    pub const ALL: [Level; 4] = [Level::Patient, Level::Study, Level::Series, Level::Instance];

    /// `Patient`, `Study`, `Series`, `Instance`: Orthanc's name in JSON.
    pub fn name(self) -> &'static str {
        ["Patient", "Study", "Series", "Instance"][self as usize]
    }

    /// `patients`, `studies`, `series`, `instances`: the folder in the REST API.
    pub fn folder(self) -> &'static str {
        ["patients", "studies", "series", "instances"][self as usize]
    }

    /// The level above, none for patients.
    pub fn parent(self) -> Option<Level> {
        (self as usize).checked_sub(1).map(|i| Self::ALL[i])
    }

    /// The level below, none for instances.
    pub fn child(self) -> Option<Level> {
        Self::ALL.get(self as usize + 1).copied()
    }

    /// Reads `Patient`, `patients`, `STUDY`, …: singular or plural, any case.
    pub fn parse(text: &str) -> Option<Level> {
        Self::ALL.into_iter().find(|l| text.eq_ignore_ascii_case(l.name()) || text.eq_ignore_ascii_case(l.folder()))
    }
}

/// Orthanc's public identifier: the SHA-1 of the DICOM identifiers joined by `|`
/// (Orthanc book, "Orthanc identifiers"). Its text is five groups of eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrthancId(pub [u8; 20]);

impl OrthancId {
    fn hash(parts: &[&str]) -> Self {
        let mut sha = Sha1::new();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                sha.update(b"|");
            }
            sha.update(part.as_bytes());
        }
        Self(sha.finalize().into())
    }

    pub fn patient(patient_id: &str) -> Self {
        Self::hash(&[patient_id])
    }

    pub fn study(patient_id: &str, study: &str) -> Self {
        Self::hash(&[patient_id, study])
    }

    pub fn series(patient_id: &str, study: &str, series: &str) -> Self {
        Self::hash(&[patient_id, study, series])
    }

    pub fn instance(patient_id: &str, study: &str, series: &str, sop: &str) -> Self {
        Self::hash(&[patient_id, study, series, sop])
    }

    /// The identifier held in 20 bytes of a database row.
    ///
    /// # Errors
    /// `Database` if there are not 20.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        bytes.try_into().map(Self).map_err(|_| Error::new(ErrorKind::Database, "a public id must have 20 bytes"))
    }
}

impl fmt::Display for OrthancId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; 44];
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for (i, byte) in self.0.iter().enumerate() {
            let at = i * 2 + i / 4;
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for OrthancId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrthancId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::from(ErrorKind::UnknownResource);
        let raw = text.as_bytes();
        if raw.len() != 44 {
            return Err(unknown());
        }
        let mut id = [0; 20];
        for (i, byte) in id.iter_mut().enumerate() {
            let at = i * 2 + i / 4;
            if i % 4 == 0 && i > 0 && raw[at - 1] != b'-' {
                return Err(unknown());
            }
            let digit = |c: u8| (c as char).to_digit(16).ok_or_else(unknown);
            *byte = (digit(raw[at])? << 4 | digit(raw[at + 1])?) as u8;
        }
        Ok(Self(id))
    }
}

/// The name of a blob in the storage area: a random UUID that is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttachmentId(pub Uuid);

impl AttachmentId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for AttachmentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::parse_str(text).map(Self).map_err(|_| Error::new(ErrorKind::BadRequest, format!("not a UUID: {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_orthancs_and_survive_their_text() {
        // The Orthanc book's example: an instance without any identifier would hash "|||".
        let id = OrthancId::patient("HN_P001");
        assert_eq!(id.to_string().len(), 44);
        assert_eq!(id.to_string().parse::<OrthancId>().unwrap(), id);
        assert_eq!(OrthancId::patient("").to_string(), "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709");
        for bad in [
            "",
            "nope",
            "da39a3ee-5e6b4b0d-3255bfef-95601890-afd8070",
            "da39a3ee+5e6b4b0d-3255bfef-95601890-afd80709",
            "é".repeat(22).as_str(),
        ] {
            assert_eq!(bad.parse::<OrthancId>().unwrap_err().kind(), ErrorKind::UnknownResource);
        }
    }
}
