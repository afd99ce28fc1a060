//! Offsets of pixel data, fragments and what follows.

use dataset::{Completeness, Header, PixelLayout, PixelScanner, ReadOptions, Tag, read_header, read_tail};

use crate::bytes_of::*;

fn header(bytes: &[u8], completeness: Completeness) -> Header {
    read_header(bytes.to_vec().into(), completeness, &ReadOptions::default()).expect("it is DICOM")
}

fn scan(bytes: &[u8], chunk: usize) -> PixelLayout {
    let header = header(bytes, Completeness::Whole);
    let mut scanner = PixelScanner::new(&header).expect("there are pixels");
    let start = header.pixel.and_then(|p| p.value_offset).expect("not deflated") as usize;
    bytes[start..].chunks(chunk).for_each(|c| scanner.feed(c));
    scanner.finish()
}

#[test]
fn native_pixel_data_is_found_from_a_prefix() {
    let before = file(EXPLICIT, &short((0x0028, 0x0010), "US", &[0, 2]));
    let tail = long((0xFFFC, 0xFFFC), "OB", 2, &[0, 0]);
    let bytes = [before.clone(), long((0x7FE0, 0x0010), "OW", 6, &[1; 6]), tail.clone()].concat();
    let offset = before.len() as u64;
    let seen = header(&bytes[..before.len() + 12], Completeness::Prefix);
    let pixel = seen.pixel.expect("there are pixels");
    assert_eq!((pixel.offset, pixel.value_offset, pixel.length), (Some(offset), Some(offset + 12), Some(6)));
    assert_eq!(bytes[seen.dataset_offset as usize..][..4], [0x28, 0, 0x10, 0]);
    for chunk in 1..bytes.len() {
        let expected = PixelLayout { tail_offset: Some(offset + 18), fragments: vec![], truncated: false };
        assert_eq!(scan(&bytes, chunk), expected);
    }
    let read = read_tail(tail.into(), &seen.transfer_syntax, &ReadOptions::default()).expect("it is DICOM");
    assert!(read.get(Tag(0xFFFC, 0xFFFC)).is_some());
}

#[test]
fn fragments_are_found_in_pieces_of_any_size() {
    let value = [item(&[]), item(&[1, 2]), item(&[3, 4, 5, 6]), item(&[]), sequence_end()].concat();
    let before = file(JPEG, &short((0x0028, 0x0010), "US", &[0, 2]));
    let start = before.len() as u64 + 12;
    let pixel = long((0x7FE0, 0x0010), "OB", u32::MAX, &value);
    let bytes = [before, pixel].concat();
    let fragments = vec![(start + 8, 0), (start + 16, 2), (start + 26, 4), (start + 38, 0)];
    for chunk in 1..bytes.len() {
        let expected = PixelLayout { tail_offset: None, fragments: fragments.clone(), truncated: false };
        assert_eq!(scan(&bytes, chunk), expected);
        let tail = Some(start + value.len() as u64);
        let longer = [bytes.clone(), short((0x7FE1, 0x0010), "LO", b"OWNER ")].concat();
        assert_eq!(scan(&longer, chunk), PixelLayout { tail_offset: tail, fragments: fragments.clone(), truncated: false });
    }
}

#[test]
fn pixel_data_that_ends_early_or_is_damaged_is_noticed() {
    let native = file(EXPLICIT, &long((0x7FE0, 0x0010), "OW", 100, &[1; 6]));
    assert!(scan(&native, 4).truncated);
    let open = file(JPEG, &long((0x7FE0, 0x0010), "OB", u32::MAX, &[item(&[]), item(&[1, 2])].concat()));
    assert!(scan(&open, 4).truncated);
    let damaged = file(JPEG, &long((0x7FE0, 0x0010), "OB", u32::MAX, &[item(&[]), vec![9; 40]].concat()));
    assert!(scan(&damaged, 4).truncated);
    let empty = file(EXPLICIT, &long((0x7FE0, 0x0010), "OW", 0, &[]));
    assert_eq!(scan(&empty, 4), PixelLayout::default());
}

#[test]
fn pixel_data_within_a_sequence_is_an_element_like_others() {
    let icon = long((0x7FE0, 0x0010), "OW", 2, &[1, 2]);
    let data = long((0x0088, 0x0200), "SQ", icon.len() as u32 + 8, &item(&icon));
    let seen = header(&file(EXPLICIT, &data), Completeness::Whole);
    assert!(seen.pixel.is_none());
    assert!(PixelScanner::new(&seen).is_none());
    assert_eq!(seen.dataset.len(), 1);
}
