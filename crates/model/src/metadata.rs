//! Metadata: named values that belong to a resource but not to its DICOM data set (Orthanc book, "Metadata").

use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// A metadata value and the number of times it was changed since it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataValue {
    pub value: String,
    /// Counts from 0; Orthanc: ETag of `/metadata/{name}` with `CheckRevisions`.
    pub revision: i64,
}

/// A metadata type by its Orthanc number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataKind(pub u16);

const NAMES: &[(u16, &str)] = &[
    (1, "IndexInSeries"),
    (2, "ReceptionDate"),
    (3, "RemoteAET"),
    (4, "ExpectedNumberOfInstances"),
    (5, "ModifiedFrom"),
    (6, "AnonymizedFrom"),
    (7, "LastUpdate"),
    (8, "Origin"),
    (9, "TransferSyntax"),
    (10, "SopClassUid"),
    (11, "RemoteIP"),
    (12, "CalledAET"),
    (13, "HttpUsername"),
    (14, "PixelDataOffset"),
    (15, "MainDicomTagsSignature"),
    (16, "MainDicomSequences"),
    (17, "PixelDataVR"),
];

impl MetadataKind {
    pub const INDEX_IN_SERIES: Self = Self(1);
    pub const RECEPTION_DATE: Self = Self(2);
    pub const REMOTE_AET: Self = Self(3);
    pub const EXPECTED_NUMBER_OF_INSTANCES: Self = Self(4);
    pub const LAST_UPDATE: Self = Self(7);
    pub const ORIGIN: Self = Self(8);
    pub const TRANSFER_SYNTAX: Self = Self(9);
    pub const SOP_CLASS_UID: Self = Self(10);
    pub const REMOTE_IP: Self = Self(11);
    pub const CALLED_AET: Self = Self(12);
    pub const HTTP_USERNAME: Self = Self(13);
    pub const PIXEL_DATA_OFFSET: Self = Self(14);
    pub const MAIN_DICOM_TAGS_SIGNATURE: Self = Self(15);
    /// Sequences among the main DICOM tags, as Orthanc's full JSON.
    pub const MAIN_DICOM_SEQUENCES: Self = Self(16);
    pub const PIXEL_DATA_VR: Self = Self(17);

    /// User metadata may be set and deleted by clients; the others belong to the server.
    pub fn is_user(self) -> bool {
        self.0 >= 1024
    }
}

/// Names of metadata: Orthanc's own and those of the option `UserMetadata`.
#[derive(Clone, Debug, Default)]
pub struct MetadataNames {
    user: BTreeMap<String, MetadataKind>,
}

impl MetadataNames {
    /// Registers an entry of `UserMetadata`.
    ///
    /// # Errors
    /// `OutOfRange` unless `1024 <= kind`, `Duplicate` if the name or number is taken.
    pub fn register(&mut self, name: &str, kind: u16) -> Result<()> {
        if kind < 1024 {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!("user metadata {name:?} must have a number from 1024 to 65535, not {kind}"),
            ));
        }
        if NAMES.iter().any(|(_, n)| *n == name) || self.user.contains_key(name) || self.user.values().any(|k| k.0 == kind) {
            return Err(Error::new(ErrorKind::Duplicate, format!("the user metadata {name:?} ({kind}) is registered twice")));
        }
        self.user.insert(name.into(), MetadataKind(kind));
        Ok(())
    }

    /// Reads a name or a number.
    ///
    /// # Errors
    /// `InexistentItem` for a name that nobody registered.
    pub fn parse(&self, text: &str) -> Result<MetadataKind> {
        if let Ok(number) = text.parse::<u16>() {
            return Ok(MetadataKind(number));
        }
        NAMES
            .iter()
            .find(|(_, n)| *n == text)
            .map(|(k, _)| MetadataKind(*k))
            .or_else(|| self.user.get(text).copied())
            .ok_or_else(|| Error::new(ErrorKind::InexistentItem, format!("unknown metadata: {text:?}")))
    }

    /// The name, or the number if it has none.
    pub fn name(&self, kind: MetadataKind) -> String {
        NAMES
            .iter()
            .find(|(k, _)| *k == kind.0)
            .map(|(_, n)| n.to_string())
            .or_else(|| self.user.iter().find(|(_, k)| **k == kind).map(|(n, _)| n.clone()))
            .unwrap_or_else(|| kind.0.to_string())
    }

    /// The registered user names with their numbers (`/system` `UserMetadata`).
    pub fn user(&self) -> impl Iterator<Item = (&str, MetadataKind)> {
        self.user.iter().map(|(n, k)| (n.as_str(), *k))
    }
}
