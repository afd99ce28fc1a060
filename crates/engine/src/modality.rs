//! A remote DICOM node as clients and the configuration describe it (Orthanc: `DicomModalities`, `PUT /modalities/{id}`).

use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Names that Orthanc knows, and those of older versions that mean one of them.
const MANUFACTURERS: &[(&str, &str)] = &[
    ("Generic", "Generic"),
    ("GenericNoWildcardInDates", "GenericNoWildcardInDates"),
    ("GenericNoUniversalWildcard", "GenericNoUniversalWildcard"),
    ("Vitrea", "Vitrea"),
    ("GE", "GE"),
    ("SiemensSyngoCT", "SiemensSyngoCT"),
    ("ClearCanvas", "Generic"),
    ("Dcm4Chee", "Generic"),
    ("EFilm2", "Generic"),
    ("MedInria", "Generic"),
    ("AgfaImpax", "GenericNoWildcardInDates"),
    ("SyngoVia", "GenericNoWildcardInDates"),
];

const RETRIEVE_METHODS: &[&str] = &["C-MOVE", "C-GET", "SystemDefault"];

/// A remote DICOM node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modality {
    pub aet: String,
    pub host: String,
    pub port: u16,
    pub manufacturer: &'static str,
    /// What the node may ask of us.
    pub allows: Allows,
    /// Whether files are converted for the node if it does not take them as they are.
    pub allow_transcoding: bool,
    pub use_dicom_tls: bool,
    /// Our AE title towards the node; empty: `DicomAet`.
    pub local_aet: String,
    /// Longest wait for an answer of the node; zero: `DicomScuTimeout`.
    pub timeout: Duration,
    /// How `/queries/{id}/retrieve` gets files from the node.
    pub retrieve_method: &'static str,
}

/// The services that a node may use (Orthanc: `AllowEcho` and so on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allows {
    pub echo: bool,
    pub event_report: bool,
    pub find: bool,
    pub find_worklist: bool,
    pub get: bool,
    pub r#move: bool,
    pub n_action: bool,
    pub store: bool,
}

impl Modality {
    /// Reads `[AET, host, port]`, `[AET, host, port, manufacturer]` or an object. Members that nobody knows are ignored.
    ///
    /// # Errors
    /// `BadDicom` (Orthanc's kind for a wrong shape), `OutOfRange`, `BadParameterType`, with the member's name.
    pub fn parse(definition: &Value) -> Result<Self> {
        match definition {
            Value::Array(items) if matches!(items.len(), 3 | 4) => {
                let names = ["AET", "Host", "Port", "Manufacturer"];
                Self::parse_object(&names.into_iter().map(str::to_owned).zip(items.iter().cloned()).collect())
            }
            Value::Object(members) => Self::parse_object(members),
            _ => Err(bad("expected [AET, host, port], [AET, host, port, manufacturer] or an object")),
        }
    }

    fn parse_object(members: &Map<String, Value>) -> Result<Self> {
        let commitment = boolean(members, "AllowStorageCommitment", true)?;
        let allow = |name| boolean(members, name, true);
        // Orthanc has both names, in its documentation and in its answers.
        let event_report = boolean(members, "AllowEventReport", boolean(members, "AllowNEventReport", commitment)?)?;
        Ok(Self {
            aet: aet("AET", string(members, "AET")?.ok_or_else(|| bad("String value expected in field: AET"))?)?,
            host: host(string(members, "Host")?.ok_or_else(|| bad("String value expected in field: Host"))?)?,
            port: port(members.get("Port"))?,
            manufacturer: manufacturer(string(members, "Manufacturer")?.unwrap_or("Generic"))?,
            allows: Allows {
                echo: allow("AllowEcho")?,
                event_report,
                find: allow("AllowFind")?,
                find_worklist: allow("AllowFindWorklist")?,
                get: allow("AllowGet")?,
                r#move: allow("AllowMove")?,
                n_action: boolean(members, "AllowNAction", commitment)?,
                store: allow("AllowStore")?,
            },
            allow_transcoding: allow("AllowTranscoding")?,
            use_dicom_tls: boolean(members, "UseDicomTls", false)?,
            local_aet: match string(members, "LocalAet")? {
                None | Some("") => String::new(),
                Some(name) => aet("LocalAet", name)?,
            },
            timeout: seconds(members, "Timeout")?.unwrap_or_default(),
            retrieve_method: retrieve_method(string(members, "RetrieveMethod")?.unwrap_or("SystemDefault"))?,
        })
    }

