//! The HTTP door.

use super::Settings;
use super::orthanc::Errors;
use std::net::IpAddr;
use std::time::Duration;
use web::{HttpConfig, TlsConfig, TrustedProxies, Users};

/// The newest version that `SslMinimumProtocolVersion` names: TLS 1.3.
const NEWEST_TLS: u64 = 5;

/// The options of the HTTP server.
pub fn http(settings: &Settings, errors: &mut Errors) -> HttpConfig {
    let addresses = settings.list("HttpBindAddresses");
    let addresses = addresses.iter().filter_map(|text| {
        let address = text.parse::<IpAddr>().map_err(|_| format!("{text:?} is no IP address"));
        errors.take("HttpBindAddresses", address)
    });
    let bind_addresses = addresses.collect();
    let trusted = TrustedProxies::parse(&settings.list("TrustedProxies"));
    let seconds = |name| Duration::from_secs(settings.integer(name));
    HttpConfig {
        port: settings.port("HttpPort"),
        bind_addresses,
        remote_access: settings.flag("RemoteAccessAllowed"),
        authentication: settings.authentication(),
        users: errors.take("RegisteredUsers", Users::new(settings.users())).unwrap_or_default(),
        describe_errors: settings.flag("HttpDescribeErrors"),
        compression: settings.flag("HttpCompressionEnabled"),
        max_requests: settings.number("HttpThreadsCount").map(|n| usize::try_from(n).unwrap_or(usize::MAX)).filter(|n| *n > 0),
        tls: settings.flag("SslEnabled").then(|| tls(settings, errors)),
        trusted_proxies: errors.take("TrustedProxies", trusted).unwrap_or_default(),
        keep_alive: settings.flag("KeepAlive"),
        keep_alive_timeout: settings.number("KeepAliveTimeout").map(|s| Duration::from_secs(s.max(1))),
        tcp_no_delay: settings.flag("TcpNoDelay"),
        request_timeout: seconds("HttpRequestTimeout").max(Duration::from_secs(1)),
        max_body_bytes: settings.integer("MaximumRequestBodySizeMB") << 20,
    }
}

fn tls(settings: &Settings, errors: &mut Errors) -> TlsConfig {
    let minimum = settings.integer("SslMinimumProtocolVersion");
    let known =
        if minimum <= NEWEST_TLS { Ok(minimum) } else { Err(format!("{minimum} is no version: 4 is TLS 1.2, 5 is TLS 1.3")) };
    let trusted = settings.path("SslTrustedClientCertificates").ok_or("SslVerifyPeers needs a file of certificates");
    TlsConfig {
        certificate: settings.path("SslCertificate").unwrap_or_default(),
        trusted_clients: match settings.flag("SslVerifyPeers") {
            true => errors.take("SslTrustedClientCertificates", trusted),
            false => None,
        },
        minimum_version: errors.take("SslMinimumProtocolVersion", known).unwrap_or(NEWEST_TLS),
        ciphers: settings.list("SslCiphersAccepted"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, Environment, load, orthanc};
    use super::*;
    use serde_json::{Value, json};
    use std::path::Path;

    fn read(value: Value) -> Result<HttpConfig, ConfigError> {
        let settings = load(&[], &Environment::from([("ORTHANC_JSON".into(), value.to_string())]))?;
        Ok(orthanc::config(&settings)?.http.unwrap())
    }

    #[test]
    fn nothing_is_limited_or_encrypted_unless_asked_for() {
        let http = read(json!({})).unwrap();
        assert!(http.tls.is_none() && http.max_requests.is_none() && http.keep_alive_timeout.is_none() && !http.compression);
        assert!(http.trusted_proxies.0.is_empty() && http.keep_alive);
        let http = read(
            json!({"HttpThreadsCount": 7, "KeepAliveTimeout": 2, "HttpRequestTimeout": 0, "TrustedProxies": ["10.0.0.0/8"]}),
        );
        let http = http.unwrap();
        assert_eq!((http.max_requests, http.keep_alive_timeout), (Some(7), Some(Duration::from_secs(2))));
        assert_eq!((http.request_timeout, http.trusted_proxies.0.len()), (Duration::from_secs(1), 1));
    }

    #[test]
    fn tls_has_orthancs_options() {
        let tls = read(json!({"SslEnabled": true})).unwrap().tls.unwrap();
        assert_eq!((tls.certificate.as_path(), tls.minimum_version), (Path::new("certificate.pem"), 4));
        assert!(tls.trusted_clients.is_none() && tls.ciphers.is_empty());
        let tls = read(json!({"SslEnabled": true, "SslVerifyPeers": true, "SslMinimumProtocolVersion": 5, "SslCertificate": "c",
            "SslCiphersAccepted": ["ECDHE-RSA-AES128-GCM-SHA256"]}));
        let tls = tls.unwrap().tls.unwrap();
        assert_eq!((tls.minimum_version, tls.ciphers.len()), (5, 1));
        assert_eq!(tls.trusted_clients.as_deref(), Some(Path::new("trustedClientCertificates.pem")));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (value, words) in [
            (json!({"SslEnabled": true, "SslMinimumProtocolVersion": 6}), "option SslMinimumProtocolVersion: 6"),
            (
                json!({"SslEnabled": true, "SslVerifyPeers": true, "SslTrustedClientCertificates": ""}),
                "SslTrustedClientCertificates",
            ),
            (json!({"TrustedProxies": ["host"]}), "option TrustedProxies: \"host\""),
            (json!({"RegisteredUsers": {"alice": "{argon2}x"}}), "option RegisteredUsers: alice"),
            (json!({"HttpBindAddresses": ["host"]}), "option HttpBindAddresses: \"host\""),
        ] {
            let error = read(value).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
