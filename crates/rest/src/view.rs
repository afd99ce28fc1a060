//! JSON views of resources (Orthanc: `GET /patients/{id}`, `/tools/find` "ResponseContent").

use crate::fields::Show;
use crate::routes::{Kind, Parameter};
use crate::state::Rest;
use dataset::json::Format;
use engine::{Ctx, Found, digests, find};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{ContentType, Error, Level, MetadataKind, Resource, Result, TagMap};
use serde_json::{Map, Value, json};
use web::Params;

/// Arguments that [`format`] reads.
pub const FORMAT: [Parameter; 2] = [
    ("short", Kind::Presence, "Tags by number, values only"),
    ("full", Kind::Presence, "Tags by number, with their names and types"),
];

/// How tags are written: `?short`, `?full`, or by name. Orthanc: whatever their values.
pub fn format(params: &Params) -> Format {
    if params.has("short") {
        Format::Short
    } else if params.has("full") {
        Format::Full
    } else {
        Format::Simplified
    }
}

fn name(rest: &Rest, tag: dataset::Tag) -> String {
    rest.engine.config.dictionary.name_of_number(tag).unwrap_or_else(|| "Unknown Tag & Data".to_owned())
}

/// Tag values as JSON, with their keys in alphabetical order.
pub fn tags(rest: &Rest, tags: &TagMap, format: Format) -> Value {
    let view = |(tag, value): (dataset::Tag, &str)| {
        let name = || name(rest, tag);
        let number = || format!("{:04x},{:04x}", tag.0, tag.1);
        match format {
            Format::Simplified => (name(), json!(value)),
            Format::Short => (number(), json!(value)),
            Format::Full => (number(), json!({ "Name": name(), "Type": "String", "Value": value })),
        }
    };
    let mut map: Map<String, Value> = tags.iter().map(view).collect();
    map.sort_keys();
    Value::Object(map)
}

/// Brings Orthanc's full JSON into another format.
fn reformat(full: Value, format: Format) -> Value {
    let Value::Object(elements) = full else { return full };
    let one = |(number, element): (String, Value)| {
        let Value::Object(mut element) = element else { return (number, element) };
        let value = match element.remove("Value").unwrap_or_default() {
            Value::Array(items) => items.into_iter().map(|item| reformat(item, format)).collect(),
            other => other,
        };
        match (format, element.remove("Name")) {
            (Format::Simplified, Some(Value::String(name))) => (name, value),
            (Format::Full, name) => {
                element.insert("Name".into(), name.unwrap_or_default());
                element.insert("Value".into(), value);
                (number, Value::Object(element))
            }
            _ => (number, value),
        }
    };
    Value::Object(elements.into_iter().map(one).collect())
}

/// The main DICOM tags of a resource, its sequences included.
fn main_tags(rest: &Rest, r: &Resource, format: Format) -> Value {
    let mut all = tags(rest, &r.tags[r.level as usize], format);
    if let Some(sequences) = r.metadata.get(&MetadataKind::MAIN_DICOM_SEQUENCES) {
        let full = find::sequences(&sequences.value);
        if let (Value::Object(all), Value::Object(items)) = (&mut all, reformat(full.into(), format)) {
            all.extend(items);
            all.sort_keys();
        }
    }
    all
}

