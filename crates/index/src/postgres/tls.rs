//! TLS to the server, with the names and meanings of libpq: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.
//!
//! `require` encrypts and trusts the network for the rest, as Orthanc does with `EnableSsl`; with `sslrootcert` it means `verify-ca`.
//! Without `sslrootcert`, certificates are checked against the roots of the system.

use model::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

const NAMES: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// What of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// The options that concern TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsOptions(BTreeMap<&'static str, String>);

impl TlsOptions {
    /// `PostgreSQL.EnableSsl`
    pub(super) fn enabled(enabled: bool) -> Self {
        Self(BTreeMap::from([("sslmode", if enabled { "require" } else { "disable" }.to_owned())]))
    }

    /// Takes them out of `postgresql://…?…` or `key=value …`, and returns what is left.
    pub(super) fn split(uri: &str) -> (Self, String) {
        let mut options = Self::default();
        let rest = match uri.split_once('?') {
            Some((address, query)) if address.contains("://") => {
                let left: Vec<&str> = query.split('&').filter(|pair| !options.take(pair, decoded)).collect();
                if left.is_empty() { address.to_owned() } else { format!("{address}?{}", left.join("&")) }
            }
            _ if uri.contains("://") => uri.to_owned(),
            _ => pairs(uri).into_iter().filter(|pair| !options.take(pair, unquoted)).collect::<Vec<_>>().join(" "),
        };
        (options, rest)
    }

    fn take(&mut self, pair: &str, value: fn(&str) -> String) -> bool {
        let Some((name, text)) = pair.split_once('=') else { return false };
        let Some(name) = NAMES.into_iter().find(|known| *known == name.trim()) else { return false };
        self.0.insert(name, value(text.trim()));
        true
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// # Errors
    /// `Database` for a mode that does not exist.
    fn mode(&self) -> Result<(SslMode, Check)> {
        Ok(match self.get("sslmode").unwrap_or("prefer") {
            "disable" => (SslMode::Disable, Check::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Check::Nothing),
            "require" if self.get("sslrootcert").is_none() => (SslMode::Require, Check::Nothing),
            "require" | "verify-ca" => (SslMode::Require, Check::Chain),
            "verify-full" => (SslMode::Require, Check::ChainAndName),
            other => {
                let modes = "disable, allow, prefer, require, verify-ca or verify-full";
                return Err(wrong(format!("sslmode is {modes}, not {other:?}")));
            }
        })
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A value of `key=value` without its quotes.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).unwrap_or(text);
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

/// The parts of `key=value key='a value'`.
fn pairs(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut quoted, mut escaped) = (vec![], 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            ' ' if !quoted && is_pair(&text[start..at], &text[at..]) => {
                found.push(text[start..at].trim());
                start = at;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|pair| !pair.is_empty());
    found
}

/// Whether a pair ends before `rest`: blanks may stand around `=`.
fn is_pair(text: &str, rest: &str) -> bool {
    text.contains('=') && !text.trim_end().ends_with('=') && !rest.trim_start().starts_with('=')
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Database, format!("PostgreSQL: {message}"))
}

/// Makes connections encrypted.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    check: Check,
}

impl Tls {
    /// # Errors
    /// `Database` for options that cannot be obeyed: it names the file.
    pub(super) fn new(options: &TlsOptions) -> Result<(Self, SslMode)> {
        let (mode, check) = options.mode()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match check {
            Check::Nothing => Arc::new(Lenient { inner: None, provider: provider.clone() }),
            Check::Chain => Arc::new(Lenient { inner: Some(strict(options, &provider)?), provider: provider.clone() }),
            Check::ChainAndName => strict(options, &provider)?,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match (options.get("sslcert"), options.get("sslkey")) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let parsed = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(format!("sslkey {key}: {e}")))?;
                let chain = certificates("sslcert", chain)?;
                builder.with_client_auth_cert(chain, parsed).map_err(|e| wrong(format!("sslcert: {e}")))?
            }
            _ => return Err(wrong("sslcert and sslkey must be given together".to_owned())),
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok((Self { config: Arc::new(config), check }, mode))
    }
}

