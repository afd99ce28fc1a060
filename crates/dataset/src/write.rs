//! Writing (PS3.10 7, PS3.5 7): items and most sequences with explicit lengths, values of odd length padded.

use std::io::Write;

use bytes::Bytes;
use dicom_core::{Tag, VR};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use thiserror::Error;

use crate::data::{DataSet, Element, Value};
use crate::dictionary::Dictionary;
use crate::number;
use crate::read::Object;
use crate::syntax::TransferSyntax;

pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.224580250806601547387356776019515152286";
const IMPLEMENTATION_VERSION: &str = "PLEIAD_0";

/// Why a data set cannot be written.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    #[error("element {0} is longer than 4 GiB")]
    TooLong(Tag),
    #[error("the data set could not be deflated")]
    Deflate,
}

/// Writes a file: preamble, file meta information, data set in the object's transfer syntax. Elements of the groups 0000 and
/// 0002 in the data set itself are left out: where they would be written, they would be meta information (PS3.10 7.1).
///
/// # Errors
/// `TooLong` if a value, item or sequence does not fit a 32-bit length.
pub fn write_object(object: &Object) -> Result<Vec<u8>, WriteError> {
    let mut out = write_meta(object)?;
    let strays: Vec<Tag> = object.dataset.iter().map(|e| e.tag).filter(|tag| matches!(tag.0, 0x0000 | 0x0002)).collect();
    if strays.is_empty() {
        write_dataset(&object.dataset, &object.transfer_syntax, &mut out)?;
    } else {
        let mut dataset = object.dataset.clone();
        strays.into_iter().for_each(|tag| drop(dataset.remove(tag)));
        write_dataset(&dataset, &object.transfer_syntax, &mut out)?;
    }
    Ok(out)
}

/// Writes preamble, `DICM` and group 0002 with a right (0002,0000). What must be there and is not is added: the version,
/// the SOP class and instance from the data set, the transfer syntax, the implementation (PS3.10 table 7.1-1).
///
/// # Errors
/// `TooLong`.
pub fn write_meta(object: &Object) -> Result<Vec<u8>, WriteError> {
    let mut meta = object.meta.clone();
    meta.remove(Tag(2, 0));
    let mut add = |element: u16, vr, value: Bytes| {
        if meta.get(Tag(2, element)).is_none() && !value.is_empty() {
            meta.put(Element::bytes(Tag(2, element), vr, value));
        }
    };
    let of_data_set = |tag| match object.dataset.get(tag).map(|e| &e.value) {
        Some(Value::Bytes(raw)) => raw.clone(),
        _ => Bytes::new(),
    };
    add(0x0001, VR::OB, Bytes::from_static(&[0, 1]));
    add(0x0002, VR::UI, of_data_set(Tag(0x0008, 0x0016)));
    add(0x0003, VR::UI, of_data_set(Tag(0x0008, 0x0018)));
    add(0x0012, VR::UI, Bytes::from_static(IMPLEMENTATION_CLASS_UID.as_bytes()));
    add(0x0013, VR::SH, Bytes::from_static(IMPLEMENTATION_VERSION.as_bytes()));
    let uid = object.transfer_syntax.uid();
    if meta.text(Tag(2, 0x0010)).is_none_or(|there| TransferSyntax::new(&there).uid() != uid) {
        meta.put(Element::bytes(Tag(2, 0x0010), VR::UI, uid.as_bytes().to_vec()));
    }
    let mut group = Vec::with_capacity(256);
    write_dataset(&meta, &TransferSyntax::EXPLICIT_LITTLE_ENDIAN, &mut group)?;
    let length = u32::try_from(group.len()).map_err(|_| WriteError::TooLong(Tag(2, 0)))?;
    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM\x02\x00\x00\x00UL\x04\x00");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&group);
    Ok(out)
}

/// Appends a data set in a transfer syntax, without any file meta information.
///
/// # Errors
/// `TooLong`.
pub fn write_dataset(dataset: &DataSet, syntax: &TransferSyntax, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let encoding = (syntax.is_explicit(), syntax.is_big_endian());
    if !syntax.is_deflated() {
        return Writer::new(encoding, out).dataset(dataset);
    }
    let mut plain = Vec::new();
    Writer::new(encoding, &mut plain).dataset(dataset)?;
    let mut encoder = DeflateEncoder::new(&mut *out, Compression::default());
    encoder.write_all(&plain).and_then(|()| encoder.finish().map(drop)).map_err(|_| WriteError::Deflate)?;
    if out.len() % 2 == 1 {
        out.push(0);
    }
    Ok(())
}

/// An open sequence: its length field is filled in when it closes.
struct Open<'a> {
    tag: Tag,
    /// `None` if its length is undefined.
    length_at: Option<usize>,
    items: std::slice::Iter<'a, DataSet>,
    item_length_at: Option<usize>,
    /// The rest of the data set around it.
    outer: std::slice::Iter<'a, Element>,
}

