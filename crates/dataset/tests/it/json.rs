//! JSON forms.

use dataset::json::{DicomJsonOptions, Format, JsonOptions, dicom_json, orthanc};
use dataset::{DataSet, Dictionary, Element, Tag, VR, Value};
use serde_json::json;

fn put(data: &mut DataSet, tag: (u16, u16), vr: VR, value: &[u8]) {
    data.put(Element::bytes(Tag(tag.0, tag.1), vr, value.to_vec()));
}

fn sample() -> DataSet {
    let mut item = DataSet::new();
    put(&mut item, (0x0008, 0x0100), VR::SH, b"121327");
    let mut data = DataSet::new();
    put(&mut data, (0x0008, 0x0000), VR::UL, &[10, 0, 0, 0]);
    put(&mut data, (0x0008, 0x0005), VR::CS, b"ISO_IR 100");
    put(&mut data, (0x0009, 0x0010), VR::LO, b"OWNER ");
    put(&mut data, (0x0009, 0x1001), VR::UN, &[1, 2]);
    put(&mut data, (0x0010, 0x0010), VR::PN, b"Bu\xE9^Jos\xE9==Phon ");
    put(&mut data, (0x0010, 0x1000), VR::LO, b"A\\B ");
    put(&mut data, (0x0020, 0x0013), VR::IS, b" 7");
    put(&mut data, (0x0028, 0x0010), VR::US, &[0, 2]);
    put(&mut data, (0x0028, 0x0009), VR::AT, &[0x18, 0, 0x63, 0x10]);
    put(&mut data, (0x0028, 0x0030), VR::DS, b"0.5\\\\x ");
    put(&mut data, (0x0032, 0x4000), VR::LT, b"");
    data.put(Element::items(Tag(0x0008, 0x9215), vec![item]));
    data.put(Element { tag: Tag(0x7FE0, 0x0010), vr: VR::OB, value: Value::Fragments(vec![]) });
    data
}

#[test]
fn orthanc_full() {
    let full = orthanc(&sample(), Format::Full, &JsonOptions::default(), &Dictionary::standard());
    let expected = json!({
        "0008,0000": { "Name": "GenericGroupLength", "Type": "String", "Value": "10" },
        "0008,0005": { "Name": "SpecificCharacterSet", "Type": "String", "Value": "ISO_IR 100" },
        "0008,9215": { "Name": "DerivationCodeSequence", "Type": "Sequence", "Value": [
            { "0008,0100": { "Name": "CodeValue", "Type": "String", "Value": "121327" } }] },
        "0009,0010": { "Name": "PrivateCreator", "Type": "String", "Value": "OWNER" },
        "0009,1001": { "Name": "Unknown Tag & Data", "PrivateCreator": "OWNER", "Type": "Null", "Value": null },
        "0010,0010": { "Name": "PatientName", "Type": "String", "Value": "Bué^José==Phon" },
        "0010,1000": { "Name": "OtherPatientIDs", "Type": "String", "Value": "A\\B" },
        "0020,0013": { "Name": "InstanceNumber", "Type": "String", "Value": " 7" },
        "0028,0009": { "Name": "FrameIncrementPointer", "Type": "String", "Value": "0018,1063" },
        "0028,0010": { "Name": "Rows", "Type": "String", "Value": "512" },
        "0028,0030": { "Name": "PixelSpacing", "Type": "String", "Value": "0.5\\\\x" },
        "0032,4000": { "Name": "RETIRED_StudyComments", "Type": "String", "Value": "" },
        "7fe0,0010": { "Name": "PixelData", "Type": "Null", "Value": null },
    });
    assert_eq!(full.to_string(), expected.to_string(), "also the order of keys");
}

#[test]
fn orthanc_simplified_is_sorted_by_name() {
    let data = sample();
    let simple = orthanc(&data, Format::Simplified, &JsonOptions::default(), &Dictionary::standard());
    let keys: Vec<&String> = simple.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(simple["DerivationCodeSequence"], json!([{ "CodeValue": "121327" }]));
    let short = orthanc(&data, Format::Short, &JsonOptions::default(), &Dictionary::standard());
    assert_eq!(short["0008,9215"], json!([{ "0008,0100": "121327" }]));
}

#[test]
fn orthanc_leaves_out_long_values_and_what_is_not_wanted() {
    let ignored = JsonOptions { max_string_length: 4, ignore_length: vec![Tag(0x0010, 0x0010)], ..JsonOptions::default() };
    let full = orthanc(&sample(), Format::Full, &ignored, &Dictionary::standard());
    assert_eq!(full["0008,0005"], json!({ "Name": "SpecificCharacterSet", "Type": "TooLong", "Value": null }));
    assert_eq!(full["0010,0010"]["Type"], "String");
    let few = JsonOptions { skip_group_lengths: true, skip_binary: true, ..JsonOptions::default() };
    let full = orthanc(&sample(), Format::Full, &few, &Dictionary::standard());
    assert!(["0008,0000", "0009,1001", "7fe0,0010"].iter().all(|tag| full.get(tag).is_none()));
}

