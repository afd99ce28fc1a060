//! Puts documents together and remembers where each value came from.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What happens when two documents set one option to different values.
#[derive(Clone, Copy, PartialEq)]
pub enum Conflict {
    /// It is an error, as among Orthanc's configuration files: nobody could say which one wins.
    Refuse,
    /// The later one wins: the environment overrides files.
    Replace,
}

/// The values of all documents.
#[derive(Debug, Default)]
pub struct Merged {
    pub values: Map<String, Value>,
    /// The source of each value that is not an object, by its path.
    origins: BTreeMap<String, String>,
}

impl Merged {
    /// Adds a document. Objects are merged deeply; anything else is one value.
    ///
    /// # Errors
    /// One sentence for each conflict that is refused. The rest is added all the same.
    pub fn add(&mut self, source: &str, values: Map<String, Value>, conflict: Conflict) -> Result<(), Vec<String>> {
        let mut errors = vec![];
        let mut target = std::mem::take(&mut self.values);
        self.merge(&mut target, "", source, values, conflict, &mut errors);
        self.values = target;
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn merge(
        &mut self,
        target: &mut Map<String, Value>,
        path: &str,
        source: &str,
        values: Map<String, Value>,
        conflict: Conflict,
        errors: &mut Vec<String>,
    ) {
        for (name, value) in values {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match (target.get_mut(&name), value) {
                (Some(Value::Object(old)), Value::Object(new)) => self.merge(old, &path, source, new, conflict, errors),
                (None, Value::Object(new)) => {
                    let mut object = Map::new();
                    self.merge(&mut object, &path, source, new, conflict, errors);
                    self.origins.entry(path).or_insert_with(|| source.to_owned());
                    target.insert(name, Value::Object(object));
                }
                (Some(old), new) if *old != new && conflict == Conflict::Refuse => {
                    let first = self.origin(&path);
                    errors.push(format!("option {path} is set to different values in {first} and in {source}"));
                }
                (_, new) => {
                    self.origins.insert(path, source.to_owned());
                    target.insert(name, new);
                }
            }
        }
    }

    /// Where the value at `path` came from.
    pub fn origin(&self, path: &str) -> &str {
        let mut path = path;
        loop {
            if let Some(source) = self.origins.get(path) {
                return source;
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return "the defaults",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn objects_merge_deeply_and_sources_are_remembered() {
        let mut merged = Merged::default();
        merged.add("a", object(json!({"Name": "x", "DicomModalities": {"one": ["A"]}})), Conflict::Refuse).unwrap();
        merged.add("b", object(json!({"Name": "x", "DicomModalities": {"two": {"AET": "B"}}})), Conflict::Refuse).unwrap();
        let expected = json!({"Name": "x", "DicomModalities": {"one": ["A"], "two": {"AET": "B"}}});
        assert_eq!(Value::Object(merged.values.clone()), expected);
        for (path, source) in [("DicomModalities.one", "a"), ("DicomModalities.two.AET", "b"), ("HttpPort", "the defaults")] {
            assert_eq!(merged.origin(path), source);
        }
    }

    #[test]
    fn two_files_may_not_disagree_but_the_environment_may() {
        let mut merged = Merged::default();
        merged.add("a", object(json!({"Name": "x", "Worklists": {"Enable": true}})), Conflict::Refuse).unwrap();
        let other = json!({"Name": "y", "Worklists": {"Enable": false}});
        let errors = merged.add("b", object(other.clone()), Conflict::Refuse).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].contains("Name") && errors[0].contains(" a ") && errors[0].ends_with(" b"), "{errors:?}");
        merged.add("environment", object(other.clone()), Conflict::Replace).unwrap();
        assert_eq!(Value::Object(merged.values.clone()), other);
        assert_eq!(merged.origin("Worklists.Enable"), "environment");
    }
}
