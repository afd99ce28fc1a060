//! Bytes that mean harm, or are broken.

use std::io::Write;

use dataset::{Completeness, ReadError, ReadOptions, Tag, read_header, read_object, read_tail};

use crate::bytes_of::*;

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn nested(levels: usize, defined: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for level in 0..levels {
        let left = ((levels - level) * 20) as u32;
        let (sequence, inside) = if defined { (left - 12, left - 20) } else { (u32::MAX, u32::MAX) };
        out.extend(long((0x0008, 0x1140), "SQ", sequence, &[]));
        out.extend(implicit((0xFFFE, 0xE000), inside, &[]));
    }
    if !defined {
        (0..levels).for_each(|_| out.extend([item_end(), sequence_end()].concat()));
    }
    file(EXPLICIT, &out)
}

#[test]
fn sixty_thousand_nested_sequences_are_refused() {
    for defined in [false, true] {
        let bytes = nested(60_000, defined);
        assert!(matches!(read(bytes.clone()), Err(ReadError::TooDeep { limit: 256, .. })));
        let header = read_header(bytes.into(), Completeness::Whole, &ReadOptions::default());
        assert!(matches!(header, Err(ReadError::TooDeep { limit: 256, .. })));
    }
}

#[test]
fn as_many_nested_sequences_as_allowed_are_read() {
    for defined in [false, true] {
        assert!(matches!(read(nested(257, defined)), Err(ReadError::TooDeep { .. })));
        assert_eq!(data_of(nested(256, defined)).len(), 1);
    }
}

#[test]
fn a_small_file_that_declares_4_gib_is_cut_short() {
    let mut bytes = file(EXPLICIT, &short((0x0008, 0x0060), "CS", b"CT"));
    let offset = bytes.len() as u64;
    bytes.extend(long((0x0009, 0x1001), "OB", 0xFFFF_FFF0, &[]));
    bytes.resize(936, 0);
    let expected = ReadError::Truncated { tag: Tag(0x0009, 0x1001), offset };
    assert_eq!(read(bytes.clone()).err(), Some(expected.clone()));
    let whole = read_header(bytes.clone().into(), Completeness::Whole, &ReadOptions::default());
    assert_eq!(whole.err(), Some(expected));
    let prefix = read_header(bytes.into(), Completeness::Prefix, &ReadOptions::default());
    assert_eq!(prefix.err(), Some(ReadError::Incomplete(936)));
}

#[test]
fn pixel_data_that_declares_4_gib_is_kept_as_far_as_it_goes() {
    let data = long((0x7FE0, 0x0010), "OW", 0xFFFF_FFF0, &[1, 2, 3, 4]);
    let object = read(file(EXPLICIT, &data)).expect("truncated pixel data is tolerated");
    let written = dataset::write_object(&object).expect("it fits");
    assert_eq!(written[written.len() - 4..], [1, 2, 3, 4]);
}

#[test]
fn a_deflate_bomb_is_refused_in_header_and_object() {
    // One 200 MB value of zeros before the pixel data.
    let plain = [long((0x0009, 0x1001), "OB", 200_000_000, &[]), vec![0; 200_000_000]].concat();
    let bytes = file(DEFLATED, &deflate(&plain));
    assert!(bytes.len() < 300_000);
    let options = ReadOptions { max_inflated_bytes: 1 << 20, ..ReadOptions::default() };
    let header = read_header(bytes.clone().into(), Completeness::Whole, &options);
    assert_eq!(header.err(), Some(ReadError::HeaderTooLarge { limit: 64 << 20 }));
    assert_eq!(read_object(bytes.into(), &options).err(), Some(ReadError::InflatedTooLarge { limit: 1 << 20 }));
}

#[test]
fn a_damaged_deflate_stream_is_an_error() {
    let mut bytes = file(DEFLATED, &deflate(&short((0x0008, 0x0060), "CS", b"CT")));
    let end = bytes.len() - 3;
    assert!(read(bytes.clone()).is_ok());
    assert_eq!(read(bytes[..end].to_vec()).err(), Some(ReadError::Deflate));
    bytes.truncate(bytes.len() - 8);
    bytes.extend([0xFF; 16]);
    assert_eq!(read(bytes).err(), Some(ReadError::Deflate));
}

#[test]
fn what_is_no_dicom_is_called_so() {
    let cases: [&[u8]; 9] = [
        b"",
        b"\0",
        b"hello, this is text and not a DICOM object at all",
        b"PK\x03\x04\x14\0\0\0\x08\0 and more of a ZIP archive",
        b"{ \"Resources\": [] }",
        b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR",
        b"II*\0\x08\0\0\0\x0c\0\0\x01\x03\0\x01\0\0\0",
        b"%PDF-1.7\n%\xE2\xE3\xCF\xD3",
        &[0; 4096],
    ];
    for bytes in cases {
        assert_eq!(read(bytes.to_vec()).err(), Some(ReadError::NotDicom), "{bytes:?}");
        let header = read_header(bytes.to_vec().into(), Completeness::Whole, &ReadOptions::default());
        assert_eq!(header.err(), Some(ReadError::NotDicom), "{bytes:?}");
    }
}

