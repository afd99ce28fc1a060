//! Certificates in files.

use model::ports::http::ClientCertificate;
use model::{Error, ErrorKind, Result};
use reqwest::{Certificate, Identity};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The certificates that are trusted.
///
/// # Errors
/// `OutOfRange`, naming the option and the file.
pub(crate) fn trusted(file: &Path) -> Result<Vec<Certificate>> {
    let refused = |why: String| {
        let message = format!("option HttpsCACertificates: {}: {why}", file.display());
        Error::new(ErrorKind::OutOfRange, message)
    };
    let pem = std::fs::read(file).map_err(|e| refused(e.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|e| refused(e.to_string()))?;
    if found.is_empty() { Err(refused("no PEM certificate".into())) } else { Ok(found) }
}

/// A client certificate as its files are now: new files are another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shown {
    files: Vec<(PathBuf, SystemTime)>,
}

impl Shown {
    /// # Errors
    /// `InexistentFile` with the name.
    pub(crate) async fn find(certificate: &ClientCertificate) -> Result<Self> {
        let mut files = vec![];
        for file in std::iter::once(&certificate.file).chain(&certificate.key_file) {
            let missing = |e: std::io::Error| Error::new(ErrorKind::InexistentFile, format!("{}: {e}", file.display()));
            let time = tokio::fs::metadata(file).await.and_then(|m| m.modified()).map_err(missing)?;
            files.push((file.clone(), time));
        }
        Ok(Self { files })
    }

    /// # Errors
    /// `InexistentFile`, `NotImplemented` for an encrypted key, `BadDicom` (Orthanc: bad file format) with the name.
    pub(crate) async fn read(&self) -> Result<Identity> {
        let mut pem = vec![];
        for (file, _) in &self.files {
            let bytes = tokio::fs::read(file).await;
            pem.extend(bytes.map_err(|e| Error::new(ErrorKind::InexistentFile, format!("{}: {e}", file.display())))?);
            pem.push(b'\n');
        }
        let name = self.files.last().map(|(file, _)| file.display().to_string()).unwrap_or_default();
        if String::from_utf8_lossy(&pem).lines().any(|line| line.contains("ENCRYPTED")) {
            return Err(Error::new(ErrorKind::NotImplemented, format!("{name}: keys that need a password are not supported")));
        }
        let unusable = |e| Error::new(ErrorKind::BadDicom, format!("{name}: no certificate with its key in PEM")).caused_by(e);
        Identity::from_pem(&pem).map_err(unusable)
    }
}
