//! The beginning of a file (PS3.10 7): preamble, `DICM`, group 0002; or a bare data set, recognised by its first element.

use bytes::Bytes;
use dicom_core::Tag;

use super::encoding::Encoding;
use super::parser::{self, Input, Stop};
use super::{Completeness, ReadError, ReadOptions};
use crate::data::{DataSet, Value};
use crate::syntax::TransferSyntax;

const PREAMBLE_BYTES: usize = 128;
const MAGIC: &[u8] = b"DICM";
/// From so many bytes on it is clear whether there is a preamble.
pub(super) const CLEAR_BYTES: usize = PREAMBLE_BYTES + MAGIC.len();
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);

/// A file up to where its data set begins.
pub(super) struct File {
    pub meta: DataSet,
    pub transfer_syntax: TransferSyntax,
    /// How the data set is really encoded.
    pub encoding: Encoding,
    pub dataset_offset: usize,
}

pub(super) fn read(bytes: &Bytes, completeness: Completeness, options: &ReadOptions) -> Result<File, ReadError> {
    let prefix = completeness == Completeness::Prefix;
    let meta_offset = match bytes.get(PREAMBLE_BYTES..PREAMBLE_BYTES + MAGIC.len()) {
        Some(MAGIC) => Some(PREAMBLE_BYTES + MAGIC.len()),
        _ if bytes.starts_with(MAGIC) => Some(MAGIC.len()),
        _ if starts_with_meta(bytes) => Some(0),
        _ => None,
    };
    let Some(meta_offset) = meta_offset else {
        let encoding = Encoding::guess(bytes, &options.dictionary).ok_or(ReadError::NotDicom)?;
        return Ok(File { meta: DataSet::new(), transfer_syntax: encoding.syntax(), encoding, dataset_offset: 0 });
    };
    let (meta, end) = group_two(bytes, meta_offset, prefix, options)?;
    if prefix && bytes.len() < end + 8 {
        return Err(ReadError::Incomplete(bytes.len()));
    }
    let rest = &bytes[end..];
    let labelled = meta.text(TRANSFER_SYNTAX_UID).filter(|uid| !uid.is_empty()).map(|uid| TransferSyntax::new(&uid));
    Ok(match labelled {
        Some(syntax) if syntax.is_deflated() => {
            let (end, encoding) = (deflated_start(&meta, meta_offset, end), Encoding::of(&syntax));
            File { meta, encoding, transfer_syntax: syntax, dataset_offset: end }
        }
        Some(syntax) => {
            let encoding = Encoding::detect(rest, Encoding::of(&syntax), &options.dictionary);
            File { meta, encoding, transfer_syntax: syntax, dataset_offset: end }
        }
        None => {
            let encoding = Encoding::guess(rest, &options.dictionary).unwrap_or(Encoding::EXPLICIT);
            File { meta, transfer_syntax: encoding.syntax(), encoding, dataset_offset: end }
        }
    })
}

fn starts_with_meta(bytes: &[u8]) -> bool {
    matches!(bytes, [2, 0, _, 0, a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase())
}

/// Reads group 0002. Its length (0002,0000) is often wrong, so the group ends where another one begins.
fn group_two(bytes: &Bytes, start: usize, prefix: bool, options: &ReadOptions) -> Result<(DataSet, usize), ReadError> {
    let bounded = bytes.slice(..bytes.len().min(start.saturating_add(options.max_header_bytes)));
    let cut = bounded.len() < bytes.len();
    let input =
        Input { source: &bounded, whole: !prefix && !cut, encoding: Encoding::EXPLICIT, stop: Stop::AfterGroupTwo, options };
    match parser::read(&input, start) {
        Err(ReadError::Incomplete(_)) if cut => Err(ReadError::HeaderTooLarge { limit: options.max_header_bytes }),
        Err(other) => Err(other),
        Ok(parsed) => Ok((parsed.dataset, parsed.end)),
    }
}

/// The start of a deflated data set: its first bytes may look like another element of group 0002, so that here the group
/// length is believed if it is in reach.
fn deflated_start(meta: &DataSet, meta_offset: usize, end: usize) -> usize {
    let Some(Value::Bytes(length)) = meta.get(Tag(2, 0)).map(|e| &e.value) else { return end };
    let Ok(length) = <[u8; 4]>::try_from(&length[..]) else { return end };
    let declared = meta_offset.saturating_add(12).saturating_add(u32::from_le_bytes(length) as usize);
    declared.min(end)
}
