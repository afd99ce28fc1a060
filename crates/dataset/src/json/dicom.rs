//! The DICOM JSON model (PS3.18 F).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use dicom_core::{Tag, VR};
use serde_json::{Map, Number, Value as Json, json};

use crate::data::{DataSet, Element, Value};
use crate::dictionary::Dictionary;
use crate::number::{self, Numbers};
use crate::read::read_unknown_items;
use crate::text;

/// Sequences in each other below which `UN` is not looked into.
const MAX_DEPTH_OF_UNKNOWN: usize = 16;

/// Makes the `BulkDataURI` of a binary value; the path has the tags from the root on, and the item numbers (from 0) between.
pub type BulkDataUri = dyn Fn(&[Tag], &[usize]) -> String + Send + Sync;

/// How binary values are shown.
#[derive(Default)]
pub struct DicomJsonOptions<'a> {
    /// Binary values longer than `inline_limit` get this URI; without it they are always inline.
    pub bulk_data: Option<&'a BulkDataUri>,
    /// In bytes.
    pub inline_limit: usize,
    /// For elements of VR `UN` that are known; the standard's if `None`.
    pub dictionary: Option<&'a Dictionary>,
}

/// A data set in the DICOM JSON model. Group lengths are left out (PS3.18 F.2.2), fragments are shown as `InlineBinary`
/// only with their items (PS3.5 A.4) in encapsulated form.
pub fn dicom_json(data: &DataSet, options: &DicomJsonOptions<'_>) -> Json {
    let standard = Dictionary::standard();
    let dictionary = options.dictionary.unwrap_or(&standard);
    Writer { options, dictionary, tags: Vec::new(), items: Vec::new() }.data_set(data)
}

struct Writer<'a> {
    options: &'a DicomJsonOptions<'a>,
    dictionary: &'a Dictionary,
    tags: Vec<Tag>,
    items: Vec<usize>,
}

impl Writer<'_> {
    /// Recurses once per level of sequences, of which the reader allows only so many.
    fn data_set(&mut self, data: &DataSet) -> Json {
        let mut map = Map::with_capacity(data.len());
        for element in data.iter().filter(|e| e.tag.1 != 0) {
            self.tags.push(element.tag);
            map.insert(format!("{:04X}{:04X}", element.tag.0, element.tag.1), self.element(data, element));
            self.tags.pop();
        }
        Json::Object(map)
    }

    fn element(&mut self, data: &DataSet, element: &Element) -> Json {
        let vr = self.vr(data, element);
        if let (VR::SQ, Value::Bytes(raw)) = (vr, &element.value) {
            return match self.unknown_items(element, raw, data) {
                Some(items) => self.show(data, VR::SQ, &Value::Items(items)),
                None => self.show(data, VR::UN, &element.value),
            };
        }
        self.show(data, vr, &element.value)
    }

    /// The items of a sequence that was stored as `UN`, if it is one.
    fn unknown_items(&self, element: &Element, raw: &Bytes, data: &DataSet) -> Option<Vec<DataSet>> {
        let nested = self.items.len() >= MAX_DEPTH_OF_UNKNOWN;
        if nested { None } else { read_unknown_items(element.tag, raw, data.charset()).ok() }
    }

    fn show(&mut self, data: &DataSet, vr: VR, value: &Value) -> Json {
        let mut map = Map::with_capacity(2);
        map.insert("vr".to_owned(), Json::String(vr.to_string().to_owned()));
        let (key, value) = match value {
            Value::Items(items) => ("Value", self.sequence(items)),
            Value::Fragments(fragments) => self.binary(&encapsulated(fragments)),
            Value::Bytes(raw) if text::is_text(vr) => ("Value", strings(vr, data, raw)),
            Value::Bytes(raw) if vr == VR::AT => ("Value", attributes(raw)),
            Value::Bytes(raw) if matches!(vr, VR::OL | VR::OV | VR::OF | VR::OD) => self.binary(raw),
            Value::Bytes(raw) => match number::of(vr, raw) {
                Some(numbers) => ("Value", numeric(numbers)),
                None => self.binary(raw),
            },
        };
        let empty = matches!(&value, Json::Array(v) if v.is_empty()) || matches!(&value, Json::String(s) if s.is_empty());
        if !empty {
            map.insert(key.to_owned(), value);
        }
        Json::Object(map)
    }

    /// The VR to show: that of the dictionary for what was stored as `UN` (PS3.5 6.2.2, note 1).
    fn vr(&self, data: &DataSet, element: &Element) -> VR {
        if element.vr != VR::UN || !matches!(element.value, Value::Bytes(_)) {
            return element.vr;
        }
        let creator = data.private_creator_of(element.tag);
        self.dictionary.vr(element.tag, creator.as_deref()).unwrap_or(VR::UN)
    }

    fn sequence(&mut self, items: &[DataSet]) -> Json {
        let mut out = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            self.items.push(i);
            out.push(self.data_set(item));
            self.items.pop();
        }
        Json::Array(out)
    }

    fn binary(&self, raw: &[u8]) -> (&'static str, Json) {
        match self.options.bulk_data {
            Some(uri) if raw.len() > self.options.inline_limit => ("BulkDataURI", Json::String(uri(&self.tags, &self.items))),
            _ => ("InlineBinary", Json::String(BASE64.encode(raw))),
        }
    }
}