/// One resource as JSON, with its keys in alphabetical order.
pub async fn resource(rest: &Rest, ctx: &Ctx, found: &Found, show: Show, format: Format) -> Result<Value> {
    let r = &found.resource;
    let mut view = Map::new();
    let mut put = |key: &str, value: Value| {
        view.insert(key.to_owned(), value);
    };
    put("ID", json!(r.id.to_string()));
    put("Type", json!(r.level.name()));
    if show.main_tags {
        put("MainDicomTags", main_tags(rest, r, format));
        if r.level == Level::Study {
            put("PatientMainDicomTags", tags(rest, &r.tags[Level::Patient as usize], format));
        }
    }
    if show.labels {
        put("Labels", json!(r.labels));
    }
    if let (true, Some(child)) = (show.children, r.level.child()) {
        let key = ["Patients", "Studies", "Series", "Instances"][child as usize];
        put(key, r.children.iter().map(ToString::to_string).collect());
    }
    if let (true, Some((level, parent))) = (show.parent, r.level.parent().and_then(|l| Some((l, r.lineage[l as usize]?)))) {
        put(&format!("Parent{}", level.name()), json!(parent.to_string()));
    }
    if show.is_stable && r.level != Level::Instance {
        put("IsStable", json!(r.is_stable));
    }
    if show.is_protected && r.level == Level::Patient {
        put("IsProtected", json!(r.is_protected));
    }
    if show.status && r.level == Level::Series {
        put("Status", json!(find::series_status(&rest.engine, r).await?));
    }
    if show.metadata {
        put("Metadata", metadata(rest, r));
    }
    if show.attachments {
        let mut all = vec![];
        for attachment in r.attachments.iter().cloned() {
            let attachment = digests::with_md5s_if_readable(&rest.engine, ctx, (r.level, r.id), attachment).await?;
            all.push(crate::attachments::info(&attachment));
        }
        put("Attachments", Value::Array(all));
    }
    if let Some(requested) = requested(rest, found, format) {
        put("RequestedTags", requested);
    }
    if show.record {
        record(r, &mut put);
    }
    view.sort_keys();
    Ok(Value::Object(view))
}

/// What only a whole record shows.
fn record(r: &Resource, put: &mut impl FnMut(&str, Value)) {
    match r.level {
        Level::Instance => {
            let file = r.attachments.iter().find(|a| a.content_type == ContentType::DICOM);
            put("FileSize", json!(file.map_or(0, |f| f.size_bytes)));
            put("FileUuid", json!(file.map(|f| f.id.to_string()).unwrap_or_default()));
            put("IndexInSeries", json!(r.index_in_series));
            return;
        }
        Level::Series => put("ExpectedNumberOfInstances", json!(r.expected_instances)),
        Level::Study | Level::Patient => {}
    }
    put("LastUpdate", json!(r.metadata.get(&MetadataKind::LAST_UPDATE).map(|m| m.value.as_str()).unwrap_or_default()));
}

/// Metadata by name.
pub fn metadata(rest: &Rest, r: &Resource) -> Value {
    let names = &rest.engine.config.metadata_names;
    let mut all: Map<String, Value> = r.metadata.iter().map(|(k, v)| (names.name(*k), json!(v.value))).collect();
    all.sort_keys();
    Value::Object(all)
}

/// `RequestedTags`, if any were requested. Those that the file does not have are null.
fn requested(rest: &Rest, found: &Found, format: Format) -> Option<Value> {
    let missing = found.requested_missing.as_ref()?;
    let mut all = tags(rest, &found.requested, format);
    let options = dataset::json::JsonOptions::default();
    let items = dataset::json::orthanc(&found.requested_items, format, &options, &rest.engine.config.dictionary);
    let kept = reformat(found.requested_sequences.clone().into(), format);
    if let (Value::Object(all), Value::Object(items), Value::Object(kept)) = (&mut all, items, kept) {
        all.extend(items);
        all.extend(kept);
        for tag in missing {
            let (name, number) = (name(rest, *tag), format!("{:04x},{:04x}", tag.0, tag.1));
            match format {
                Format::Simplified => all.insert(name, Value::Null),
                Format::Short => all.insert(number, Value::Null),
                Format::Full => all.insert(number, json!({ "Name": name, "Type": "Null", "Value": null })),
            };
        }
        all.sort_keys();
    }
    Some(all)
}

/// Resources as a JSON list: views, or ids without `show`.
pub async fn list(rest: &Rest, ctx: &Ctx, found: Vec<Found>, show: Option<Show>, format: Format) -> Result<Value, Error> {
    let Some(show) = show else {
        return Ok(found.iter().map(|f| f.resource.id.to_string()).collect());
    };
    let views = found.into_iter().map(|one| async move { resource(rest, ctx, &one, show, format).await });
    Ok(Value::Array(stream::iter(views).buffered(find::PARALLEL_READS).try_collect().await?))
}
