//! The description of the routes in OpenAPI 3.0, made from the table that the router is made from.

use crate::routes::Described;
use crate::schema::{integer, text};
use serde_json::{Map, Value, json};

/// The description of every route (`pleiad --openapi`).
pub fn openapi() -> Value {
    let (table, undescribed) = crate::routes().into_table();
    let mut paths = Map::new();
    for route in table {
        let (path, method) = (shown(&route.path), route.method);
        paths.entry(path).or_insert_with(|| json!({}))[method] = operation(route);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Pleiad",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST API of Orthanc, and what Pleiad adds to it. What Orthanc has and Pleiad has not yet is \
                            listed in `x-undescribed` and answers 501; WebDAV is there too.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "paths": paths,
        "security": [{ "basic": [] }, {}],
        "components": {
            "securitySchemes": { "basic": { "type": "http", "scheme": "basic" } },
            // Orthanc calls it plain text.
            "responses": { "Error": {
                "description": "Refused. The text is JSON: the schema `Error`.",
                "content": { "text/plain": { "schema": text() } },
            } },
            "schemas": { "Error": {
                "type": "object",
                "required": ["HttpStatus", "OrthancStatus"],
                "properties": {
                    "Details": text(),
                    "HttpError": text(),
                    "HttpStatus": integer(),
                    "Message": text(),
                    "Method": text(),
                    "OrthancError": text(),
                    "OrthancStatus": integer(),
                    "Uri": text(),
                },
            } },
        },
        "x-undescribed": undescribed,
    })
}

/// A path as OpenAPI writes it: it has no word for "everything below".
fn shown(path: &str) -> String {
    path.replace("{*", "{")
}

/// The names between braces.
fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| part.split('}').next())
}

fn operation(route: Described) -> Value {
    let path = shown(&route.path);
    let mut about = route.about;
    for name in placeholders(&path) {
        about.add_parameter(
            json!({ "name": name, "in": "path", "required": true, "schema": text(), "description": meaning(name) }),
        );
    }
    let mut operation = about.into_operation();
    let name: String = path.chars().filter(|c| !"{}".contains(*c)).map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    operation.insert("operationId".into(), format!("{}{}", route.method, name.trim_end_matches('_')).into());
    operation.insert("tags".into(), json!([path.split('/').nth(1).unwrap_or_default()]));
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Error" });
    Value::Object(operation)
}

/// What a part of a path stands for.
fn meaning(name: &str) -> &'static str {
    match name {
        "id" => "The identifier, or the name, of what the path is about",
        "key" => "The name of an output of the job",
        "label" => "A label",
        "name" => "The name or the number of a metadata or an attachment",
        "path" => "The parts of the path below",
        "property" => "What of the attachment is asked for",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn descriptions_are_complete() {
        let document = openapi();
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let of = format!("{method} {path}: {operation:#}");
                assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{of}");
                assert!(operation["responses"].get("200").is_some(), "{of}");
                assert!(names.insert(operation["operationId"].to_string()), "{of}");
                let parameters = operation["parameters"].as_array().unwrap();
                let described: BTreeSet<_> =
                    parameters.iter().map(|p| (&p["in"], &p["name"])).map(|p| format!("{p:?}")).collect();
                assert_eq!(described.len(), parameters.len(), "{of}");
                assert!(parameters.iter().all(|p| p["description"] != "" && p["schema"].is_object()), "{of}");
                let in_path = parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap());
                assert_eq!(in_path.collect::<Vec<_>>(), placeholders(path).collect::<Vec<_>>(), "{of}");
            }
        }
    }
}
