//! What a door hands to the index to store one instance, and what comes back.

use crate::{AttachmentId, Level, MetadataKind, OrthancId, TagMap};
use std::collections::BTreeMap;

/// The type of an attachment by its Orthanc number: 1 `dicom`, 2 `dicom-as-json`, 3 `dicom-until-pixel-data`, user types from 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentType(pub u16);

impl ContentType {
    pub const DICOM: Self = Self(1);

    pub fn is_user(self) -> bool {
        self.0 >= 1024
    }
}

/// How the bytes of an attachment are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    /// Orthanc's `StorageCompression`: 8 bytes of size, then a zlib stream.
    Zlib,
}

/// One blob that belongs to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub id: AttachmentId,
    pub content_type: ContentType,
    pub compression: Compression,
    /// Bytes after decompression.
    pub size_bytes: u64,
    /// Bytes as stored.
    pub stored_size_bytes: u64,
    /// XXH3-64 of the content, after decompression.
    pub checksum: u64,
    /// MD5 of the content in hexadecimal. `None` if nobody has asked for it yet, empty if `StoreMD5ForAttachments` was false.
    pub md5: Option<String>,
    /// The same of the bytes as stored.
    pub stored_md5: Option<String>,
    /// Counts from 0.
    pub revision: i64,
}

/// Which door an instance came through (`Origin` metadata and `RequestOrigin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOrigin {
    Unknown,
    DicomProtocol,
    RestApi,
    Plugins,
    Lua,
    WebDav,
}

impl RequestOrigin {
    /// Orthanc's name in metadata and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::DicomProtocol => "DicomProtocol",
            Self::RestApi => "RestApi",
            Self::Plugins => "Plugins",
            Self::Lua => "Lua",
            Self::WebDav => "WebDav",
        }
    }
}

/// Who sent an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub door: RequestOrigin,
    pub remote_ip: String,
    /// Calling AET, DICOM protocol only.
    pub remote_aet: String,
    /// AET that the sender called, DICOM protocol only.
    pub called_aet: String,
    /// HTTP only.
    pub http_user: String,
    /// `Host` header, HTTP only.
    pub http_host: String,
}

impl Default for Origin {
    fn default() -> Self {
        let none = String::new;
        Self {
            door: RequestOrigin::Unknown,
            remote_ip: none(),
            remote_aet: none(),
            called_aet: none(),
            http_user: none(),
            http_host: none(),
        }
    }
}

/// What to do with an instance that is stored already (`OverwriteInstances`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    Never,
    Always,
    /// Overwrites if the size or the checksum of the new file differs.
    IfChanged,
}

/// The public ids of an instance and its three parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceIds {
    pub patient: OrthancId,
    pub study: OrthancId,
    pub series: OrthancId,
    pub instance: OrthancId,
}

impl InstanceIds {
    pub fn at(&self, level: Level) -> OrthancId {
        [self.patient, self.study, self.series, self.instance][level as usize]
    }
}

/// One instance to be stored, its blob already durable in the storage area.
#[derive(Clone, Debug)]
pub struct NewInstance {
    pub ids: InstanceIds,
    /// Main DICOM tags by level.
    pub tags: [TagMap; 4],
    pub sop_class_uid: String,
    pub transfer_syntax_uid: String,
    /// How many instances the series should have in the end, if the data set tells (Orthanc: `ExpectedNumberOfInstances`).
    pub expected_instances: Option<u32>,
    /// `InstanceNumber` or `ImageIndex`, if numeric (Orthanc: `IndexInSeries`).
    pub index_in_series: Option<i64>,
    /// Metadata that the row of each level gets when it is created, by level. What the index itself keeps (`LastUpdate`) is
    /// not among it.
    pub metadata: [BTreeMap<MetadataKind, String>; 4],
    pub origin: Origin,
    pub blob: Attachment,
    /// Offset of the Pixel Data element in the file, if it can be reached by a range read.
    pub pixel_offset: Option<u64>,
    /// Offset of what follows Pixel Data, if anything does.
    pub tail_offset: Option<u64>,
    pub overwrite: Overwrite,
}

/// What the file of a stored instance says, read again (Orthanc: `/{level}/{id}/reconstruct`).
#[derive(Clone, Debug)]
pub struct Reread {
    pub ids: InstanceIds,
    /// The file that was read.
    pub blob: AttachmentId,
    /// The rows to be changed.
    pub levels: Vec<Level>,
    /// Main DICOM tags by level.
    pub tags: [TagMap; 4],
    pub sop_class_uid: String,
    pub expected_instances: Option<u32>,
    pub index_in_series: Option<i64>,
    /// Metadata that follow from the data set, by level, `None` for what it does not have. Others stay as they are.
    pub metadata: [BTreeMap<MetadataKind, Option<String>>; 4],
}

/// What became of a store request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreStatus {
    Success,
    AlreadyStored,
    /// A script refused it.
    FilteredOut,
}

impl StoreStatus {
    /// Orthanc: `POST /instances` field `Status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::AlreadyStored => "AlreadyStored",
            Self::FilteredOut => "FilteredOut",
        }
    }
}

/// The index's answer to one [`NewInstance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub ids: InstanceIds,
    pub status: StoreStatus,
    /// Whether the blob of the request is now referenced; if not, the caller deletes it.
    pub keeps_blob: bool,
    /// Patients that went to make room ([`crate::Quota`]): their blobs are on the deletion list.
    pub recycled: u32,
}
