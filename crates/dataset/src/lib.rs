//! Room `dataset`.
pub use dicom_core::{Tag, VR};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataSet;