    /// The definition with all members (Orthanc: `GET /modalities/{id}/configuration`).
    pub fn to_json(&self) -> Value {
        json!({
            "AET": self.aet,
            "AllowEcho": self.allows.echo,
            "AllowEventReport": self.allows.event_report,
            "AllowFind": self.allows.find,
            "AllowFindWorklist": self.allows.find_worklist,
            "AllowGet": self.allows.get,
            "AllowMove": self.allows.r#move,
            "AllowNAction": self.allows.n_action,
            "AllowStore": self.allows.store,
            "AllowTranscoding": self.allow_transcoding,
            "Host": self.host,
            "LocalAet": self.local_aet,
            "Manufacturer": self.manufacturer,
            "Port": self.port,
            "RetrieveMethod": self.retrieve_method,
            "Timeout": self.timeout.as_secs(),
            "UseDicomTls": self.use_dicom_tls,
        })
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadDicom, message)
}

fn out_of_range(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::OutOfRange, message)
}

pub(crate) fn string<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>> {
    let read = |value: &'a Value| value.as_str().ok_or_else(|| bad(format!("String value expected in field: {name}")));
    members.get(name).map(read).transpose()
}

pub(crate) fn boolean(members: &Map<String, Value>, name: &str, default: bool) -> Result<bool> {
    let read = |value: &Value| value.as_bool().ok_or_else(|| bad(format!("Boolean value expected in field: {name}")));
    members.get(name).map_or(Ok(default), read)
}

/// A number of seconds in a definition or in the body of a request.
///
/// # Errors
/// `BadDicom` if it is no integer, `BadParameterType` if it is negative or too large.
pub fn seconds(members: &Map<String, Value>, name: &str) -> Result<Option<Duration>> {
    let Some(value) = members.get(name) else { return Ok(None) };
    if !value.is_i64() && !value.is_u64() {
        return Err(bad(format!("Integer value expected in field: {name}")));
    }
    let seconds = value
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| Error::new(ErrorKind::BadParameterType, format!("Negative or too large value found in field '{name}'")))?;
    Ok(Some(Duration::from_secs(seconds.into())))
}

/// An AE title (PS3.5 6.2): 1 to 16 characters of the default repertoire, no backslash, not only blanks.
fn aet(name: &str, text: &str) -> Result<String> {
    let fits = (1..=16).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'\\');
    if fits && !text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    Err(out_of_range(format!(
        "{name}: an AE title has 1 to 16 ASCII characters and no backslash (PS3.5 6.2), but found: {text:?}"
    )))
}

fn host(text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(out_of_range(format!("Host: no name or address: {text:?}")));
    }
    Ok(text.to_owned())
}

/// Old files have the port as a string.
fn port(value: Option<&Value>) -> Result<u16> {
    let number = value.and_then(|v| v.as_i64().or_else(|| v.as_str()?.trim().parse().ok()));
    let number = number.ok_or_else(|| bad("Integer value expected in field: Port"))?;
    let fits = u16::try_from(number).ok().filter(|port| *port > 0);
    fits.ok_or_else(|| out_of_range(format!("A TCP port number must be in range [1..65535], but found: {number}")))
}

fn manufacturer(name: &str) -> Result<&'static str> {
    let known = MANUFACTURERS.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning);
    known.ok_or_else(|| out_of_range(format!("Unknown modality manufacturer: {name:?}")))
}

