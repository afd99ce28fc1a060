//! What is written is what is read, in every encoding.

use dataset::{DataSet, Element, Object, ReadOptions, Tag, TransferSyntax, VR, Value, read_object, write_object};
use proptest::prelude::*;

use crate::bytes_of::{BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, JPEG};

/// Tags of which the standard's dictionary gives the VR, as implicit encodings need it.
const TAGS: &[(Tag, VR)] = &[
    (Tag(0x0008, 0x0018), VR::UI),
    (Tag(0x0008, 0x0020), VR::DA),
    (Tag(0x0008, 0x0060), VR::CS),
    (Tag(0x0009, 0x0010), VR::LO),
    (Tag(0x0010, 0x0010), VR::PN),
    (Tag(0x0018, 0x6050), VR::UL),
    (Tag(0x0018, 0x9073), VR::FD),
    (Tag(0x0018, 0x9087), VR::FD),
    (Tag(0x0020, 0x9165), VR::AT),
    (Tag(0x0028, 0x0010), VR::US),
    (Tag(0x0028, 0x1052), VR::DS),
    (Tag(0x0028, 0x9001), VR::UL),
    (Tag(0x0040, 0xA160), VR::UT),
    (Tag(0x0066, 0x0016), VR::OF),
    (Tag(0x0070, 0x0022), VR::FL),
    (Tag(0x7FE0, 0x0002), VR::OV),
];

fn leaf() -> impl Strategy<Value = Element> {
    (0..TAGS.len(), proptest::collection::vec(any::<u8>(), 0..24)).prop_map(|(i, mut value)| {
        let (tag, vr) = TAGS[i];
        value.truncate(value.len() / 8 * 8);
        Element::bytes(tag, vr, value)
    })
}

fn data_set() -> impl Strategy<Value = DataSet> {
    let flat = proptest::collection::vec(leaf(), 0..8).prop_map(|e| e.into_iter().collect::<DataSet>());
    flat.prop_recursive(4, 48, 4, |inner| {
        let sequence = (0..3u16, proptest::collection::vec(inner, 0..3));
        (proptest::collection::vec(leaf(), 0..6), sequence).prop_map(|(leaves, (which, items))| {
            let tag = [Tag(0x0008, 0x1140), Tag(0x0040, 0xA730), Tag(0x3006, 0x0039)][usize::from(which)];
            leaves.into_iter().chain([Element::items(tag, items)]).collect()
        })
    })
}

/// Data sets as read differ from data sets as made in their default character set only.
fn elements(data: &DataSet) -> String {
    let options = dataset::json::DicomJsonOptions::default();
    dataset::json::dicom_json(data, &options).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn written_and_read_is_the_same(data in data_set(), syntax in 0..4usize, pixels in any::<bool>()) {
        let syntax = TransferSyntax::new([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED][syntax]);
        let mut dataset = data;
        if pixels {
            dataset.put(Element::bytes(Tag(0x7FE0, 0x0010), VR::OW, vec![1, 2, 3, 4]));
        }
        let object = Object { meta: DataSet::new(), transfer_syntax: syntax, dataset };
        let bytes = write_object(&object).expect("it fits");
        let read = read_object(bytes.clone().into(), &ReadOptions::default()).expect("it was written right");
        prop_assert_eq!(elements(&object.dataset), elements(&read.dataset));
        prop_assert_eq!(bytes, write_object(&read).expect("it fits"));
        let again = read_object(write_object(&read).expect("it fits").into(), &ReadOptions::default());
        prop_assert_eq!(again, Ok(read));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), meta in any::<bool>()) {
        let bytes = if meta { crate::bytes_of::file(EXPLICIT, &bytes) } else { bytes };
        let _ = read_object(bytes.into(), &ReadOptions::default());
    }
}

