//! Another Orthanc as clients and the configuration describe it (Orthanc: `OrthancPeers`, `PUT /peers/{id}`).

use crate::modality::{boolean, seconds, string};
use model::ports::http::{ClientCertificate, HttpMethod, HttpRequest};
use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Members with a meaning; all others are properties of the user.
const KNOWN: &[&str] = &[
    "CertificateFile",
    "CertificateKeyFile",
    "CertificateKeyPassword",
    "HttpHeaders",
    "Password",
    "Pkcs11",
    "Timeout",
    "URL",
    "Url",
    "Username",
];

/// A remote Orthanc. It holds secrets: [`Self::to_json`] is for the index only, [`Self::public`] for clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// Ends with `/`.
    pub url: String,
    pub username: String,
    pub password: String,
    pub certificate_file: String,
    pub certificate_key_file: String,
    pub certificate_key_password: String,
    /// Sent with each request.
    pub headers: BTreeMap<String, String>,
    pub pkcs11: bool,
    /// Zero: `HttpTimeout`.
    pub timeout: Duration,
    /// What else its definition says, for clients (`RemoteSelf`, for instance).
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public().fmt(f)
    }
}

impl Peer {
    /// Reads `[url]`, `[url, user, password]` or an object.
    ///
    /// # Errors
    /// `BadDicom` (Orthanc's kind for a wrong shape), `BadParameterType`, with the member's name. No text has a secret.
    pub fn parse(definition: &Value) -> Result<Self> {
        match definition {
            Value::Array(items) if matches!(items.len(), 1 | 3) => {
                let names = ["Url", "Username", "Password"];
                Self::parse_object(&names.into_iter().map(str::to_owned).zip(items.iter().cloned()).collect())
            }
            Value::Object(members) => Self::parse_object(members),
            _ => Err(bad("expected [url], [url, user, password] or an object")),
        }
    }

    fn parse_object(members: &Map<String, Value>) -> Result<Self> {
        let text = |name| Ok::<_, Error>(string(members, name)?.unwrap_or_default().to_owned());
        let url = Some(text("Url")?).filter(|url| !url.is_empty());
        let peer = Self {
            url: address(&url.map_or_else(|| text("URL"), Ok)?)?,
            username: text("Username")?,
            password: text("Password")?,
            certificate_file: text("CertificateFile")?,
            certificate_key_file: text("CertificateKeyFile")?,
            certificate_key_password: text("CertificateKeyPassword")?,
            headers: headers(members.get("HttpHeaders"))?,
            pkcs11: boolean(members, "Pkcs11", false)?,
            timeout: seconds(members, "Timeout")?.unwrap_or_default(),
            properties: properties(members)?,
        };
        if peer.username.is_empty() && !peer.password.is_empty() {
            return Err(bad("a password without Username"));
        }
        Ok(peer)
    }

