//! SQL functions that give SQLite the model's matching rules.

use model::matching::matches;
use model::query::Rule;
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use serde_json::{Value, json};

/// A rule as the text that [`register`]'s functions take.
pub(crate) fn encode(rule: &Rule, case_sensitive: bool) -> String {
    let rule = match rule {
        Rule::Single(t) => json!({ "single": t }),
        Rule::Wildcard(t) => json!({ "wildcard": t }),
        Rule::OneOf(list) => json!({ "one_of": list }),
        Rule::Range { from, to } => json!({ "from": from, "to": to }),
    };
    json!({ "rule": rule, "case_sensitive": case_sensitive }).to_string()
}

fn decode(text: &str) -> Option<(Rule, bool)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let rule = &value["rule"];
    let text = |key: &str| rule[key].as_str().map(str::to_owned);
    let parsed = if let Some(t) = text("single") {
        Rule::Single(t)
    } else if let Some(t) = text("wildcard") {
        Rule::Wildcard(t)
    } else if let Some(list) = rule["one_of"].as_array() {
        Rule::OneOf(list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
    } else {
        Rule::Range { from: text("from"), to: text("to") }
    };
    Some((parsed, value["case_sensitive"].as_bool()?))
}

/// `dicom_match(value, rule)`: whether the value, or one of its backslash-separated parts, satisfies the rule.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("dicom_match", 2, flags, |context: &mut Context<'_>| {
        let rule = context.get_or_create_aux(1, |value| -> Result<_, rusqlite::Error> {
            let text = value.as_str().unwrap_or_default();
            decode(text).ok_or_else(|| rusqlite::Error::InvalidParameterName("rule".into()))
        })?;
        let Some(value) = context.get::<Option<String>>(0)? else { return Ok(false) };
        let (rule, case_sensitive) = &*rule;
        Ok(matches(rule, &value, *case_sensitive)
            || (value.contains('\\') && value.split('\\').any(|part| matches(rule, part, *case_sensitive))))
    })
}