#[test]
fn odd_values_are_padded_and_too_long_ones_become_unknown() {
    let mut dataset = DataSet::new();
    dataset.put(Element::bytes(Tag(0x0008, 0x0018), VR::UI, &b"1.2"[..]));
    dataset.put(Element::bytes(Tag(0x0008, 0x0060), VR::CS, &b"CT1"[..]));
    dataset.put(Element::bytes(Tag(0x0028, 0x1052), VR::DS, vec![b'1'; 70_000]));
    let object = Object { meta: DataSet::new(), transfer_syntax: TransferSyntax::new(EXPLICIT), dataset };
    let read = read_object(write_object(&object).expect("it fits").into(), &ReadOptions::default()).expect("it is DICOM");
    let value = |tag| read.dataset.get(tag).map(|e| e.value.clone());
    assert_eq!(value(Tag(0x0008, 0x0018)), Some(Value::Bytes("1.2\0".into())));
    assert_eq!(value(Tag(0x0008, 0x0060)), Some(Value::Bytes("CT1 ".into())));
    assert_eq!(read.dataset.get(Tag(0x0028, 0x1052)).map(|e| e.vr), Some(VR::UN));
    assert_eq!(read.dataset.text(Tag(0x0028, 0x1052)).map(|t| t.len()), Some(70_000), "still text by the dictionary");
}

#[test]
fn fragments_and_meta_information_survive() {
    let mut dataset = DataSet::new();
    dataset.put(Element::bytes(Tag(0x0008, 0x0016), VR::UI, &b"1.2.3\0"[..]));
    let fragments = vec![vec![].into(), vec![1, 2, 3].into(), vec![4, 5].into()];
    dataset.put(Element { tag: Tag(0x7FE0, 0x0010), vr: VR::OB, value: Value::Fragments(fragments) });
    let object = Object { meta: DataSet::new(), transfer_syntax: TransferSyntax::new(JPEG), dataset };
    let bytes = write_object(&object).expect("it fits");
    let read = read_object(bytes.clone().into(), &ReadOptions::default()).expect("it is DICOM");
    let padded = vec![vec![].into(), vec![1, 2, 3, 0].into(), vec![4, 5].into()];
    assert_eq!(read.dataset.get(Tag(0x7FE0, 0x0010)).map(|e| &e.value), Some(&Value::Fragments(padded)));
    assert_eq!(read.meta.text(Tag(2, 2)).as_deref(), Some("1.2.3"));
    assert_eq!(read.meta.text(Tag(2, 0x10)).as_deref(), Some(JPEG));
    let declared: usize = read.meta.text(Tag(2, 0)).and_then(|t| t.parse().ok()).expect("a number");
    assert_eq!(bytes[144 + declared..][..4], [8, 0, 0x16, 0], "the group length is right");
}

#[test]
fn sequences_that_no_dictionary_knows_stay_sequences_in_implicit_encoding() {
    let mut inner = DataSet::new();
    inner.put(Element::bytes(Tag(0x0008, 0x0060), VR::CS, &b"CT"[..]));
    let mut dataset = DataSet::new();
    dataset.put(Element::items(Tag(0x0009, 0x1001), vec![inner, DataSet::new()]));
    dataset.put(Element::items(Tag(0x0009, 0x1002), vec![]));
    let object = Object { meta: DataSet::new(), transfer_syntax: TransferSyntax::new(IMPLICIT), dataset };
    let read = read_object(write_object(&object).expect("it fits").into(), &ReadOptions::default()).expect("it is DICOM");
    assert_eq!(elements(&read.dataset), elements(&object.dataset));
}

#[test]
fn meta_information_in_the_data_set_is_not_written_there() {
    let mut dataset = DataSet::new();
    dataset.put(Element::bytes(Tag(0x0002, 0x0010), VR::UI, &b"1.2\0"[..]));
    dataset.put(Element::bytes(Tag(0x0008, 0x0060), VR::CS, &b"CT"[..]));
    let object = Object { meta: DataSet::new(), transfer_syntax: TransferSyntax::new(EXPLICIT), dataset };
    let read = read_object(write_object(&object).expect("it fits").into(), &ReadOptions::default()).expect("it is DICOM");
    assert_eq!(read.meta.text(Tag(2, 0x10)).as_deref(), Some(EXPLICIT));
    assert_eq!(read.dataset.iter().map(|e| e.tag).collect::<Vec<_>>(), [Tag(0x0008, 0x0060)]);
}