/// A data set with a bit of everything.
fn mixed() -> Vec<u8> {
    let inner = short((0x0008, 0x0104), "LO", b"meaning ");
    [
        short((0x0008, 0x0005), "CS", b"ISO_IR 192"),
        short((0x0008, 0x0060), "CS", b"CT"),
        long((0x0008, 0x1140), "SQ", inner.len() as u32 + 8, &item(&inner)),
        long((0x0009, 0x1001), "UN", u32::MAX, &[open_item(), item_end(), sequence_end()].concat()),
        short((0x0028, 0x0010), "US", &[0, 2]),
        long((0x7FE0, 0x0010), "OB", u32::MAX, &[item(&[]), item(&[1, 2]), sequence_end()].concat()),
        long((0xFFFC, 0xFFFC), "OB", 2, &[0, 0]),
    ]
    .concat()
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_object() {
    for syntax in [EXPLICIT, JPEG] {
        let whole = file(syntax, &mixed());
        let header_end = whole.len() - 14 - 38;
        for end in 0..whole.len() {
            let cut = whole[..end].to_vec();
            let prefix = read_header(cut.clone().into(), Completeness::Prefix, &ReadOptions::default());
            match prefix {
                Ok(header) => assert!(end >= header_end, "{end}: {header:?}"),
                Err(error) => assert_eq!(error, ReadError::Incomplete(end)),
            }
            let object = read(cut);
            assert!(object.is_err() || object.is_ok_and(|o| o.dataset.len() <= 7));
        }
    }
}

#[test]
fn the_end_of_a_whole_object_within_an_element_names_it() {
    let start = file(EXPLICIT, &short((0x0008, 0x0060), "CS", b"CT"));
    let offset = start.len() as u64;
    let cut = [start, short((0x0010, 0x0010), "PN", b"Doe^John")[..11].to_vec()].concat();
    let error = read(cut).expect_err("it is cut");
    assert_eq!(error, ReadError::Truncated { tag: Tag(0x0010, 0x0010), offset });
    assert_eq!(error.to_string(), format!("ends within element (0010,0010) at offset {offset}"));
}

#[test]
fn too_many_elements_are_refused() {
    let options = ReadOptions { max_elements: 1000, ..ReadOptions::default() };
    let items: Vec<u8> = (0..1001).flat_map(|_| item(&[])).collect();
    let data = long((0x0008, 0x1140), "SQ", items.len() as u32, &items);
    let error = read_object(file(EXPLICIT, &data).into(), &options).err();
    assert_eq!(error, Some(ReadError::TooManyElements { limit: 1000 }));
    let fragments = long((0x7FE0, 0x0010), "OB", u32::MAX, &[items, sequence_end()].concat());
    let error = read_object(file(JPEG, &fragments).into(), &options).err();
    assert_eq!(error, Some(ReadError::TooManyElements { limit: 1000 }));
}

#[test]
fn a_header_beyond_the_limit_is_refused() {
    let options = ReadOptions { max_header_bytes: 1 << 10, ..ReadOptions::default() };
    let data = long((0x0009, 0x1001), "OB", 2000, &[0; 2000]);
    let expected = Some(ReadError::HeaderTooLarge { limit: 1 << 10 });
    for completeness in [Completeness::Whole, Completeness::Prefix] {
        assert_eq!(read_header(file(EXPLICIT, &data).into(), completeness, &options).err(), expected);
    }
    let mut meta = vec![0; 128];
    meta.extend(b"DICM");
    meta.extend(long((2, 0x102), "OB", 2000, &[0; 2000]));
    assert_eq!(read_header(meta.into(), Completeness::Whole, &options).err(), expected);
    assert_eq!(read_tail(data.into(), &dataset::TransferSyntax::new(EXPLICIT), &options).err(), expected);
}

#[test]
fn items_where_none_belong_are_errors() {
    let cases = [
        item(&[]),
        long((0x0008, 0x1140), "SQ", u32::MAX, &short((0x0008, 0x0060), "CS", b"CTCTCTCT")),
        long((0x0008, 0x1140), "SQ", 24, &[item(&[]), short((0x0008, 0x0060), "CS", b"CTCTCTCT")].concat()),
        long((0x7FE0, 0x0010), "OB", u32::MAX, &short((0x0008, 0x0060), "CS", b"CT")),
    ];
    for data in cases {
        let bytes = file(JPEG, &[short((0x0008, 0x0008), "CS", b"A "), data].concat());
        assert!(matches!(read(bytes), Err(ReadError::Malformed { .. })));
    }
}

/// Not a matter of speed: without care, each of the elements costs a look at all that follows, and this takes hours.
#[test]
fn very_many_elements_of_zeros_end_with_the_error_of_the_last() {
    let mut bytes = file(EXPLICIT, &vec![0; 16 << 20]);
    bytes.push(1);
    let offset = bytes.len() as u64 - 1;
    assert_eq!(read(bytes).err(), Some(ReadError::Truncated { tag: Tag(1, 0), offset }));
}

#[test]
fn a_private_creator_of_many_megabytes_is_none() {
    let long_creator = implicit((0x0009, 0x0010), 8 << 20, &vec![b'A'; 8 << 20]);
    let many: Vec<u8> = (0..200_000u32).flat_map(|_| implicit((0x0009, 0x1001), 0, &[])).collect();
    let parts = [implicit((0x0008, 0x0060), 2, b"CT"), long_creator, many];
    let data = data_of(file(IMPLICIT, &parts.concat()));
    assert_eq!(data.private_creator_of(Tag(0x0009, 0x1001)), None);
}