    /// The definition with all members and its secrets.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "Url": self.url,
            "Username": self.username,
            "Password": self.password,
            "CertificateFile": self.certificate_file,
            "CertificateKeyFile": self.certificate_key_file,
            "CertificateKeyPassword": self.certificate_key_password,
            "HttpHeaders": self.headers,
            "Pkcs11": self.pkcs11,
            "Timeout": self.timeout.as_secs(),
        });
        self.add_properties(&mut json);
        json
    }

    /// What clients may see (Orthanc: `GET /peers/{id}/configuration`): secrets are null, headers have no values.
    pub fn public(&self) -> Value {
        let mut json = json!({
            "HttpHeaders": self.headers.keys().collect::<Vec<_>>(),
            "Pkcs11": self.pkcs11,
            "Timeout": self.timeout.as_secs(),
            "Url": self.shown_url(),
        });
        if !self.username.is_empty() {
            json["Username"] = self.username.as_str().into();
            json["Password"] = Value::Null;
        }
        if !self.certificate_file.is_empty() {
            json["CertificateFile"] = self.certificate_file.as_str().into();
            json["CertificateKeyFile"] = Value::Null;
            json["CertificateKeyPassword"] = Value::Null;
        }
        self.add_properties(&mut json);
        json
    }

    /// `Peer` in the content of a job: `[url]` or `[url, user, ""]` if that says all, else an object. Orthanc shows the values of
    /// headers there; here they are empty, as the password is.
    pub fn in_job(&self) -> Value {
        let is_simple = self.certificate_file.is_empty()
            && self.certificate_key_file.is_empty()
            && !self.pkcs11
            && self.headers.is_empty()
            && self.properties.is_empty()
            && self.timeout.is_zero();
        if is_simple {
            return if self.username.is_empty() {
                json!([self.shown_url()])
            } else {
                json!([self.shown_url(), self.username, ""])
            };
        }
        let mut json = json!({
            "HttpHeaders": self.headers.keys().map(|name| (name.as_str(), "")).collect::<BTreeMap<_, _>>(),
            "Pkcs11": self.pkcs11,
            "Timeout": self.timeout.as_secs(),
            "Url": self.shown_url(),
        });
        let texts = [
            ("Username", &self.username),
            ("CertificateFile", &self.certificate_file),
            ("CertificateKeyFile", &self.certificate_key_file),
        ];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            json[name] = text.as_str().into();
        }
        self.add_properties(&mut json);
        json
    }

    fn add_properties(&self, json: &mut Value) {
        for (name, value) in &self.properties {
            json[name] = value.as_str().into();
        }
    }

    /// The URL without the password that it may have.
    fn shown_url(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@').and_then(|(login, _)| login.split_once(':')) else {
            return self.url.clone();
        };
        let host = &rest[authority.rfind('@').unwrap_or_default()..];
        let separator = if scheme.is_empty() { "" } else { "://" };
        format!("{scheme}{separator}{user}{host}")
    }

    /// A request to one of its routes, without a leading `/`.
    ///
    /// # Errors
    /// `NotImplemented` for a certificate in a token (`Pkcs11`).
    pub(crate) fn request(&self, method: HttpMethod, route: &str) -> Result<HttpRequest> {
        if self.pkcs11 {
            return Err(Error::new(ErrorKind::NotImplemented, "client certificates in hardware tokens (Pkcs11) come later"));
        }
        let scheme = if self.url.contains("://") { "" } else { "http://" };
        Ok(HttpRequest {
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            credentials: (!self.username.is_empty()).then(|| (self.username.clone(), self.password.clone())),
            certificate: (!self.certificate_file.is_empty()).then(|| ClientCertificate {
                file: self.certificate_file.as_str().into(),
                key_file: Some(self.certificate_key_file.as_str()).filter(|f| !f.is_empty()).map(Into::into),
            }),
            timeout: Some(self.timeout).filter(|t| !t.is_zero()),
            ..HttpRequest::new(method, format!("{scheme}{}{route}", self.url))
        })
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadDicom, message)
}

/// A URL with `/` at its end. Without `://` it is one of HTTP, as for Orthanc.
fn address(text: &str) -> Result<String> {
    let is_web = text.starts_with("http://") || text.starts_with("https://");
    if text.is_empty() {
        return Err(bad("Empty URL"));
    }
    if text.contains("://") && !is_web || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad("Bad URL: it begins with http:// or https:// and has no blanks"));
    }
    Ok(if text.ends_with('/') { text.to_owned() } else { format!("{text}/") })
}

/// Headers that can be sent (RFC 9110 5.5, 5.6.2).
fn headers(value: Option<&Value>) -> Result<BTreeMap<String, String>> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let members = value.as_object().ok_or_else(|| bad("Object expected in field: HttpHeaders"))?;
    let mut headers = BTreeMap::new();
    for (name, value) in members {
        let value = value.as_str().ok_or_else(|| bad(format!("String value expected in field: HttpHeaders.{name}")))?;
        let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !is_token || value.chars().any(char::is_control) {
            return Err(bad(format!("HttpHeaders: no header can be {name:?} with this value")));
        }
        headers.insert(name.clone(), value.to_owned());
    }
    Ok(headers)
}

