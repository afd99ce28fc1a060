//! DICOM data sets (PS3.5, PS3.10): a bounded iterative reader that keeps raw value bytes, a writer, character sets,
//! dictionaries, Orthanc's JSON forms and the DICOM JSON model (PS3.18 F).
//!
//! This room opens no file and no socket, does not decode pixels and does not know what a study is.
//! Everything it reads is hostile: nothing is allocated by a declared length, nesting and sizes are bounded, no input panics.
//!
//! Start at [`read_header`] in `read/mod.rs`, then `read/parser.rs` (the loop over elements) and `data.rs` (what it fills).

mod charset;
mod data;
mod dictionary;
mod directory;
pub mod json;
mod number;
mod pixel;
mod read;
mod syntax;
mod text;
mod write;

pub use charset::CharacterSet;
pub use data::{DataSet, Element, Value};
pub use dicom_core::{Tag, VR};
pub use dictionary::{Dictionary, DictionaryError};
pub use directory::{Directory, RecordId};
pub use pixel::{PixelLayout, PixelScanner};
pub use read::{
    Completeness, Header, Object, PixelElement, ReadError, ReadOptions, dataset_offset, read_header, read_object, read_tail,
};
pub use syntax::TransferSyntax;
pub use write::{IMPLEMENTATION_CLASS_UID, WriteError, write_dataset, write_meta, write_object};
