//! Reads configuration files and folders: JSON with comments, in which `${VAR}`, `${VAR:-default}` and `${VAR:-"default"}`
//! stand for environment variables (Orthanc: configuration, "Environment variables").

use super::Environment;
use jsonc_parser::ParseOptions;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// One document and where it came from.
#[derive(Debug)]
pub struct Document {
    pub source: String,
    pub values: Map<String, Value>,
    /// Variables that it names, that are not set and have no default: they count as empty (as in Orthanc).
    pub unset: Vec<String>,
}

/// Reads one file, or the `*.json` files of one folder by name.
///
/// # Errors
/// A sentence that names the file, and the line where it is no JSON.
pub fn read(path: &Path, environment: &Environment) -> Result<Vec<Document>, String> {
    let fail = |e: std::io::Error| format!("cannot read the configuration {}: {e}", path.display());
    if !fs::metadata(path).map_err(fail)?.is_dir() {
        return Ok(vec![read_file(path, environment)?]);
    }
    let mut files: Vec<PathBuf> = vec![];
    for entry in fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| read_file(file, environment)).collect()
}

fn read_file(path: &Path, environment: &Environment) -> Result<Document, String> {
    let source = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read the configuration file {source}: {e}"))?;
    parse(&source, &text, environment)
}

/// Reads a document.
///
/// # Errors
/// A sentence that names `source`, and the line where it is no JSON. It never repeats the text, which may hold secrets.
pub fn parse(source: &str, text: &str, environment: &Environment) -> Result<Document, String> {
    let (text, unset) = substitute(text, environment);
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    match jsonc_parser::parse_to_serde_value::<Value>(&text, &options) {
        Ok(Value::Object(values)) => Ok(Document { source: source.to_owned(), values, unset }),
        Ok(_) => Err(format!("{source}: expected a JSON object")),
        Err(error) => Err(format!("{source} is not valid JSON: {error}")),
    }
}

/// Replaces `${…}` by variables. What is not of that form stays as it is.
fn substitute(text: &str, environment: &Environment) -> (String, Vec<String>) {
    let (mut out, mut unset) = (String::with_capacity(text.len()), vec![]);
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let body = &rest[start + 2..];
        match reference(body) {
            Some((name, default, length)) => {
                match (environment.get(name), default) {
                    (Some(value), _) => out.push_str(value),
                    (None, Some(default)) => out.push_str(default),
                    (None, None) => unset.push(name.to_owned()),
                }
                rest = &body[length..];
            }
            None => {
                out.push_str("${");
                rest = body;
            }
        }
    }
    out.push_str(rest);
    (out, unset)
}

/// Reads `NAME}`, `NAME:-text}`, `NAME:-"text"}` or `NAME:-'text'}`: the name, the default, and how many bytes it takes.
fn reference(body: &str) -> Option<(&str, Option<&str>, usize)> {
    let name_end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let name = &body[..name_end];
    if name.is_empty() {
        return None;
    }
    if body[name_end..].starts_with('}') {
        return Some((name, None, name_end + 1));
    }
    let default = body[name_end..].strip_prefix(":-")?;
    let at = name_end + 2;
    for quote in ['"', '\''] {
        if let Some(inner) = default.strip_prefix(quote) {
            let end = inner.find(quote)?;
            return inner[end + 1..].starts_with('}').then_some((name, Some(&inner[..end]), at + end + 3));
        }
    }
    let end = default.find(['}', '"', '\''])?;
    default[end..].starts_with('}').then_some((name, Some(&default[..end]), at + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_the_rest_is_left_alone() {
        let environment: Environment = [("PORT".into(), "81".into()), ("EMPTY".into(), String::new())].into();
        for (text, expected) in [
            ("a ${PORT} b", "a 81 b"),
            ("${PORT:-9}${EMPTY:-9}", "81"),
            ("${NO:-9} ${NO:-\"x}y\"} ${NO:-'é'} ${NO:-}", "9 x}y é "),
            ("${NO}", ""),
            ("${ PORT} $PORT ${PORT ${PO-RT} ${}", "${ PORT} $PORT ${PORT ${PO-RT} ${}"),
            ("${NO:-\"x\"", "${NO:-\"x\""),
            ("${", "${"),
        ] {
            assert_eq!(substitute(text, &environment).0, expected, "{text}");
        }
        assert_eq!(substitute("${NO} ${PORT} ${NO:-1}", &environment).1, ["NO"]);
    }

    #[test]
    fn comments_and_trailing_commas_are_json_here_and_nothing_else() {
        let parse = |text| parse("f", text, &Environment::new());
        let document = parse("{ // a\n \"A\" : 1, /* b // */ \"B\" : \"http://x/*y*/\", }").unwrap();
        assert_eq!(Value::Object(document.values), serde_json::json!({"A": 1, "B": "http://x/*y*/"}));
        for bad in
            ["", "[]", "1", "{\"A\" 1}", "{A: 1}", "{'A': 1}", "{\"A\": 0x1}", "{\"A\": NaN}", "{}{}", "{\"Password\": \"secret"]
        {
            let error = parse(bad).unwrap_err();
            assert!(error.starts_with("f") && !error.contains("secret"), "{error}");
        }
    }
}