fn properties(members: &Map<String, Value>) -> Result<BTreeMap<String, String>> {
    let text = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => if *flag { "1" } else { "0" }.to_owned(),
            Value::Number(number) if number.is_i64() => number.to_string(),
            _ => return Err(bad(format!("User-defined properties of a peer must be strings: {name}"))),
        };
        Ok((name.clone(), text))
    };
    members.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Value {
        json!({"Url": "https://h/a/", "Username": "u", "Password": "secret1", "CertificateFile": "c.pem",
            "CertificateKeyFile": "k.pem", "CertificateKeyPassword": "secret2", "HttpHeaders": {"X-A": "secret3"}, "Pkcs11": true,
            "Timeout": 7, "RemoteSelf": "me"})
    }

    #[test]
    fn every_form_is_read() {
        let simple = |definition| Peer::parse(&definition).unwrap();
        let peer = simple(json!(["http://h:8042"]));
        assert_eq!((peer.url.as_str(), peer.username.as_str(), peer.timeout), ("http://h:8042/", "", Duration::ZERO));
        let peer = simple(json!(["h", "u", "p"]));
        assert_eq!((peer.url.as_str(), peer.username.as_str(), peer.password.as_str()), ("h/", "u", "p"));
        assert_eq!(simple(json!({"URL": "http://h"})), simple(json!(["http://h/"])));
        let peer = simple(json!({"Url": "http://h", "Foo": true, "Bar": 5}));
        assert_eq!((peer.properties["Foo"].as_str(), peer.properties["Bar"].as_str()), ("1", "5"));
        assert_eq!(simple(full()).to_json(), full());
    }

    #[test]
    fn secrets_are_for_the_index_only() {
        let peer = Peer::parse(&full()).unwrap();
        assert_eq!(
            peer.public(),
            json!({"Url": "https://h/a/", "Username": "u", "Password": null, "CertificateFile": "c.pem", "CertificateKeyFile": null,
                "CertificateKeyPassword": null, "HttpHeaders": ["X-A"], "Pkcs11": true, "Timeout": 7, "RemoteSelf": "me"})
        );
        assert_eq!(
            peer.in_job(),
            json!({"Url": "https://h/a/", "Username": "u", "CertificateFile": "c.pem", "CertificateKeyFile": "k.pem",
                "HttpHeaders": {"X-A": ""}, "Pkcs11": true, "Timeout": 7, "RemoteSelf": "me"})
        );
        for (url, shown) in
            [("http://u:secret@h:1/p?q#f", "http://u@h:1/p?q#f/"), ("u:secret@h", "u@h/"), ("http://h/a:b@c", "http://h/a:b@c/")]
        {
            let peer = Peer::parse(&json!([url, "u", "secret"])).unwrap();
            assert_eq!(peer.in_job(), json!([shown, "u", ""]));
            assert_eq!(peer.public()["Url"], shown);
            assert!(!format!("{peer:?}").contains("secret"));
        }
    }

    #[test]
    fn requests_carry_what_is_configured() {
        let mut peer = Peer::parse(&full()).unwrap();
        assert_eq!(peer.request(HttpMethod::Get, "system").err().unwrap().kind(), ErrorKind::NotImplemented);
        peer.pkcs11 = false;
        let request = peer.request(HttpMethod::Get, "system").unwrap();
        assert_eq!((request.url.as_str(), request.timeout), ("https://h/a/system", Some(Duration::from_secs(7))));
        assert_eq!(request.credentials.unwrap().1, "secret1");
        assert_eq!(request.headers, [("X-A".to_owned(), "secret3".to_owned())]);
        let certificate = request.certificate.unwrap();
        assert_eq!((certificate.file.to_str(), certificate.key_file.unwrap().to_str()), (Some("c.pem"), Some("k.pem")));
        let request = Peer::parse(&json!(["h:1"])).unwrap().request(HttpMethod::Get, "system").unwrap();
        assert_eq!((request.url.as_str(), request.timeout, request.credentials), ("http://h:1/system", None, None));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        use ErrorKind::{BadDicom, BadParameterType};
        let url = |more: Value| {
            let mut definition = json!({"Url": "http://h"});
            definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            definition
        };
        for (definition, kind, words) in [
            (json!(5), BadDicom, "expected"),
            (json!([]), BadDicom, "expected"),
            (json!(["http://h", "a"]), BadDicom, "expected"),
            (json!(["http://h", "a", "b", "c"]), BadDicom, "expected"),
            (json!([5]), BadDicom, "field: Url"),
            (json!({}), BadDicom, "Empty URL"),
            (json!(["ftp://h"]), BadDicom, "Bad URL"),
            (json!(["http://h\r\nx"]), BadDicom, "Bad URL"),
            (json!(["http://h", "", "secret"]), BadDicom, "Username"),
            (url(json!({"Username": 5})), BadDicom, "field: Username"),
            (url(json!({"Pkcs11": 5})), BadDicom, "field: Pkcs11"),
            (url(json!({"HttpHeaders": 5})), BadDicom, "field: HttpHeaders"),
            (url(json!({"HttpHeaders": {"a": 5}})), BadDicom, "HttpHeaders.a"),
            (url(json!({"HttpHeaders": {"a b": "secret"}})), BadDicom, "\"a b\""),
            (url(json!({"HttpHeaders": {"a": "secret\r\nb: c"}})), BadDicom, "\"a\""),
            (url(json!({"Timeout": -1})), BadParameterType, "'Timeout'"),
            (url(json!({"Timeout": "a"})), BadDicom, "field: Timeout"),
            (url(json!({"Foo": {}})), BadDicom, "Foo"),
        ] {
            let error = Peer::parse(&definition).unwrap_err();
            assert_eq!(error.kind(), kind, "{definition}: {error}");
            assert!(error.message().contains(words) && !error.message().contains("secret"), "{definition}: {error}");
        }
    }
}
