//! Words for JSON Schema, in which the bodies of requests are described.

use serde_json::{Map, Value, json};

pub fn flag() -> Value {
    json!({ "type": "boolean" })
}

pub fn integer() -> Value {
    json!({ "type": "integer" })
}

pub fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub fn text() -> Value {
    json!({ "type": "string" })
}

pub fn bytes() -> Value {
    json!({ "type": "string", "format": "binary" })
}

pub fn anything() -> Value {
    json!({})
}

pub fn one_of(names: &[&str]) -> Value {
    json!({ "type": "string", "enum": names })
}

/// An array of what `items` describes.
pub fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// An object whose members have any names.
pub fn map(values: Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

pub fn any_of(schemas: &[Value]) -> Value {
    json!({ "anyOf": schemas })
}

/// An object with these members, of which some must be there. Others are ignored.
pub fn object(required: &[&str], members: Vec<(&str, Value)>) -> Value {
    let properties: Map<String, Value> = members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}