struct Writer<'o> {
    explicit: bool,
    big_endian: bool,
    dictionary: Dictionary,
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    fn new((explicit, big_endian): (bool, bool), out: &'o mut Vec<u8>) -> Self {
        Self { explicit, big_endian, dictionary: Dictionary::standard(), out }
    }

    fn dataset(&mut self, dataset: &DataSet) -> Result<(), WriteError> {
        let mut open: Vec<Open<'_>> = Vec::new();
        let mut elements = dataset.iter();
        loop {
            let Some(element) = elements.next() else {
                let Some(level) = open.last_mut() else { return Ok(()) };
                if let Some(at) = level.item_length_at.take() {
                    self.close(level.tag, at)?;
                }
                match level.items.next() {
                    Some(item) => {
                        self.tag(Tag(0xFFFE, 0xE000));
                        level.item_length_at = Some(self.out.len());
                        self.u32(0);
                        elements = item.iter();
                    }
                    None => {
                        match level.length_at {
                            Some(at) => self.close(level.tag, at)?,
                            None => self.sequence_end(),
                        }
                        elements = std::mem::take(&mut level.outer);
                        open.pop();
                    }
                }
                continue;
            };
            match &element.value {
                Value::Bytes(raw) => self.value(element, raw)?,
                Value::Fragments(fragments) => self.fragments(element, fragments)?,
                Value::Items(items) => {
                    // Without a VR, only an undefined length tells that this is a sequence, unless the tag is known to be one.
                    let telling = self.explicit || self.dictionary.vr(element.tag, None) == Some(VR::SQ);
                    self.header(element.tag, VR::SQ, if telling { 0 } else { u32::MAX });
                    let length_at = telling.then(|| self.out.len() - 4);
                    let outer = std::mem::take(&mut elements);
                    open.push(Open { tag: element.tag, length_at, items: items.iter(), item_length_at: None, outer });
                }
            }
        }
    }

    fn value(&mut self, element: &Element, raw: &Bytes) -> Result<(), WriteError> {
        let padded = raw.len() + raw.len() % 2;
        let length = u32::try_from(padded).ok().filter(|l| *l != u32::MAX).ok_or(WriteError::TooLong(element.tag))?;
        // What a short header cannot hold goes as UN (PS3.5 6.2.2, note 5).
        let fits = number::has_long_header(element.vr) || padded <= usize::from(u16::MAX);
        let vr = if self.explicit && !fits { VR::UN } else { element.vr };
        self.header(element.tag, vr, length);
        if self.big_endian {
            self.out.extend_from_slice(&number::swapped(element.vr, raw.clone()));
        } else {
            self.out.extend_from_slice(raw);
        }
        if raw.len() % 2 == 1 {
            let blank = crate::text::is_text(element.vr) && element.vr != VR::UI;
            self.out.push(if blank { b' ' } else { 0 });
        }
        Ok(())
    }

    fn fragments(&mut self, element: &Element, fragments: &[Bytes]) -> Result<(), WriteError> {
        self.header(element.tag, element.vr, u32::MAX);
        for fragment in fragments {
            let padded = fragment.len() + fragment.len() % 2;
            let length = u32::try_from(padded).map_err(|_| WriteError::TooLong(element.tag))?;
            self.tag(Tag(0xFFFE, 0xE000));
            self.u32(length);
            self.out.extend_from_slice(fragment);
            self.out.resize(self.out.len() + fragment.len() % 2, 0);
        }
        self.sequence_end();
        Ok(())
    }

    fn sequence_end(&mut self) {
        self.tag(Tag(0xFFFE, 0xE0DD));
        self.u32(0);
    }

    fn header(&mut self, tag: Tag, vr: VR, length: u32) {
        self.tag(tag);
        if !self.explicit {
            return self.u32(length);
        }
        self.out.extend_from_slice(&vr.to_bytes());
        if number::has_long_header(vr) {
            self.u16(0);
            self.u32(length);
        } else {
            self.u16(length as u16);
        }
    }

    /// Fills in the length field at `at`: the bytes after it.
    fn close(&mut self, tag: Tag, at: usize) -> Result<(), WriteError> {
        let length = self.out.len() - at - 4;
        let length = u32::try_from(length).ok().filter(|l| *l != u32::MAX).ok_or(WriteError::TooLong(tag))?;
        let bytes = if self.big_endian { length.to_be_bytes() } else { length.to_le_bytes() };
        self.out[at..at + 4].copy_from_slice(&bytes);
        Ok(())
    }

    fn tag(&mut self, tag: Tag) {
        self.u16(tag.0);
        self.u16(tag.1);
    }

    fn u16(&mut self, value: u16) {
        let bytes = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.out.extend_from_slice(&bytes);
    }

    fn u32(&mut self, value: u32) {
        let bytes = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.out.extend_from_slice(&bytes);
    }
}
