//! HTTPS: Orthanc's options of TLS for rustls (Orthanc: `SslEnabled` and so on).

use model::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

/// The options, under Orthanc's names.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// `SslCertificate`: a PEM file with the certificate, those between it and its authority, and its key.
    pub certificate: PathBuf,
    /// `SslTrustedClientCertificates`, if clients must show a certificate (`SslVerifyPeers`).
    pub trusted_clients: Option<PathBuf>,
    /// `SslMinimumProtocolVersion`: 5 is TLS 1.3, everything below TLS 1.2.
    pub minimum_version: u64,
    /// `SslCiphersAccepted`, with OpenSSL's names; empty for all that are safe.
    pub ciphers: Vec<String>,
}

/// The best first.
static VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// OpenSSL's name (of TLS 1.2) and the one of the standards.
const CIPHERS: &[(&str, &str)] = &[
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"),
    ("TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
    ("TLS_CHACHA20_POLY1305_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"),
];

/// What accepts connections.
///
/// # Errors
/// `OutOfRange`, naming the option and the file.
pub(crate) fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor> {
    let provider = Arc::new(CryptoProvider { cipher_suites: suites(config)?, ..aws_lc_rs::default_provider() });
    let refused = |option: &str, why: &dyn std::fmt::Display| refused(option, format!("{}: {why}", config.certificate.display()));
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(config))
        .map_err(|e| refused("SslCiphersAccepted", &e))?;
    let builder = match &config.trusted_clients {
        Some(file) => builder.with_client_cert_verifier(clients(file, provider)?),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates("SslCertificate", &config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.certificate)
        .map_err(|e| refused("SslCertificate", &format!("no private key that can be read: {e}")))?;
    let mut server = builder.with_single_cert(chain, key).map_err(|e| refused("SslCertificate", &e))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn versions(config: &TlsConfig) -> &'static [&'static SupportedProtocolVersion] {
    if config.minimum_version >= 5 { &VERSIONS[..1] } else { &VERSIONS }
}

/// The ciphers that are accepted. A list without a cipher of TLS 1.3 leaves those as they are, as OpenSSL does.
///
/// # Errors
/// `OutOfRange` if none of the list is known: an older cipher is not offered, even if it is asked for.
fn suites(config: &TlsConfig) -> Result<Vec<SupportedCipherSuite>> {
    let all = aws_lc_rs::ALL_CIPHER_SUITES;
    if config.ciphers.is_empty() {
        return Ok(aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec());
    }
    let standard = |name: &String| CIPHERS.iter().find(|(ours, _)| ours == name).map(|(_, standard)| *standard);
    let wanted: Vec<_> = config.ciphers.iter().filter_map(standard).collect();
    let unknown: Vec<_> = config.ciphers.iter().filter(|name| standard(name).is_none()).map(String::as_str).collect();
    if wanted.is_empty() {
        let known: Vec<_> = CIPHERS.iter().map(|(name, _)| *name).collect();
        return Err(refused("SslCiphersAccepted", format!("none of them is supported, but these are: {}", known.join(", "))));
    }
    if !unknown.is_empty() {
        tracing::warn!("SslCiphersAccepted: not supported and left out: {}", unknown.join(", "));
    }
    let names_tls13 = wanted.iter().any(|name| name.starts_with("TLS13"));
    let accepted = all.iter().filter(|suite| {
        let name = format!("{:?}", suite.suite());
        wanted.contains(&name.as_str()) || !names_tls13 && name.starts_with("TLS13")
    });
    Ok(accepted.copied().collect())
}

fn clients(
    file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>> {
    let option = "SslTrustedClientCertificates";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(option, file)? {
        roots.add(certificate).map_err(|e| refused(option, format!("{}: {e}", file.display())))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|e| refused(option, format!("{}: {e}", file.display())))
}

fn certificates(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |why: &dyn std::fmt::Display| refused(option, format!("{}: {why}", file.display()));
    let read = CertificateDer::pem_file_iter(file).map_err(|e| failed(&e))?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
    if found.is_empty() { Err(failed(&"no certificate in this file")) } else { Ok(found) }
}

fn refused(option: &str, why: String) -> Error {
    Error::new(ErrorKind::OutOfRange, format!("option {option}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(ciphers: &[&str]) -> TlsConfig {
        let ciphers = ciphers.iter().map(|c| (*c).to_owned()).collect();
        TlsConfig { certificate: "/nowhere/c.pem".into(), trusted_clients: None, minimum_version: 4, ciphers }
    }

    #[test]
    fn ciphers_have_openssls_names() {
        let names =
            |ciphers: &[&str]| suites(&config(ciphers)).unwrap().iter().map(|s| format!("{:?}", s.suite())).collect::<Vec<_>>();
        assert_eq!(names(&[]).len(), 9);
        for (name, standard) in CIPHERS {
            let found = names(&[name]);
            assert!(found.contains(&(*standard).to_owned()), "{name}: {found:?}");
            assert_eq!(found.len(), if standard.starts_with("TLS13") { 1 } else { 4 }, "{name}: {found:?}");
        }
        assert_eq!(names(&["AES256-SHA", "TLS_AES_256_GCM_SHA384"]), ["TLS13_AES_256_GCM_SHA384"]);
        let error = suites(&config(&["AES256-SHA"])).unwrap_err();
        assert!(error.message().contains("SslCiphersAccepted") && error.message().contains("ECDHE-RSA"), "{error}");
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let error = acceptor(&config(&[])).err().unwrap();
        assert!(error.message().contains("SslCertificate") && error.message().contains("/nowhere/c.pem"), "{error}");
        let trusted = TlsConfig { trusted_clients: Some("/nowhere/t.pem".into()), ..config(&[]) };
        let error = acceptor(&trusted).err().unwrap();
        assert!(
            error.message().contains("SslTrustedClientCertificates") && error.message().contains("/nowhere/t.pem"),
            "{error}"
        );
    }
}
