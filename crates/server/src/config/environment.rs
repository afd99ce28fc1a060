//! Options from the environment: `ORTHANC__SECTION__OPTION=value`, as Orthanc's usual container images take them.
//!
//! `__` goes down one level. Names are found without regard to case and `_`; what the table does not know is found among the
//! names that files have set, else each word is written with a capital (`MY_PACS` is `MyPacs`). A value is read as JSON, and
//! as a string if it is none (or if the option is a string).

use super::Environment;
use super::options::{folded, table};
use serde_json::{Map, Value};

const PREFIX: &str = "ORTHANC__";

/// Turns each such variable into a document with one value. `known`: what files have set, for names that users choose.
pub fn documents(environment: &Environment, known: &Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    environment
        .iter()
        .filter_map(|(name, text)| Some((name.clone(), document(name.strip_prefix(PREFIX)?, text, known)?)))
        .collect()
}

fn document(name: &str, text: &str, known: &Map<String, Value>) -> Option<Map<String, Value>> {
    let (mut path, mut names) = (String::new(), vec![]);
    let mut level = Some(known);
    for word in name.split("__") {
        if word.is_empty() {
            return None;
        }
        let found = table().below(&path).map(|(name, _)| name).find(|n| folded(n) == folded(word)).map(str::to_owned);
        let found = found.or_else(|| level?.keys().find(|n| folded(n) == folded(word)).cloned());
        let free = found.as_deref().is_none_or(|n| table().find(&join(&path, n)).is_none());
        let found = found.unwrap_or_else(|| capitalised(word));
        level = level.and_then(|l| l.get(&found)?.as_object());
        let has_entries = free && table().below(&join(&path, "*")).next().is_some();
        path = join(&path, if has_entries { "*" } else { &found });
        names.push(found);
    }
    let is_text = table().find(&path).is_some_and(|spec| spec.kind.is_text());
    let json = serde_json::from_str::<Value>(text).ok().filter(|v| v.is_string() || !is_text);
    let value = json.unwrap_or_else(|| Value::String(text.to_owned()));
    let last = names.pop()?;
    let start = Map::from_iter([(last, value)]);
    Some(names.into_iter().rev().fold(start, |inner, name| Map::from_iter([(name, Value::Object(inner))])))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `MY_PACS` as `MyPacs`.
fn capitalised(name: &str) -> String {
    let word =
        |w: &str| w.chars().take(1).flat_map(char::to_uppercase).chain(w.chars().skip(1).flat_map(char::to_lowercase)).collect();
    name.split('_').map::<String, _>(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_find_their_options() {
        let known = json!({"DicomModalities": {"pacs-1": {}, "my_pacs": {}}, "Home": {"Thing": 1}});
        for (name, text, expected) in [
            ("NAME", "123", json!({"Name": "123"})),
            ("NAME", "\"quoted\"", json!({"Name": "quoted"})),
            ("HTTP_PORT", "81", json!({"HttpPort": 81})),
            ("CASE_SENSITIVE_PN", "true", json!({"CaseSensitivePN": true})),
            ("HTTPS_CA_CERTIFICATES", "/x", json!({"HttpsCACertificates": "/x"})),
            ("STORE_MD5_FOR_ATTACHMENTS", "false", json!({"StoreMD5ForAttachments": false})),
            ("POSTGRESQL__HOST", "db", json!({"PostgreSQL": {"Host": "db"}})),
            ("POSTGRE_SQL__ENABLE_INDEX", "true", json!({"PostgreSQL": {"EnableIndex": true}})),
            ("DICOM_MODALITIES__MY_PACS__AET", "42", json!({"DicomModalities": {"my_pacs": {"AET": "42"}}})),
            ("DICOM_MODALITIES__OTHER_PACS__PORT", "42", json!({"DicomModalities": {"OtherPacs": {"Port": 42}}})),
            ("REGISTERED_USERS", "{\"a\": \"b\"}", json!({"RegisteredUsers": {"a": "b"}})),
            ("HOME__THING", "x", json!({"Home": {"Thing": "x"}})),
            ("SOMETHING_ELSE", "[1]", json!({"SomethingElse": [1]})),
        ] {
            let found = document(name, text, known.as_object().unwrap()).unwrap();
            assert_eq!(Value::Object(found), expected, "{name}");
        }
        assert!(document("", "1", &Map::new()).is_none() && document("A____B", "1", &Map::new()).is_none());
    }

    #[test]
    fn other_variables_are_left_alone() {
        let environment = Environment::from([("HOME".into(), "x".into()), ("ORTHANC_JSON".into(), "{}".into())]);
        assert!(documents(&environment, &Map::new()).is_empty());
    }
}