fn encapsulated(fragments: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fragments.iter().map(|f| f.len() + 8).sum());
    for fragment in fragments {
        out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        out.extend_from_slice(&(fragment.len() as u32).to_le_bytes());
        out.extend_from_slice(fragment);
    }
    out
}

fn strings(vr: VR, data: &DataSet, raw: &[u8]) -> Json {
    let text = data.charset().decode(raw);
    let text = text.trim_end_matches([' ', '\0']);
    if text.is_empty() {
        return json!([]);
    }
    if matches!(vr, VR::ST | VR::LT | VR::UT | VR::UR) {
        return json!([text]);
    }
    text.split('\\').map(|value| one(vr, value)).collect()
}

/// One value: null if it is empty, a number if it is an integer string. Decimal strings may be either (PS3.18 F.2.3): they stay
/// text, as in Orthanc, so that no digit is lost.
fn one(vr: VR, value: &str) -> Json {
    let value = value.trim_end_matches([' ', '\0']);
    let value = if matches!(vr, VR::PN) { value } else { value.trim_start_matches(' ') };
    if value.is_empty() {
        return Json::Null;
    }
    match vr {
        VR::PN => person_name(value),
        VR::IS => value.parse::<i64>().map_or_else(|_| decimal(value), Json::from),
        _ => Json::String(value.to_owned()),
    }
}

/// What is no number stays text.
fn decimal(value: &str) -> Json {
    let number = value.parse::<f64>().ok().filter(|n| n.is_finite()).and_then(Number::from_f64);
    number.map_or_else(|| Json::String(value.to_owned()), Json::Number)
}

fn person_name(value: &str) -> Json {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"].into_iter().zip(value.splitn(3, '='));
    let filled = groups.filter(|(_, text)| !text.is_empty());
    Json::Object(filled.map(|(group, text)| (group.to_owned(), Json::String(text.to_owned()))).collect())
}

fn attributes(raw: &[u8]) -> Json {
    text::tags(raw).map(|tag| Json::String(format!("{:04X}{:04X}", tag.0, tag.1))).collect()
}

/// NaN and infinities, which JSON lacks, are text (PS3.18 F.2.3, note).
fn numeric(numbers: Numbers<'_>) -> Json {
    let integer = |v: i128| i64::try_from(v).map(Json::from).or_else(|_| u64::try_from(v).map(Json::from));
    match numbers {
        Numbers::Integers(values) => values.map(|v| integer(v).unwrap_or(Json::Null)).collect(),
        Numbers::Floats(values) => values
            .map(|v| match Number::from_f64(v) {
                Some(number) => Json::Number(number),
                None if v.is_nan() => json!("NaN"),
                None => json!(if v > 0.0 { "Infinity" } else { "-Infinity" }),
            })
            .collect(),
    }
}
