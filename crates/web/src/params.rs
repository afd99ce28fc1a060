//! Query parameters as Orthanc reads them: empty keys are ignored, a key without a value is a flag.

use crate::HttpError;
use axum::extract::FromRequestParts;
use http::request::Parts;
use model::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// The decoded query string. The last of several equal keys wins.
#[derive(Clone, Debug, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    pub fn parse(query: &str) -> Self {
        let mut map = BTreeMap::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !key.is_empty() {
                map.insert(decode(key), decode(value));
            }
        }
        Self(map)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether a flag is set: `?expand`, `?expand=1`, `?expand=true`, but not `?expand=false`.
    ///
    /// # Errors
    /// `OutOfRange` if its value is no Boolean.
    pub fn flag(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => {
                Err(Error::new(ErrorKind::OutOfRange, format!("expected a Boolean for argument {key:?}, found {other:?}")))
            }
        }
    }

    /// A number.
    ///
    /// # Errors
    /// `BadParameterType` names the key.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        let bad = |v: &str| Error::new(ErrorKind::BadParameterType, format!("argument {key:?} must be a number, not {v:?}"));
        self.get(key).map(|v| v.trim().parse().map_err(|_| bad(v))).transpose()
    }
}

/// Decodes `%41` and `+`; what is no valid UTF-8 becomes U+FFFD.
pub fn decode(text: &str) -> String {
    let raw = text.as_bytes();
    let mut out = Vec::with_capacity(raw.len());
    let mut i = 0;
    while i < raw.len() {
        let hex = |at: usize| raw.get(at).and_then(|c| (*c as char).to_digit(16));
        match (raw[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            (c, ..) => out.push(c),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_queries_are_tolerated() {
        let p = Params::parse("&&expand&=x&a=2&a=1&b=%41%zz+c&f=false");
        assert!(p.flag("expand").unwrap() && !p.flag("f").unwrap() && p.has("f") && !p.flag("nope").unwrap());
        assert_eq!(p.flag("b").unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(p.get("a"), Some("1"));
        assert_eq!(p.get("b"), Some("A%zz c"));
        assert_eq!(p.number::<u32>("a").unwrap(), Some(1));
        assert_eq!(p.number::<u32>("b").unwrap_err().kind(), ErrorKind::BadParameterType);
    }
}
