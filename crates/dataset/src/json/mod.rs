//! Data sets as JSON: Orthanc's three forms, and the DICOM JSON model.

mod dicom;
mod orthanc;

use dicom_core::Tag;

pub use dicom::{BulkDataUri, DicomJsonOptions, dicom_json};
pub use orthanc::orthanc;

/// Orthanc's forms of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `"gggg,eeee": { "Name", "PrivateCreator", "Type", "Value" }` (Orthanc: `/instances/{id}/tags`).
    Full,
    /// By name: `"PatientName": "…"` (Orthanc: `?simplify`).
    Simplified,
    /// By number: `"0010,0010": "…"` (Orthanc: `?short`).
    Short,
}

/// What Orthanc's forms leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Longer values, in bytes of UTF-8, are left out (type `TooLong`); 0: no limit. Orthanc's own is 256 for indexing.
    pub max_string_length: usize,
    /// Tags that the limit does not apply to (Orthanc: `?ignore-length`).
    pub ignore_length: Vec<Tag>,
    /// Leaves out group lengths (gggg,0000).
    pub skip_group_lengths: bool,
    /// Leaves out elements of VR OB, OW and UN (Orthanc: `/instances/{id}/header`).
    pub skip_binary: bool,
}
