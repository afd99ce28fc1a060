//! The many shapes in which DICOM arrives.

use dataset::{Completeness, Dictionary, ReadOptions, Tag, VR, Value, read_header, read_object};
use std::sync::Arc;

use crate::bytes_of::*;

const MODALITY: (u16, u16) = (0x0008, 0x0060);

#[test]
fn preamble_and_meta_information_may_be_missing() {
    let data = [short(MODALITY, "CS", b"CT"), short((0x0010, 0x0010), "PN", b"Doe^John")].concat();
    let whole = file(EXPLICIT, &data);
    for bytes in [whole.clone(), whole[128..].to_vec(), whole[132..].to_vec(), data] {
        let object = read(bytes).expect("it is DICOM");
        assert_eq!(object.transfer_syntax.uid(), EXPLICIT);
        assert_eq!(text(&object.dataset, (0x0010, 0x0010)).as_deref(), Some("Doe^John"));
    }
}

#[test]
fn bare_implicit_and_big_endian_data_is_recognised() {
    let object = read(implicit(MODALITY, 2, b"MR")).expect("it is DICOM");
    assert_eq!((object.transfer_syntax.uid(), text(&object.dataset, MODALITY)), (IMPLICIT, Some("MR".into())));
    let object = read(b"\0\x08\0\x60CS\0\x02US".to_vec()).expect("it is DICOM");
    assert_eq!((object.transfer_syntax.uid(), text(&object.dataset, MODALITY)), (BIG_ENDIAN, Some("US".into())));
}

#[test]
fn a_wrong_label_is_seen_through() {
    let explicit = [short(MODALITY, "CS", b"CT"), short((0x0028, 0x0010), "US", &[0, 2])].concat();
    let plain = [implicit(MODALITY, 2, b"CT"), implicit((0x0028, 0x0010), 2, &[0, 2])].concat();
    for bytes in [file(IMPLICIT, &explicit), file(EXPLICIT, &plain), file(JPEG, &plain)] {
        assert_eq!(text(&data_of(bytes), (0x0028, 0x0010)).as_deref(), Some("512"));
    }
}

#[test]
fn the_group_length_of_the_meta_information_is_only_a_hint() {
    for wrong in [0, 3, 30, 5000, u32::MAX] {
        let mut bytes = file(EXPLICIT, &short(MODALITY, "CS", b"CT"));
        bytes[140..144].copy_from_slice(&wrong.to_le_bytes());
        let object = read(bytes).expect("it is DICOM");
        assert_eq!(object.meta.len(), 3);
        assert_eq!(text(&object.dataset, MODALITY).as_deref(), Some("CT"));
    }
}

#[test]
fn big_endian_values_arrive_little_endian() {
    let mut data = b"\0\x28\0\x10US\0\x04\x02\0\x01\0".to_vec();
    data.extend(b"\x00\x20\x10\x00SQ\0\0\0\0\0\x12\xFF\xFE\xE0\x00\0\0\0\x0A\0\x28\0\x11US\0\x02\x00\x05");
    data.extend(b"\x7F\xE0\0\x10OW\0\0\0\0\0\x04\x01\x02\x03\x04");
    let data = data_of(file(BIG_ENDIAN, &data));
    assert_eq!(text(&data, (0x0028, 0x0010)).as_deref(), Some("512\\256"));
    let Some(Value::Items(items)) = data.get(Tag(0x0020, 0x1000)).map(|e| &e.value) else { panic!("a sequence") };
    assert_eq!(text(&items[0], (0x0028, 0x0011)).as_deref(), Some("5"));
    assert_eq!(data.get(Tag(0x7FE0, 0x0010)).map(|e| &e.value), Some(&Value::Bytes(vec![2, 1, 4, 3].into())));
}

#[test]
fn unknown_of_undefined_length_holds_implicit_items() {
    let inner = implicit((0x0008, 0x0104), 8, b"meaning ");
    let data = long((0x0009, 0x1001), "UN", u32::MAX, &[open_item(), inner, item_end(), sequence_end()].concat());
    let data = data_of(file(EXPLICIT, &[data, short((0x0010, 0x0020), "LO", b"ID")].concat()));
    let Some(Value::Items(items)) = data.get(Tag(0x0009, 0x1001)).map(|e| &e.value) else { panic!("a sequence") };
    assert_eq!(text(&items[0], (0x0008, 0x0104)).as_deref(), Some("meaning"));
    assert_eq!(text(&data, (0x0010, 0x0020)).as_deref(), Some("ID"), "explicit again after it");
}