fn certificates(option: &str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |e: &dyn std::fmt::Display| wrong(format!("{option} {path}: {e}"));
    let read = CertificateDer::pem_file_iter(path).map_err(|e| failed(&e))?;
    let found = read.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
    if found.is_empty() { Err(failed(&"no certificate in this file")) } else { Ok(found) }
}

fn strict(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    match options.get("sslrootcert").filter(|path| *path != "system") {
        Some(path) => {
            for root in certificates("sslrootcert", path)? {
                roots.add(root).map_err(|e| wrong(format!("sslrootcert {path}: {e}")))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    verifier.map_err(|e| wrong(format!("no roots to check the server's certificate with ({e}): name them with sslrootcert")))
}

/// Checks the chain but not the name, or nothing; the server must have the key of its certificate all the same.
#[derive(Debug)]
struct Lenient {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is looked at last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// One handshake.
pub(super) struct Handshake {
    tls: Tls,
    host: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        Ok(Handshake { tls: self.clone(), host: host.to_owned() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = match ServerName::try_from(self.host) {
                Ok(name) => name,
                Err(error) if self.tls.check == Check::ChainAndName => return Err(io::Error::other(error)),
                // No name that a server could be asked for.
                Err(_) => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4]))),
            };
            tokio_rustls::TlsConnector::from(self.tls.config).connect(name, stream).await.map(|s| Encrypted(Box::new(s)))
        })
    }
}

/// An encrypted connection.
pub(super) struct Encrypted<S>(Box<TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tls_are_taken_out_of_connection_strings() {
        for (uri, rest, expected) in [
            ("postgresql://u@h/d", "postgresql://u@h/d", ""),
            ("postgresql://u@h/d?sslmode=require", "postgresql://u@h/d", "sslmode=require"),
            (
                "postgres://h/d?connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fa%20b.pem&keepalives=1",
                "postgres://h/d?connect_timeout=3&keepalives=1",
                "sslmode=verify-full,sslrootcert=/a b.pem",
            ),
            ("host=h sslmode=disable user=u", "host=h user=u", "sslmode=disable"),
            (
                "host = h sslrootcert = '/a \\'b' user='x y' sslcert=c sslkey=k",
                "host = h user='x y'",
                "sslcert=c,sslkey=k,sslrootcert=/a 'b",
            ),
            ("password='a sslmode=disable' host=h", "password='a sslmode=disable' host=h", ""),
        ] {
            let (options, left) = TlsOptions::split(uri);
            let shown: Vec<_> = options.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!((left.as_str(), shown.join(",").as_str()), (rest, expected), "{uri}");
        }
    }

    #[test]
    fn modes_mean_what_libpq_says() {
        let mode = |uri: &str| TlsOptions::split(uri).0.mode();
        assert_eq!(mode("host=h").unwrap(), (SslMode::Prefer, Check::Nothing));
        assert_eq!(mode("sslmode=require").unwrap(), (SslMode::Require, Check::Nothing));
        assert_eq!(mode("sslmode=require sslrootcert=x").unwrap(), (SslMode::Require, Check::Chain));
        assert_eq!(mode("sslmode=verify-ca").unwrap(), (SslMode::Require, Check::Chain));
        assert_eq!(mode("sslmode=verify-full").unwrap(), (SslMode::Require, Check::ChainAndName));
        assert!(mode("sslmode=verify-ful").unwrap_err().message().contains("verify-ful"));
        assert_eq!(TlsOptions::enabled(false).mode().unwrap().0, SslMode::Disable);
        let missing = TlsOptions::split("sslmode=verify-full sslrootcert=/nowhere/ca.pem").0;
        assert!(Tls::new(&missing).err().unwrap().message().contains("/nowhere/ca.pem"));
    }
}
