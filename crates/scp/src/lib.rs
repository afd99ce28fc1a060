//! The DIMSE door: takes associations and answers C-ECHO and C-STORE.
//!
//! It checks who calls and what may be sent, turns a C-STORE into the bytes of a DICOM file, hands them to
//! `engine::store` as they arrive, and turns the outcome into a status. It holds no business rule.
//!
//! Start with [`Scp::start`] in `listener.rs`, then `dispatch.rs` (one association), then `store.rs`.

mod config;
mod dispatch;
mod echo;
mod listener;
mod meta;
mod policy;
mod sop_classes;
mod status;
mod store;
mod transfer_syntaxes;
mod wildcard;

pub use config::ScpConfig;
pub use listener::Scp;
pub use sop_classes::{STORAGE_SOP_CLASSES, accepted_sop_classes};
pub use transfer_syntaxes::{TRANSFER_SYNTAXES, TransferSyntaxGroup, accepted_transfer_syntaxes};