#[test]
fn unknown_of_undefined_length_may_hold_explicit_items_after_all() {
    let inner = short((0x0008, 0x0104), "LO", b"meaning ");
    let data = long((0x0009, 0x1001), "UN", u32::MAX, &[open_item(), inner, item_end(), sequence_end()].concat());
    let data = data_of(file(EXPLICIT, &data));
    let Some(Value::Items(items)) = data.get(Tag(0x0009, 0x1001)).map(|e| &e.value) else { panic!("a sequence") };
    assert_eq!(text(&items[0], (0x0008, 0x0104)).as_deref(), Some("meaning"));
}

#[test]
fn value_representations_that_nobody_knows_are_kept_as_unknown() {
    let long_form = long((0x0009, 0x1001), "ZZ", 4, b"abcd");
    let short_form = short((0x0009, 0x1002), "QQ", b"efgh");
    let empty = short((0x0009, 0x1003), "QQ", b"");
    let data = data_of(file(EXPLICIT, &[long_form, short_form, empty, short((0x0010, 0x0020), "LO", b"ID")].concat()));
    let value = |element| data.get(Tag(9, element)).map(|e| (e.vr, &e.value));
    assert_eq!(value(0x1001), Some((VR::UN, &Value::Bytes("abcd".into()))));
    assert_eq!(value(0x1002), Some((VR::UN, &Value::Bytes("efgh".into()))));
    assert_eq!(value(0x1003), Some((VR::UN, &Value::Bytes("".into()))));
    assert_eq!(text(&data, (0x0010, 0x0020)).as_deref(), Some("ID"));
}

#[test]
fn odd_lengths_strays_and_padding_are_tolerated() {
    let sequence = [open_item(), short((0x0008, 0x0104), "LO", b"a"), sequence_end()].concat();
    let parts = [
        short(MODALITY, "CS", b"CTX"),
        item_end(),
        sequence_end(),
        long((0x0008, 0x1140), "SQ", u32::MAX, &sequence),
        short((0x0010, 0x0020), "LO", b"odd"),
        vec![0; 70],
    ];
    let data = data_of(file(EXPLICIT, &parts.concat()));
    assert_eq!(data.len(), 3);
    assert_eq!(text(&data, (0x0010, 0x0020)).as_deref(), Some("odd"));
}

#[test]
fn an_item_longer_than_its_sequence_is_read_to_its_end() {
    let inner = short((0x0008, 0x0104), "LO", b"meaning ");
    let data = long((0x0008, 0x1140), "SQ", 8, &item(&inner));
    let data = data_of(file(EXPLICIT, &[data, short((0x0010, 0x0020), "LO", b"ID")].concat()));
    assert_eq!(data.len(), 2);
}

#[test]
fn elements_out_of_order_are_sorted_and_the_last_of_doubles_stays() {
    let parts = [short((0x0010, 0x0020), "LO", b"ID"), short(MODALITY, "CS", b"CT"), short((0x0010, 0x0020), "LO", b"ID2 ")];
    let data = data_of(file(EXPLICIT, &parts.concat()));
    let tags: Vec<Tag> = data.iter().map(|e| e.tag).collect();
    assert_eq!(tags, [Tag(0x0008, 0x0060), Tag(0x0010, 0x0020)]);
    assert_eq!(text(&data, (0x0010, 0x0020)).as_deref(), Some("ID2"));
}

#[test]
fn pixel_representation_decides_about_the_sign() {
    for (sign, expected) in [(0u8, "65535"), (1, "-1")] {
        let parts = [implicit((0x0028, 0x0103), 2, &[sign, 0]), implicit((0x0028, 0x0106), 2, &[255, 255])];
        assert_eq!(text(&data_of(file(IMPLICIT, &parts.concat())), (0x0028, 0x0106)).as_deref(), Some(expected));
    }
}

