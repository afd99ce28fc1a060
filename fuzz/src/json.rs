//! Everything that shows a data set: Orthanc's three forms, DICOM JSON, text, character sets.
//!
//! Beside "no panic, no hang, no allocation beyond the limit": the short form has the values of the full one, text without
//! limit is what the forms show, and everything serializes.

use bytes::Bytes;
use dataset::json::{DicomJsonOptions, Format, JsonOptions, dicom_json, orthanc};
use dataset::{DataSet, Dictionary, Tag, Value, read_object};

use crate::options;

pub fn run(input: &[u8]) {
    let Ok(object) = read_object(Bytes::copy_from_slice(input), &options()) else { return };
    for data in [&object.meta, &object.dataset] {
        forms(data);
        model(data);
        texts(data);
    }
}

fn forms(data: &DataSet) {
    let dictionary = Dictionary::standard();
    let limited = JsonOptions { max_string_length: 256, ignore_length: vec![Tag(0x0010, 0x0010)], ..JsonOptions::default() };
    for options in [limited, JsonOptions::default()] {
        let full = orthanc(data, Format::Full, &options, &dictionary);
        let short = orthanc(data, Format::Short, &options, &dictionary);
        let simplified = orthanc(data, Format::Simplified, &options, &dictionary);
        let (full, short) = (full.as_object().expect("an object"), short.as_object().expect("an object"));
        assert!(simplified.as_object().is_some_and(|s| s.len() <= full.len()));
        assert!(full.keys().eq(short.keys()), "the forms show different tags");
        for ((tag, full), short) in full.iter().zip(short.values()) {
            let value = full.get("Value").expect("every element has a value");
            assert!(value.is_array() == short.is_array() && (value.is_array() || value == short), "{tag}");
        }
        assert!(!serde_json::to_string(full).expect("JSON").is_empty());
    }
}

fn model(data: &DataSet) {
    let uri = |tags: &[Tag], items: &[usize]| format!("/bulk/{tags:?}/{items:?}");
    let bulk = DicomJsonOptions { bulk_data: Some(&uri), inline_limit: 16, dictionary: None };
    for options in [DicomJsonOptions::default(), bulk] {
        let json = dicom_json(data, &options);
        let elements = json.as_object().expect("an object");
        assert_eq!(elements.len(), data.iter().filter(|e| e.tag.1 != 0).count());
        assert!(elements.values().all(|e| e.get("vr").is_some()));
        assert!(!serde_json::to_string(&json).expect("JSON").is_empty());
    }
}

fn texts(data: &DataSet) {
    for element in data {
        let text = data.text(element.tag);
        match (&element.value, text) {
            (Value::Bytes(_), Some(text)) => drop(data.charset().encode(&text)),
            (Value::Bytes(_), None) => {}
            (Value::Items(items), None) => items.iter().for_each(texts),
            (Value::Fragments(_), None) => {}
            (_, Some(text)) => panic!("a sequence has the text {text:?}"),
        }
        drop(data.private_creator_of(element.tag));
    }
}
