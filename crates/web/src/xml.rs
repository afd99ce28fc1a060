//! JSON answers as XML, for clients that ask for it (Orthanc: `Accept: application/xml`).
//!
//! An object becomes an element per member, a list an `<item>` per entry. A member whose name is no XML name (`0008,0005`)
//! becomes `<item name="0008,0005">`: Orthanc writes the name as it is, which no XML parser reads.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use model::{Error, ErrorKind};
use serde_json::Value;

/// Middleware: turns successful JSON answers into XML, if the client prefers that.
pub(crate) async fn negotiate(request: Request, next: Next) -> Response {
    let wanted = prefers_xml(request.headers());
    let response = next.run(request).await;
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    if !(wanted && is_json && response.status().is_success()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let json = body.collect().await.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    let Some(json) = json else {
        let error = Error::new(ErrorKind::NotAcceptable, "the answer is no JSON that could become XML");
        return crate::HttpError(error).into_response();
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    Response::from_parts(parts, document(&json).into())
}

/// Whether `Accept` names XML with a higher quality than JSON (RFC 9110 12.5.1). Who takes anything gets JSON, as from Orthanc:
/// browsers name XML, and `*/*` with less weight.
fn prefers_xml(headers: &HeaderMap) -> bool {
    let (mut xml, mut json) = (0.0, 0.0);
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |q| q.parse().unwrap_or(0.0));
        match media.as_str() {
            "application/xml" => xml = quality,
            "application/json" => json = f32::max(json, quality),
            "application/*" | "*/*" => json = 1.0,
            _ => {}
        }
    }
    xml > json
}

/// The document whose root element is `root`.
fn document(value: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
    element(&mut out, 0, "root", value);
    out
}

fn element(out: &mut String, depth: usize, name: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    out.push_str(&indent);
    out.push('<');
    let tag = if is_name(name) { name } else { "item" };
    out.push_str(tag);
    if tag != name {
        out.push_str(" name=\"");
        escape(out, name);
        out.push('"');
    }
    let scalar = match value {
        Value::Array(items) if !items.is_empty() => {
            out.push_str(">\n");
            items.iter().for_each(|item| element(out, depth + 1, "item", item));
            out.push_str(&indent);
            None
        }
        Value::Object(members) if !members.is_empty() => {
            out.push_str(">\n");
            members.iter().for_each(|(name, member)| element(out, depth + 1, name, member));
            out.push_str(&indent);
            None
        }
        Value::Array(_) | Value::Object(_) => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    match scalar {
        Some(text) if text.is_empty() => return out.push_str(" />\n"),
        Some(text) => {
            out.push('>');
            escape(out, &text);
        }
        None => {}
    }
    out.push_str("</");
    out.push_str(tag);
    out.push_str(">\n");
}

/// Whether a text may name an element (XML 1.0 2.3, without colons and without what only non-ASCII names have).
fn is_name(text: &str) -> bool {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(start) && text.chars().all(|c| start(c) || c.is_ascii_digit() || c == '-' || c == '.')
}

/// Text and attribute values. What XML 1.0 (2.2) cannot hold becomes U+FFFD.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            c if c < ' ' || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_elements() {
        let value = json!({
            "0008,0005": {"Q\"": 1}, "Flag": true, "Gone": null, "List": ["a", ""], "None": [], "Number": 1.5, "Text": "<&>\u{1}",
        });
        let expected = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root>\n  <item name=\"0008,0005\">\n    \
            <item name=\"Q&quot;\">1</item>\n  </item>\n  <Flag>true</Flag>\n  <Gone>null</Gone>\n  <List>\n    <item>a</item>\n    \
            <item />\n  </List>\n  <None />\n  <Number>1.5</Number>\n  <Text>&lt;&amp;&gt;\u{FFFD}</Text>\n</root>\n";
        assert_eq!(document(&value), expected);
        assert_eq!(document(&json!([])), "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root />\n");
    }

    #[test]
    fn the_quality_decides() {
        let check = |accept: &str, expected| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::try_from(accept).unwrap())]);
            assert_eq!(prefers_xml(&headers), expected, "{accept}");
        };
        check("application/xml", true);
        check("Application/XML; charset=utf-8", true);
        check("application/json;q=0.5, application/xml", true);
        check("application/xml;q=0.1, application/json", false);
        check("application/xml, application/json", false);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false);
        check("application/xml, application/*;q=0.1", false);
        check("*/*", false);
        check("text/xml", false);
        check("application/xml;q=x", false);
        assert!(!prefers_xml(&HeaderMap::new()));
    }
}
