//! `--print-config`: what is in force, without the secrets.

use super::options::table;
use serde_json::{Map, Value};

const MASK: &str = "********";

/// Each option that is set or has a default, as JSON, with secrets masked.
pub fn effective(values: &Map<String, Value>) -> String {
    let mut all: Map<String, Value> = table()
        .below("")
        .filter_map(|(name, spec)| Some((name.to_owned(), spec.default.clone()?)))
        .filter(|(_, value)| !value.is_object())
        .collect();
    all.extend(values.iter().map(|(name, value)| (name.clone(), masked(name, value))));
    serde_json::to_string_pretty(&Value::Object(all)).unwrap_or_default()
}

/// Whether the value of this option must not be shown.
pub fn is_secret(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    let is_file = ["file", "path", "certificate", "certificates"].iter().any(|end| name.ends_with(end));
    let words = ["password", "secret", "token", "accesskey", "accountkey", "masterkey", "connectionstring", "connectionuri"];
    path.starts_with("RegisteredUsers.")
        || path.contains(".HttpHeaders.")
        || path.contains("MasterKey")
        || name == "pin"
        || !is_file && words.iter().any(|word| name.contains(word))
}

fn masked(path: &str, value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, v)| (name.clone(), masked(&format!("{path}.{name}"), v))).collect::<Map<_, _>>().into()
        }
        _ if is_secret(path) => MASK.into(),
        // The older form of a peer or DICOMweb server: URL, user, password.
        Value::Array(items) if path.starts_with("OrthancPeers.") || path.starts_with("DicomWeb.Servers.") => {
            items.iter().enumerate().map(|(i, item)| if i == 0 { without_password(item) } else { MASK.into() }).collect()
        }
        Value::Array(items) => items.iter().map(|item| masked(path, item)).collect(),
        Value::String(text) if text.contains("://") => without_password(value).to_owned(),
        _ => value.clone(),
    }
}

/// `http://user:password@host/` with both masked.
fn without_password(url: &Value) -> Value {
    let Some(text) = url.as_str() else { return MASK.into() };
    let Some((scheme, rest)) = text.split_once("://") else { return url.clone() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((credentials, _)) => format!("{scheme}://{MASK}{}", &rest[credentials.len()..]).into(),
        None => url.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_secret_is_shown() {
        let values = json!({
            "Name": "shown", "RegisteredUsers": {"alice": "hide1"}, "HttpProxy": "http://user:hide2@proxy/",
            "OrthancPeers": {"a": ["http://shown/", "hide3", "hide4"], "b": {"Url": "http://shown", "Password": "hide5", "HttpHeaders": {"X": "hide6"},
                             "CertificateKeyPassword": "hide7", "CertificateKeyFile": "shown"}},
            "PostgreSQL": {"Password": "hide8", "ConnectionUri": "hide9", "Host": "shown"},
            "AwsS3Storage": {"AccessKey": "hide10", "SecretKey": "hide11", "StorageEncryption": {"MasterKey": [1, "hide12"]}},
            "AzureBlobStorage": {"ConnectionString": "hide13"}, "Pkcs11": {"Pin": "hide14"}, "Unknown": {"ApiToken": "hide15"}
        });
        let text = effective(values.as_object().unwrap());
        for n in 1..=15 {
            assert!(!text.contains(&format!("hide{n}")), "hide{n} in {text}");
        }
        assert_eq!(text.matches("shown").count(), 5, "{text}");
        assert!(text.contains("\"HttpPort\": 8042"), "defaults are in force too");
    }
}
