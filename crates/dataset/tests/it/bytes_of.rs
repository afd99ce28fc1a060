//! DICOM bytes, built by hand.

use dataset::{DataSet, Object, ReadError, ReadOptions, Tag, read_object};

pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// An explicit little endian element with a short header.
pub fn short(tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
    let mut out = tag_of(tag);
    out.extend_from_slice(vr.as_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out
}

/// An explicit little endian element with a long header, and whatever length.
pub fn long(tag: (u16, u16), vr: &str, length: u32, value: &[u8]) -> Vec<u8> {
    let mut out = tag_of(tag);
    out.extend_from_slice(vr.as_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
    out
}

/// An implicit little endian element with whatever length; also an item or a delimiter.
pub fn implicit(tag: (u16, u16), length: u32, value: &[u8]) -> Vec<u8> {
    let mut out = tag_of(tag);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
    out
}

pub fn item(value: &[u8]) -> Vec<u8> {
    implicit((0xFFFE, 0xE000), value.len() as u32, value)
}

pub fn open_item() -> Vec<u8> {
    implicit((0xFFFE, 0xE000), u32::MAX, &[])
}

pub fn item_end() -> Vec<u8> {
    implicit((0xFFFE, 0xE00D), 0, &[])
}

pub fn sequence_end() -> Vec<u8> {
    implicit((0xFFFE, 0xE0DD), 0, &[])
}

fn tag_of((group, element): (u16, u16)) -> Vec<u8> {
    [group.to_le_bytes(), element.to_le_bytes()].concat()
}

/// Preamble, meta information and a data set.
pub fn file(syntax: &str, data: &[u8]) -> Vec<u8> {
    let mut uid = syntax.as_bytes().to_vec();
    if uid.len() % 2 == 1 {
        uid.push(0);
    }
    let group = [long((2, 1), "OB", 2, &[0, 1]), short((2, 0x10), "UI", &uid)].concat();
    let length = short((2, 0), "UL", &(group.len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), length, group, data.to_vec()].concat()
}

pub fn read(bytes: Vec<u8>) -> Result<Object, ReadError> {
    read_object(bytes.into(), &ReadOptions::default())
}

/// Reads the data set of a file that must be readable.
pub fn data_of(bytes: Vec<u8>) -> DataSet {
    read(bytes).map(|o| o.dataset).unwrap_or_else(|e| panic!("{e}"))
}

pub fn text(data: &DataSet, tag: (u16, u16)) -> Option<String> {
    data.text(Tag(tag.0, tag.1))
}
