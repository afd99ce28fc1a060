//! How values are put into rows: text without U+0000, and small JSON objects and arrays.

use dataset::Tag;
use model::matching::normalize;
use model::{Error, ErrorKind, MetadataKind, MetadataValue, Result, TagMap};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Replaces U+0000, which PostgreSQL cannot hold, by a space: matching treats both alike.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', " ")) } else { Cow::Borrowed(text) }
}

/// What matching compares; none if that is empty.
pub(crate) fn norm(own: &TagMap, tag: Tag) -> Option<String> {
    own.get(tag).map(normalize).filter(|text| !text.is_empty())
}

/// Reads the definition of a remote server.
///
/// # Errors
/// `Database` if somebody else wrote the row.
pub(crate) fn definition(name: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|e| Error::new(ErrorKind::Database, format!("the stored definition of {name:?} is no JSON")).caused_by(e))
}

fn quote(out: &mut Vec<u8>, text: &str) -> Result<()> {
    serde_json::to_writer(out, text).map_err(|e| Error::new(ErrorKind::Internal, "a text cannot be written as JSON").caused_by(e))
}

fn object<'a>(entries: impl Iterator<Item = (String, &'a str)>) -> Result<String> {
    let mut out = Vec::with_capacity(512);
    out.push(b'{');
    for (key, value) in entries {
        if out.len() > 1 {
            out.push(b',');
        }
        quote(&mut out, &key)?;
        out.push(b':');
        quote(&mut out, &clean(value))?;
    }
    out.push(b'}');
    String::from_utf8(out).map_err(|e| Error::new(ErrorKind::Internal, "JSON is UTF-8").caused_by(e))
}

/// `{"00100010":"DOE^JOHN",…}`, as [`TagMap::to_json`] writes it, without U+0000.
pub(crate) fn tags_json(tags: &TagMap) -> Result<String> {
    object(tags.iter().map(|(t, v)| (format!("{:04x}{:04x}", t.0, t.1), v)))
}

/// `{"2":"20261124T101530",…}`: values by the number of their kind.
pub(crate) fn metadata_json(metadata: &BTreeMap<MetadataKind, String>) -> Result<String> {
    object(metadata.iter().map(|(k, v)| (k.0.to_string(), v.as_str())))
}

/// The entries of a JSON object whose values are all of one type, in their order, without a map between.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: serde::Deserialize<'de>> serde::Deserialize<'de> for Entries<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visit<V>(std::marker::PhantomData<V>);
        impl<'de, V: serde::Deserialize<'de>> serde::de::Visitor<'de> for Visit<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries<V>, A::Error> {
                let mut entries = Vec::with_capacity(16);
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visit(std::marker::PhantomData))
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::Database, "a JSON column is damaged")
}

fn entries<'t, V: serde::Deserialize<'t>>(text: &'t str) -> Result<Vec<(String, V)>> {
    serde_json::from_str::<Entries<V>>(text).map(|e| e.0).map_err(|e| damaged().caused_by(e))
}

/// Reads what [`tags_json`] wrote.
pub(crate) fn read_tags(text: &str) -> Result<TagMap> {
    let tag = |key: &str| u32::from_str_radix(key, 16).map(|n| Tag((n >> 16) as u16, n as u16)).map_err(|_| damaged());
    entries::<String>(text)?.into_iter().map(|(key, value)| Ok((tag(&key)?, value))).collect()
}

/// Reads the columns `metadata` and `revisions`.
pub(crate) fn read_metadata(values: &str, revisions: &str) -> Result<BTreeMap<MetadataKind, MetadataValue>> {
    let kind = |key: &str| key.parse().map(MetadataKind).map_err(|_| damaged());
    let mut metadata = BTreeMap::new();
    for (key, value) in entries(values)? {
        metadata.insert(kind(&key)?, MetadataValue { value, revision: 0 });
    }
    if revisions != "{}" {
        for (key, revision) in entries(revisions)? {
            metadata.get_mut(&kind(&key)?).ok_or_else(damaged)?.revision = revision;
        }
    }
    Ok(metadata)
}

/// Writes the columns `metadata` and `revisions`; revision 0 is not written.
pub(crate) fn write_metadata(metadata: &BTreeMap<MetadataKind, MetadataValue>) -> Result<(String, String)> {
    let values = object(metadata.iter().map(|(k, v)| (k.0.to_string(), v.value.as_str())))?;
    let changed = metadata.iter().filter(|(_, v)| v.revision != 0);
    let revisions: Map<String, Value> = changed.map(|(k, v)| (k.0.to_string(), Value::from(v.revision))).collect();
    Ok((values, Value::Object(revisions).to_string()))
}

/// A JSON array of texts, sorted.
pub(crate) fn set_json(set: &BTreeSet<String>) -> String {
    Value::from_iter(set.iter().map(|v| clean(v).into_owned())).to_string()
}

/// Reads what [`set_json`] wrote.
pub(crate) fn read_set(text: &str) -> Result<BTreeSet<String>> {
    if text == "[]" {
        return Ok(BTreeSet::new());
    }
    serde_json::from_str::<Vec<String>>(text)
        .map(BTreeSet::from_iter)
        .map_err(|e| Error::new(ErrorKind::Database, "a list in a row is damaged").caused_by(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::tags::PATIENT_NAME;

    #[test]
    fn tags_survive_their_json() {
        let mut tags = TagMap::new();
        tags.put(PATIENT_NAME, "山田^\"太郎\"\\\u{1}");
        assert_eq!(read_tags(&tags_json(&tags).unwrap()).unwrap(), tags);
        assert_eq!(TagMap::from_json(&tags_json(&tags).unwrap()).unwrap(), tags);
        assert_eq!(tags_json(&tags).unwrap(), tags.to_json());
        tags.put(PATIENT_NAME, "A\0B");
        assert_eq!(tags_json(&tags).unwrap(), r#"{"00100010":"A B"}"#);
    }

    #[test]
    fn damage_is_an_error() {
        for text in ["", "[]", "{\"x\":\"y\"}", "{\"00100010\":1}"] {
            assert_eq!(read_tags(text).unwrap_err().kind(), ErrorKind::Database);
            assert_eq!(read_metadata(text, "{}").unwrap_err().kind(), ErrorKind::Database);
        }
    }

    #[test]
    fn metadata_keep_their_revisions() {
        let value = |value: &str, revision| MetadataValue { value: value.into(), revision };
        let all = BTreeMap::from([(MetadataKind(2), value("x", 0)), (MetadataKind(1024), value("", 7))]);
        let (values, revisions) = write_metadata(&all).unwrap();
        assert_eq!((values.as_str(), revisions.as_str()), (r#"{"2":"x","1024":""}"#, r#"{"1024":7}"#));
        assert_eq!(read_metadata(&values, &revisions).unwrap(), all);
    }
}