fn retrieve_method(name: &str) -> Result<&'static str> {
    let known = RETRIEVE_METHODS.iter().find(|known| **known == name).copied();
    known.ok_or_else(|| out_of_range(format!("RetrieveMethod can be \"C-MOVE\", \"C-GET\" or \"SystemDefault\": {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(more: Value) -> Value {
        let mut definition = json!({"AET": "A", "Host": "h", "Port": 104});
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        definition
    }

    #[test]
    fn every_form_is_read_and_shown_in_full() {
        let full = json!({"AET": "A", "AllowEcho": true, "AllowEventReport": true, "AllowFind": true, "AllowFindWorklist": true,
            "AllowGet": true, "AllowMove": true, "AllowNAction": true, "AllowStore": true, "AllowTranscoding": true, "Host": "h",
            "LocalAet": "", "Manufacturer": "Generic", "Port": 104, "RetrieveMethod": "SystemDefault", "Timeout": 0,
            "UseDicomTls": false});
        for definition in
            [json!(["A", "h", 104]), json!(["A", "h", "104", "MedInria"]), object(json!({"Other": 1})), full.clone()]
        {
            assert_eq!(Modality::parse(&definition).unwrap().to_json(), full, "{definition}");
        }
    }

    #[test]
    fn every_member_counts() {
        for (name, value) in [
            ("AllowEcho", json!(false)),
            ("AllowEventReport", json!(false)),
            ("AllowFind", json!(false)),
            ("AllowFindWorklist", json!(false)),
            ("AllowGet", json!(false)),
            ("AllowMove", json!(false)),
            ("AllowNAction", json!(false)),
            ("AllowStore", json!(false)),
            ("AllowTranscoding", json!(false)),
            ("UseDicomTls", json!(true)),
            ("LocalAet", json!("ME")),
            ("Timeout", json!(7)),
            ("RetrieveMethod", json!("C-GET")),
            ("Manufacturer", json!("GE")),
        ] {
            let modality = Modality::parse(&object(json!({ name: value }))).unwrap();
            let plain = Modality::parse(&object(json!({}))).unwrap().to_json();
            let mut expected = plain.clone();
            expected[name] = value;
            assert_ne!(modality.to_json(), plain);
            assert_eq!(modality.to_json(), expected);
            assert_eq!(Modality::parse(&expected).unwrap(), modality);
        }
        let allows = Modality::parse(&object(json!({"AllowStorageCommitment": false}))).unwrap().allows;
        assert!(!allows.n_action && !allows.event_report && allows.store);
        assert!(!Modality::parse(&object(json!({"AllowNEventReport": false}))).unwrap().allows.event_report);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        use ErrorKind::{BadDicom, BadParameterType, OutOfRange};
        for (definition, kind, words) in [
            (json!(5), BadDicom, "expected"),
            (json!(null), BadDicom, "expected"),
            (json!(["A", "h"]), BadDicom, "expected"),
            (json!(["A", "h", 1, "GE", 5]), BadDicom, "expected"),
            (json!(["A", "h", 1, 5]), BadDicom, "field: Manufacturer"),
            (json!([5, "h", 1]), BadDicom, "field: AET"),
            (json!({"AET": "A", "Port": 1}), BadDicom, "field: Host"),
            (json!({"aet": "A"}), BadDicom, "field: AET"),
            (json!(["A", "h", "x"]), BadDicom, "field: Port"),
            (json!(["A", "h", 104.5]), BadDicom, "field: Port"),
            (json!(["A", "h", 0]), OutOfRange, "but found: 0"),
            (json!(["A", "h", 65536]), OutOfRange, "but found: 65536"),
            (json!(["A", "h", -1]), OutOfRange, "but found: -1"),
            (json!(["A", "h", 1, "Nope"]), OutOfRange, "\"Nope\""),
            (json!(["", "h", 1]), OutOfRange, "AET"),
            (json!(["  ", "h", 1]), OutOfRange, "AET"),
            (json!(["ABCDEFGHIJKLMNOPQ", "h", 1]), OutOfRange, "AET"),
            (json!(["A\\B", "h", 1]), OutOfRange, "AET"),
            (json!(["Ä", "h", 1]), OutOfRange, "AET"),
            (json!(["A", " ", 1]), OutOfRange, "Host"),
            (json!(["A", "h x", 1]), OutOfRange, "Host"),
            (object(json!({"AllowEcho": 1})), BadDicom, "field: AllowEcho"),
            (object(json!({"AllowStorageCommitment": "no"})), BadDicom, "field: AllowStorageCommitment"),
            (object(json!({"LocalAet": "ABCDEFGHIJKLMNOPQ"})), OutOfRange, "LocalAet"),
            (object(json!({"Timeout": -1})), BadParameterType, "'Timeout'"),
            (object(json!({"Timeout": 1.5})), BadDicom, "field: Timeout"),
            (object(json!({"RetrieveMethod": "Bad"})), OutOfRange, "Bad"),
        ] {
            let error = Modality::parse(&definition).unwrap_err();
            assert_eq!(error.kind(), kind, "{definition}: {error}");
            assert!(error.message().contains(words), "{definition}: {error}");
        }
    }
}