#[test]
fn unknown_values_are_text_if_the_dictionary_says_so() {
    let mut dictionary = Dictionary::standard();
    dictionary.add("0009,1001", "LO", "Hers", 1, 1, "OWNER").expect("it is new");
    let mut data = sample();
    put(&mut data, (0x0009, 0x1001), VR::UN, b"text");
    put(&mut data, (0x0010, 0x0020), VR::UN, b"ID\xE9 ");
    let full = orthanc(&data, Format::Full, &JsonOptions::default(), &dictionary);
    assert_eq!(full["0009,1001"], json!({ "Name": "Hers", "PrivateCreator": "OWNER", "Type": "String", "Value": "text" }));
    assert_eq!(full["0010,0020"]["Value"], "IDé");
    put(&mut data, (0x0009, 0x1001), VR::UN, b"t\xE9xt");
    let full = orthanc(&data, Format::Full, &JsonOptions::default(), &dictionary);
    assert_eq!(full["0009,1001"]["Type"], "Null", "nothing tells the character set of private text");
}

#[test]
fn dicom_json_follows_the_standard() {
    let mut data = sample();
    data.put(Element { tag: Tag(0x7FE0, 0x0010), vr: VR::OB, value: Value::Bytes(vec![1, 2, 3].into()) });
    put(&mut data, (0x0018, 0x9073), VR::FD, &f64::NAN.to_le_bytes());
    let expected = json!({
        "00080005": { "vr": "CS", "Value": ["ISO_IR 100"] },
        "00089215": { "vr": "SQ", "Value": [{ "00080100": { "vr": "SH", "Value": ["121327"] } }] },
        "00090010": { "vr": "LO", "Value": ["OWNER"] },
        "00091001": { "vr": "UN", "InlineBinary": "AQI=" },
        "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Bué^José", "Phonetic": "Phon" }] },
        "00101000": { "vr": "LO", "Value": ["A", "B"] },
        "00189073": { "vr": "FD", "Value": ["NaN"] },
        "00200013": { "vr": "IS", "Value": [7] },
        "00280009": { "vr": "AT", "Value": ["00181063"] },
        "00280010": { "vr": "US", "Value": [512] },
        "00280030": { "vr": "DS", "Value": ["0.5", null, "x"] },
        "00324000": { "vr": "LT" },
        "7FE00010": { "vr": "OB", "InlineBinary": "AQID" },
    });
    assert_eq!(dicom_json(&data, &DicomJsonOptions::default()), expected);
}

#[test]
fn bulk_data_uris_know_where_they_are() {
    let mut item = DataSet::new();
    put(&mut item, (0x0028, 0x3006), VR::OW, &[0; 8]);
    let mut data = DataSet::new();
    data.put(Element::items(Tag(0x0028, 0x3000), vec![DataSet::new(), item]));
    let uri = |tags: &[Tag], items: &[usize]| format!("{tags:?}{items:?}");
    let options = DicomJsonOptions { bulk_data: Some(&uri), inline_limit: 7, dictionary: None };
    let shown = dicom_json(&data, &options);
    let expected = uri(&[Tag(0x0028, 0x3000), Tag(0x0028, 0x3006)], &[1]);
    assert_eq!(shown["00283000"]["Value"][1]["00283006"]["BulkDataURI"], expected);
}

#[test]
fn sequences_that_were_stored_as_unknown_are_shown_as_sequences() {
    use crate::bytes_of::{implicit, item};
    let inner = implicit((0x0008, 0x0104), 8, b"meaning ");
    let mut data = DataSet::new();
    put(&mut data, (0x0040, 0xA730), VR::UN, &item(&inner));
    put(&mut data, (0x0040, 0xA043), VR::UN, b"no item at all");
    put(&mut data, (0x0028, 0x0010), VR::UN, &[0, 2]);
    let expected = json!({
        "00280010": { "vr": "US", "Value": [512] },
        "0040A043": { "vr": "UN", "InlineBinary": "bm8gaXRlbSBhdCBhbGw=" },
        "0040A730": { "vr": "SQ", "Value": [{ "00080104": { "vr": "LO", "Value": ["meaning"] } }] },
    });
    assert_eq!(dicom_json(&data, &DicomJsonOptions::default()), expected);
}

#[test]
fn unknown_sequences_in_each_other_are_looked_into_only_so_deep() {
    use crate::bytes_of::{implicit, item};
    let mut value = Vec::new();
    for _ in 0..300 {
        value = item(&[implicit((0x0040, 0xA730), value.len() as u32, &[]), value].concat());
    }
    let mut data = DataSet::new();
    put(&mut data, (0x0040, 0xA730), VR::UN, &value);
    let shown = dicom_json(&data, &DicomJsonOptions::default()).to_string();
    assert!(shown.contains("InlineBinary"), "more than the reader's depth is no sequence");
}

#[test]
fn the_deepest_data_set_is_shown_on_a_small_stack() {
    use crate::bytes_of::{EXPLICIT, data_of, file, implicit, item_end, long, sequence_end};
    let open = [long((0x0040, 0xA730), "SQ", u32::MAX, &[]), implicit((0xFFFE, 0xE000), u32::MAX, &[])].concat();
    // Below the reader's depth, the value of the last level is another such sequence, as UN.
    let unknown = long((0x0040, 0xA730), "UN", 8, &implicit((0xFFFE, 0xE000), 0, &[]));
    let close = [item_end(), sequence_end()].concat();
    let data = data_of(file(EXPLICIT, &[open.repeat(256), unknown, close.repeat(256)].concat()));
    let shown = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let full = orthanc(&data, Format::Full, &JsonOptions::default(), &Dictionary::standard()).to_string();
        let model = dicom_json(&data, &DicomJsonOptions::default()).to_string();
        drop(data);
        full.matches("Sequence").count() + model.matches("SQ").count()
    });
    let count = shown.map(|thread| thread.join().unwrap_or_default()).expect("a thread");
    assert!(count >= 2 * 256, "{count}");
}