#[test]
fn private_elements_get_their_type_from_their_creator() {
    let mut dictionary = Dictionary::standard();
    dictionary.add("4321,1012", "US", "RadioButton3", 1, 1, "RadioLogic").expect("it is new");
    let options = ReadOptions { dictionary: Arc::new(dictionary), ..ReadOptions::default() };
    let parts = [
        implicit(MODALITY, 2, b"CT"),
        implicit((0x2005, 0x0010), 26, b"Philips MR Imaging DD 001 "),
        implicit((0x2005, 0x10B0), 4, &1.5f32.to_le_bytes()),
        implicit((0x4321, 0x0022), 10, b"RadioLogic"),
        implicit((0x4321, 0x2212), 2, &[7, 0]),
        implicit((0x4321, 0x3012), 2, &[7, 0]),
    ];
    let data = read_object(file(IMPLICIT, &parts.concat()).into(), &options).expect("it is DICOM").dataset;
    assert_eq!(text(&data, (0x2005, 0x10B0)).as_deref(), Some("1.5"));
    assert_eq!(text(&data, (0x4321, 0x2212)).as_deref(), Some("7"));
    assert_eq!(data.private_creator_of(Tag(0x4321, 0x2212)).as_deref(), Some("RadioLogic"));
    assert_eq!(data.get(Tag(0x4321, 0x3012)).map(|e| e.vr), Some(VR::UN), "nobody reserved this block");
}

#[test]
fn character_sets_are_inherited_and_overridden() {
    let latin = [short((0x0008, 0x0005), "CS", b"ISO_IR 100"), short((0x0008, 0x0104), "LO", b"\xE9 ")].concat();
    let utf8 = short((0x0008, 0x0104), "LO", "é".as_bytes());
    let items = [item(&utf8), item(&latin), item(&utf8)].concat();
    let parts = [short((0x0008, 0x0005), "CS", b"ISO_IR 192"), long((0x0008, 0x1140), "SQ", items.len() as u32, &items)].concat();
    let data = data_of(file(EXPLICIT, &parts));
    let Some(Value::Items(items)) = data.get(Tag(0x0008, 0x1140)).map(|e| &e.value) else { panic!("a sequence") };
    assert!(items.iter().all(|item| text(item, (0x0008, 0x0104)).as_deref() == Some("é")));
}

#[test]
fn the_header_of_a_deflated_file_is_read_without_its_pixels() {
    use std::io::Write;
    let plain = [short(MODALITY, "CS", b"CT"), long((0x7FE0, 0x0010), "OB", 4_000_000, &[7; 4_000_000])].concat();
    for zlib in [false, true] {
        let packed = if zlib {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).expect("writing to memory");
            encoder.finish().expect("writing to memory")
        } else {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&plain).expect("writing to memory");
            encoder.finish().expect("writing to memory")
        };
        let bytes = file(DEFLATED, &packed);
        let options = ReadOptions { max_header_bytes: 100_000, ..ReadOptions::default() };
        let header = read_header(bytes.clone().into(), Completeness::Whole, &options).expect("it is DICOM");
        let pixel = header.pixel.expect("there are pixels");
        assert_eq!((pixel.offset, pixel.value_offset, pixel.length), (None, None, Some(4_000_000)));
        assert_eq!(text(&header.dataset, MODALITY).as_deref(), Some("CT"));
        assert_eq!(data_of(bytes).len(), 2);
    }
}

#[test]
fn a_last_item_that_should_be_longer_than_the_file_ends_with_it() {
    let inner = short((0x0008, 0x0104), "LO", b"meaning ");
    let value = implicit((0xFFFE, 0xE000), inner.len() as u32 + 24, &inner);
    let data = data_of(file(EXPLICIT, &long((0x0008, 0x1140), "SQ", value.len() as u32, &value)));
    let Some(Value::Items(items)) = data.get(Tag(0x0008, 0x1140)).map(|e| &e.value) else { panic!("a sequence") };
    assert_eq!(text(&items[0], (0x0008, 0x0104)).as_deref(), Some("meaning"));
}

#[test]
fn encapsulated_pixel_data_may_be_implicit() {
    let value = [item(&[]), item(&[1, 2]), sequence_end()].concat();
    let data = data_of(file(JPEG, &[implicit(MODALITY, 2, b"CT"), implicit((0x7FE0, 0x0010), u32::MAX, &value)].concat()));
    let pixels = data.get(Tag(0x7FE0, 0x0010)).expect("there are pixels");
    assert_eq!((pixels.vr, &pixels.value), (VR::OB, &Value::Fragments(vec![vec![].into(), vec![1, 2].into()])));
}

#[test]
fn a_sequence_by_label_that_holds_no_items_is_kept_as_unknown() {
    let code = (0x0008, 0x1140);
    for bytes in [file(EXPLICIT, &long(code, "SQ", 8, b"no items")), file(IMPLICIT, &implicit(code, 8, b"no items"))] {
        let data = data_of(bytes);
        let element = data.get(Tag(0x0008, 0x1140)).expect("it is there");
        assert_eq!((element.vr, &element.value), (VR::UN, &Value::Bytes("no items".into())));
    }
}
