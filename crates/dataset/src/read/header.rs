//! The header of a file: everything before its pixel data.

use bytes::Bytes;

use super::parser::{self, Input, Parsed, Stop};
use super::{Completeness, Header, PixelElement, ReadError, ReadOptions, inflate, meta};

pub(super) fn read(head: Bytes, completeness: Completeness, options: &ReadOptions) -> Result<Header, ReadError> {
    let length = head.len();
    let read = from_start(head, completeness, options);
    // What little there is may be a preamble: only a complete header, of a bare data set, is believed.
    let unclear = completeness == Completeness::Prefix && length < meta::CLEAR_BYTES;
    read.map_err(|error| if unclear { ReadError::Incomplete(length) } else { error })
}

fn from_start(head: Bytes, completeness: Completeness, options: &ReadOptions) -> Result<Header, ReadError> {
    let file = meta::read(&head, completeness, options)?;
    let whole = completeness == Completeness::Whole;
    let parsed = if file.transfer_syntax.is_deflated() {
        deflated(&head, &file, whole, options)?
    } else {
        let bounded = head.slice(..head.len().min(file.dataset_offset.saturating_add(options.max_header_bytes)));
        let cut = bounded.len() < head.len();
        let input = Input { source: &bounded, whole: whole && !cut, encoding: file.encoding, stop: Stop::AtPixelData, options };
        match parser::read(&input, file.dataset_offset) {
            Err(ReadError::Incomplete(_)) if cut => {
                return Err(ReadError::HeaderTooLarge { limit: options.max_header_bytes });
            }
            other => other?,
        }
    };
    let deflated = file.transfer_syntax.is_deflated();
    let pixel = parsed.pixel.map(|p| PixelElement {
        tag: p.tag,
        vr: p.vr,
        offset: (!deflated).then_some(p.offset as u64),
        value_offset: (!deflated).then_some(p.value_offset as u64),
        length: p.length,
    });
    Ok(Header {
        meta: file.meta,
        transfer_syntax: file.transfer_syntax,
        dataset: parsed.dataset,
        dataset_offset: file.dataset_offset as u64,
        pixel,
    })
}

/// Inflates only as much as the header needs: the pixel data is not.
fn deflated(head: &Bytes, file: &meta::File, whole: bool, options: &ReadOptions) -> Result<Parsed, ReadError> {
    let mut stream = inflate::Stream::new(&head[file.dataset_offset..]);
    let mut want = 64 << 10;
    loop {
        let limit = options.max_header_bytes;
        let end = stream.inflate_to(want.min(limit))?;
        let source = Bytes::copy_from_slice(stream.bytes());
        let complete = end == inflate::End::Finished;
        let input = Input { source: &source, whole: complete, encoding: file.encoding, stop: Stop::AtPixelData, options };
        match (parser::read(&input, 0), end) {
            (Err(ReadError::Incomplete(_)), inflate::End::Full) if want >= limit => {
                return Err(ReadError::HeaderTooLarge { limit });
            }
            (Err(ReadError::Incomplete(_)), inflate::End::Full) => want *= 4,
            (Err(ReadError::Incomplete(_)), inflate::End::Starved) if whole => return Err(ReadError::Deflate),
            (Err(ReadError::Incomplete(_)), _) => return Err(ReadError::Incomplete(head.len())),
            (other, _) => return other,
        }
    }
}
