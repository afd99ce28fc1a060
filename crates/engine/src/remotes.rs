//! The other servers that clients and the configuration name. They lie in the index, for all processes, and are read from there at each
//! use: what one process is told, the very next request on any other knows.

use crate::{Ctx, Engine, Modality};
use model::ports::index::RemoteKind;
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// All known DICOM nodes, by name.
pub async fn modalities(eng: &Engine) -> Result<BTreeMap<String, Modality>> {
    let mut known = BTreeMap::new();
    for (name, definition) in eng.index.remotes(RemoteKind::Modality).await? {
        match Modality::parse(&definition) {
            Ok(modality) => drop(known.insert(name, modality)),
            // Only another version can have written it.
            Err(error) => tracing::warn!(modality = name, %error, "a stored modality is left out"),
        }
    }
    Ok(known)
}

/// One of them.
///
/// # Errors
/// `InexistentItem`.
pub async fn modality(eng: &Engine, name: &str) -> Result<Modality> {
    let definition = eng.index.remote(RemoteKind::Modality, name).await?;
    let unknown = || Error::new(ErrorKind::InexistentItem, format!("No modality with symbolic name: {name}"));
    Modality::parse(&definition.ok_or_else(unknown)?)
}

/// Adds or replaces a DICOM node.
///
/// # Errors
/// `BadDicom` for a bad name; as [`Modality::parse`].
pub async fn put_modality(eng: &Engine, _ctx: &Ctx, name: &str, definition: &Value) -> Result<()> {
    eng.writable()?;
    check_name(name)?;
    let definition = Modality::parse(definition)?.to_json();
    eng.index.put_remote(RemoteKind::Modality, name, &definition).await
}

/// Forgets a DICOM node.
///
/// # Errors
/// `InexistentItem`.
pub async fn delete_modality(eng: &Engine, _ctx: &Ctx, name: &str) -> Result<()> {
    eng.writable()?;
    if eng.index.delete_remote(RemoteKind::Modality, name).await? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InexistentItem, format!("Unknown DICOM modality with symbolic name: {name}")))
}

/// Symbolic names have letters, digits, `-` and `_` only (Orthanc).
///
/// # Errors
/// `BadDicom`, Orthanc's kind for it.
pub fn check_name(name: &str) -> Result<()> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Ok(());
    }
    let message = format!("a name of a modality or peer has letters, digits, - and _ only, but found: {name}");
    Err(Error::new(ErrorKind::BadDicom, message))
}

/// Brings in the nodes of the configuration (architecture, decision 11). Call it at the start.
pub async fn seed(eng: &Engine) -> Result<()> {
    let Some(modalities) = &eng.config.modalities else { return Ok(()) };
    let configured = modalities.iter().map(|(name, modality)| (name.clone(), modality.to_json())).collect();
    eng.index.seed_remotes(RemoteKind::Modality, &configured).await
}
