//! Everything that reads bytes from outside: files, prefixes of files, pixel data as it streams by, what follows it.
//!
//! Beside "no panic, no hang, no allocation beyond the limit": what was read can be written and is then read as the same, a
//! prefix that is long enough gives the header of the whole, and pixel data gives the same layout however it is cut.

use bytes::Bytes;
use dataset::{
    Completeness, DataSet, Dictionary, Header, Object, PixelLayout, PixelScanner, ReadError, Tag, VR, Value, read_header,
    read_object, read_tail, write_object,
};

use crate::options;

pub fn run(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let header = read_header(bytes.clone(), Completeness::Whole, &options());
    assert!(!matches!(header, Err(ReadError::Incomplete(_))), "the whole object cannot be incomplete");
    if let Ok(header) = &header {
        assert!(header.dataset_offset <= input.len() as u64);
        prefix(&bytes, header);
        pixels(&bytes, header);
    }
    if let Ok(object) = read_object(bytes, &options()) {
        round_trip(&object);
    }
}

/// A prefix that reaches to the value of the pixel data has the same header.
fn prefix(bytes: &Bytes, header: &Header) {
    let Some(pixel) = &header.pixel else { return };
    let Some(value_offset) = pixel.value_offset else { return };
    let (start, end) = (pixel.offset.unwrap_or(u64::MAX), value_offset as usize);
    assert!(start < value_offset && end <= bytes.len());
    let again = read_header(bytes.slice(..end), Completeness::Prefix, &options());
    match again {
        Ok(again) => {
            assert_eq!(again.dataset, header.dataset, "a prefix has another header");
            assert_eq!(again.pixel, header.pixel);
        }
        Err(error) => panic!("a prefix with the whole header was refused: {error}"),
    }
    let short = read_header(bytes.slice(..end / 2), Completeness::Prefix, &options());
    if let Ok(short) = short {
        assert!(short.pixel.is_some(), "a prefix without pixel data was taken for the whole");
    }
}

/// The scanner in one piece, and in small ones of growing size.
fn pixels(bytes: &Bytes, header: &Header) {
    let Some(offset) = header.pixel.as_ref().and_then(|p| p.value_offset) else { return };
    let value = bytes.slice(offset as usize..);
    let whole = layout(header, std::iter::once(&value[..]));
    let mut pieces = Vec::new();
    let mut rest = &value[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((pieces.len() % 13).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    assert_eq!(whole, layout(header, pieces.into_iter()), "cutting changed the layout");
    let Some(whole) = whole else { return };
    for (offset, length) in &whole.fragments {
        assert!(whole.truncated || offset + u64::from(*length) <= bytes.len() as u64);
    }
    if let Some(tail) = whole.tail_offset {
        assert!(tail >= offset && tail < bytes.len() as u64);
        let _ = read_tail(bytes.slice(tail as usize..), &header.transfer_syntax, &options());
    }
}

fn layout<'a>(header: &Header, pieces: impl Iterator<Item = &'a [u8]>) -> Option<PixelLayout> {
    let mut scanner = PixelScanner::new(header)?;
    pieces.for_each(|piece| scanner.feed(piece));
    Some(scanner.finish())
}

/// What was read is written, read, and written the same.
fn round_trip(object: &Object) {
    let Ok(written) = write_object(object) else { return };
    if !object.transfer_syntax.is_explicit() && misfits(&object.dataset) {
        return;
    }
    let again = match read_object(written.clone().into(), &options()) {
        Ok(again) => again,
        // Explicit lengths, padding and a long UN header may take more bytes than what was read.
        Err(ReadError::InflatedTooLarge { .. }) => return,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    let rewritten = write_object(&again).expect("it was written before");
    assert_eq!(written, rewritten, "writing is not stable");
}

/// Whether something is no sequence that the dictionary says is one, or is encapsulated without being pixel data. Implicit
/// encodings have no means to tell.
fn misfits(data: &DataSet) -> bool {
    data.iter().any(|element| match &element.value {
        Value::Items(items) => items.iter().any(misfits),
        Value::Fragments(_) => !matches!(element.tag, Tag(0x7FE0, 0x0008..=0x0010)),
        Value::Bytes(_) => Dictionary::standard().vr(element.tag, None) == Some(VR::SQ),
    })
}
