//! Reading: entry points, options and errors. `meta.rs` finds the data set in a file, `parser.rs` reads its elements.

mod encoding;
mod header;
mod inflate;
mod meta;
mod parser;

use std::sync::Arc;

use bytes::Bytes;
use dicom_core::{Tag, VR};
use thiserror::Error;

use crate::charset::CharacterSet;
use crate::data::DataSet;
use crate::dictionary::Dictionary;
use crate::syntax::TransferSyntax;
use encoding::Encoding;
use parser::{Input, Stop};

/// How to read, and how much.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// For text of data sets without Specific Character Set (Orthanc: `DefaultEncoding`).
    pub default_charset: CharacterSet,
    /// Gives the VR of implicit elements.
    pub dictionary: Arc<Dictionary>,
    /// Most bytes before the pixel data, inflated if deflated.
    pub max_header_bytes: usize,
    /// Most sequences in each other.
    pub max_depth: usize,
    /// Most elements and items: they take more memory than their bytes do.
    pub max_elements: usize,
    /// Most bytes of an inflated data set with its pixel data.
    pub max_inflated_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            default_charset: CharacterSet::LATIN1,
            dictionary: Arc::new(Dictionary::standard()),
            max_header_bytes: 64 << 20,
            max_depth: 256,
            max_elements: 4_000_000,
            max_inflated_bytes: 1 << 30,
        }
    }
}

/// Whether the bytes are the whole object or its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    Whole,
    Prefix,
}

/// What precedes the pixel data.
#[derive(Clone, Debug)]
pub struct Header {
    /// File meta information, group 0002; empty if the file has none.
    pub meta: DataSet,
    /// As labelled by the meta information, else as detected.
    pub transfer_syntax: TransferSyntax,
    pub dataset: DataSet,
    /// Where the data set begins in the file.
    pub dataset_offset: u64,
    pub pixel: Option<PixelElement>,
}

/// The top-level pixel data element, of which only the header was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelElement {
    pub tag: Tag,
    pub vr: VR,
    /// Where its tag is in the file; `None` if the data set is deflated.
    pub offset: Option<u64>,
    /// Where its value begins in the file; `None` if the data set is deflated.
    pub value_offset: Option<u64>,
    /// In bytes, as declared; `None` if undefined, that is, encapsulated.
    pub length: Option<u32>,
}

/// A DICOM object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub meta: DataSet,
    pub transfer_syntax: TransferSyntax,
    pub dataset: DataSet,
}

/// Why bytes could not be read. Offsets count from the start of the file, in the inflated data set if it is deflated.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    #[error("not a DICOM object")]
    NotDicom,
    /// Only for [`Completeness::Prefix`]: more bytes may help.
    #[error("the header goes on after the {0} bytes at hand")]
    Incomplete(usize),
    #[error("ends within element {tag} at offset {offset}")]
    Truncated { tag: Tag, offset: u64 },
    #[error("more than {limit} sequences in each other, at element {tag}, offset {offset}")]
    TooDeep { limit: usize, tag: Tag, offset: u64 },
    #[error("more than {limit} bytes before the pixel data")]
    HeaderTooLarge { limit: usize },
    #[error("more than {limit} elements")]
    TooManyElements { limit: usize },
    #[error("more than {limit} bytes when inflated")]
    InflatedTooLarge { limit: usize },
    #[error("the deflated data set is damaged or cut short")]
    Deflate,
    #[error("element {tag} at offset {offset}: {problem}")]
    Malformed { tag: Tag, offset: u64, problem: &'static str },
}

/// Reads up to, not including, the top-level pixel data (7FE0,0008), (7FE0,0009) or (7FE0,0010), or to the end.
///
/// The preamble, `DICM` and the file meta information may be missing. Values are slices of `head`.
///
/// # Errors
/// `NotDicom`; `Incomplete` if a prefix ends before the pixel data; the limits of `options`; `Truncated`, `Malformed`.
pub fn read_header(head: Bytes, completeness: Completeness, options: &ReadOptions) -> Result<Header, ReadError> {
    header::read(head, completeness, options)
}

/// Where the data set begins in a file: behind preamble, `DICM` and file meta information, which may be missing.
///
/// # Errors
/// As [`read_header`]; `Incomplete` if a prefix ends before.
pub fn dataset_offset(head: &Bytes, completeness: Completeness, options: &ReadOptions) -> Result<u64, ReadError> {
    if completeness == Completeness::Prefix && head.len() < meta::CLEAR_BYTES {
        return Err(ReadError::Incomplete(head.len()));
    }
    Ok(meta::read(head, completeness, options)?.dataset_offset as u64)
}

/// Reads everything: pixel data and what follows it. Pixel data that ends early is kept as far as it goes.
///
/// # Errors
/// As [`read_header`], without `Incomplete`.
pub fn read_object(bytes: Bytes, options: &ReadOptions) -> Result<Object, ReadError> {
    let file = meta::read(&bytes, Completeness::Whole, options)?;
    let (source, start) = if file.transfer_syntax.is_deflated() {
        (inflate::all(&bytes[file.dataset_offset..], options)?, 0)
    } else {
        (bytes, file.dataset_offset)
    };
    let input = Input { source: &source, whole: true, encoding: file.encoding, stop: Stop::Never, options };
    let dataset = parser::read(&input, start)?.dataset;
    Ok(Object { meta: file.meta, transfer_syntax: file.transfer_syntax, dataset })
}

/// Reads the elements after the pixel data (the bytes from [`PixelLayout::tail_offset`](crate::PixelLayout) on).
///
/// # Errors
/// As [`read_header`], without `NotDicom` and `Incomplete`; offsets count from the start of `bytes`.
pub fn read_tail(bytes: Bytes, syntax: &TransferSyntax, options: &ReadOptions) -> Result<DataSet, ReadError> {
    if bytes.len() > options.max_header_bytes {
        return Err(ReadError::HeaderTooLarge { limit: options.max_header_bytes });
    }
    let encoding = Encoding::detect(&bytes, Encoding::of(syntax), &options.dictionary);
    let input = Input { source: &bytes, whole: true, encoding, stop: Stop::Never, options };
    Ok(parser::read(&input, 0)?.dataset)
}

/// Reads the items of a sequence that was stored as `UN` of defined length: implicit little endian (PS3.5 6.2.2, note 2).
pub(crate) fn read_unknown_items(tag: Tag, value: &Bytes, charset: CharacterSet) -> Result<Vec<DataSet>, ReadError> {
    let options = ReadOptions { default_charset: charset, ..ReadOptions::default() };
    let input = Input { source: value, whole: true, encoding: Encoding::IMPLICIT, stop: Stop::Never, options: &options };
    parser::read_items(&input, tag)
}
