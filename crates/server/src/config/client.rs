//! Outgoing HTTP, and the peers that are called.

use super::Settings;
use super::orthanc::Errors;
use ::client::ClientConfig;
use engine::Peer;
use std::collections::BTreeMap;
use std::time::Duration;

/// The options of outgoing HTTP.
pub fn client(settings: &Settings) -> ClientConfig {
    ClientConfig {
        ca_certificates: settings.path("HttpsCACertificates"),
        verify_peers: settings.flag("HttpsVerifyPeers"),
        timeout: Duration::from_secs(settings.integer("HttpTimeout")),
        proxy: Some(settings.text("HttpProxy")).filter(|text| !text.is_empty()).map(str::to_owned),
    }
}

/// `OrthancPeers`, by name. None if they are kept in the index only.
pub fn peers(settings: &Settings, errors: &mut Errors) -> Option<BTreeMap<String, Peer>> {
    let mut peers = BTreeMap::new();
    for (name, entry) in settings.members("OrthancPeers") {
        let option = format!("OrthancPeers.{name}");
        errors.take(&option, engine::remotes::check_name(name));
        if let Some(peer) = errors.take(&option, Peer::parse(entry)) {
            peers.insert(name.clone(), peer);
        }
    }
    (!settings.flag("OrthancPeersInDatabase")).then_some(peers)
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, load, orthanc};
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<orthanc::Config, super::super::ConfigError> {
        orthanc::config(&load(&[], &Environment::from([("ORTHANC_JSON".into(), value.to_string())])).unwrap())
    }

    #[test]
    fn calls_are_made_as_orthanc_makes_them() {
        let client = read(json!({})).unwrap().client;
        assert_eq!((client.verify_peers, client.timeout.as_secs(), client.proxy, client.ca_certificates), (true, 60, None, None));
        let client =
            read(json!({"HttpsVerifyPeers": false, "HttpTimeout": 0, "HttpProxy": "p:1", "HttpsCACertificates": "c.pem"}));
        let client = client.unwrap().client;
        assert!(!client.verify_peers && client.timeout.is_zero() && client.ca_certificates.is_some());
        assert_eq!(client.proxy.as_deref(), Some("p:1"));
    }

    #[test]
    fn peers_have_two_forms() {
        let configured = json!({"a": ["http://h:8042/", "u", "p"], "b": {"Url": "https://h", "HttpHeaders": {"X": "y"}}});
        let peers = read(json!({"OrthancPeers": configured})).unwrap().engine.peers.unwrap();
        assert_eq!((peers["a"].username.as_str(), peers["b"].url.as_str()), ("u", "https://h/"));
        let in_database = read(json!({"OrthancPeers": configured, "OrthancPeersInDatabase": true}));
        assert_eq!(in_database.unwrap().engine.peers, None);
        for (name, bad) in [("a", json!([])), ("a", json!(["ftp://h"])), ("a b", json!(["http://h"]))] {
            let error = read(json!({"OrthancPeers": {name: bad}})).err().unwrap().to_string();
            assert!(error.starts_with(&format!("option OrthancPeers.{name}: ")), "{error}");
        }
    }
}
