//! Orthanc's JSON forms.

use std::borrow::Cow;

use dicom_core::{Tag, VR};
use serde_json::{Map, Value as Json};

use super::{Format, JsonOptions};
use crate::data::{DataSet, Element, Value};
use crate::dictionary::Dictionary;
use crate::text;

const UNKNOWN: &str = "Unknown Tag & Data";

/// A data set in one of Orthanc's forms, with keys in alphabetical order. Binary values are null.
pub fn orthanc(data: &DataSet, format: Format, options: &JsonOptions, dictionary: &Dictionary) -> Json {
    Form { format, options, dictionary }.data_set(data)
}

struct Form<'a> {
    format: Format,
    options: &'a JsonOptions,
    dictionary: &'a Dictionary,
}

impl Form<'_> {
    /// Recurses once per level of sequences, of which the reader allows only so many.
    fn data_set(&self, data: &DataSet) -> Json {
        let options = self.options;
        let binary = |e: &Element| matches!(e.vr, VR::OB | VR::OW | VR::UN);
        let wanted = |e: &&Element| !(options.skip_group_lengths && e.tag.1 == 0 || options.skip_binary && binary(e));
        let mut map = Map::with_capacity(data.len());
        for element in data.iter().filter(wanted) {
            let creator = data.private_creator_of(element.tag);
            let key = match self.format {
                Format::Simplified => self.name(element.tag, creator.as_deref()),
                Format::Full | Format::Short => number(element.tag),
            };
            map.insert(key, self.element(data, element, creator));
        }
        if self.format == Format::Simplified {
            map.sort_keys();
        }
        Json::Object(map)
    }

    fn element(&self, data: &DataSet, element: &Element, creator: Option<String>) -> Json {
        let (kind, value) = match &element.value {
            Value::Items(items) => ("Sequence", items.iter().map(|item| self.data_set(item)).collect()),
            Value::Fragments(_) => ("Null", Json::Null),
            Value::Bytes(_) => match text::of(data, element, Some(self.dictionary)) {
                None => ("Null", Json::Null),
                Some(text) if self.is_too_long(element.tag, &text) => ("TooLong", Json::Null),
                Some(text) => ("String", Json::String(text)),
            },
        };
        if self.format != Format::Full {
            return value;
        }
        let mut full = Map::with_capacity(4);
        full.insert("Name".to_owned(), Json::String(self.name(element.tag, creator.as_deref())));
        if let (Some(creator), false) = (creator, kind == "Sequence") {
            full.insert("PrivateCreator".to_owned(), Json::String(creator));
        }
        full.insert("Type".to_owned(), Json::String(kind.to_owned()));
        full.insert("Value".to_owned(), value);
        Json::Object(full)
    }

    fn is_too_long(&self, tag: Tag, text: &str) -> bool {
        let limit = self.options.max_string_length;
        limit != 0 && text.len() > limit && !self.options.ignore_length.contains(&tag)
    }

    fn name(&self, tag: Tag, creator: Option<&str>) -> String {
        self.dictionary.shown_name(tag, creator).map_or_else(|| UNKNOWN.to_owned(), Cow::into_owned)
    }
}

fn number(tag: Tag) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u16, shift: u32| char::from(HEX[usize::from(n >> shift & 15)]);
    let mut out = String::with_capacity(9);
    [12, 8, 4, 0].iter().for_each(|s| out.push(digit(tag.0, *s)));
    out.push(',');
    [12, 8, 4, 0].iter().for_each(|s| out.push(digit(tag.1, *s)));
    out
}
