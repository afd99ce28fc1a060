//! Room `model`: the vocabulary of a DICOM store and its pure rules: identifiers, levels, main DICOM tags,
//! matching, errors, and the ports behind which databases, storage areas and scripts live.
//!
//! It opens no socket, no file and no database. Start at [`ports::index`], which says what an index must do,
//! then [`query::FindRequest`], which every door builds.

pub mod change;
pub mod error;
pub mod event;
pub mod id;
pub mod instance;
pub mod job;
pub mod matching;
pub mod metadata;
pub mod modules;
pub mod ports;
pub mod query;
pub mod quota;
pub mod resource;
pub mod tags;
pub mod time;
pub mod upload;

pub use change::{Change, ChangeType, ChangesPage, ChangesRequest, Exported, ExportsPage};
pub use error::{Error, ErrorKind, Result};
pub use id::{AttachmentId, Level, OrthancId};
pub use instance::{
    Attachment, Compression, ContentType, NewInstance, Origin, Overwrite, RequestOrigin, Reread, StoreStatus, Stored,
};
pub use metadata::{MetadataKind, MetadataValue};
pub use query::{Fields, FindRequest};
pub use quota::{Quota, StorageMode};
pub use resource::{Counts, Resource, ResourceStatistics, Totals};
pub use tags::{MainTags, TagMap};
