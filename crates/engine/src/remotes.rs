//! The other servers that clients and the configuration name. They lie in the index, for all processes, and are read from there at each
//! use: what one process is told, the very next request on any other knows.

use crate::{Ctx, Engine, Modality, Peer};
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

/// All known peers, by name.
pub async fn peers(eng: &Engine) -> Result<BTreeMap<String, Peer>> {
    let mut known = BTreeMap::new();
    for (name, definition) in eng.index.remotes(RemoteKind::Peer).await? {
        match Peer::parse(&definition) {
            Ok(peer) => drop(known.insert(name, peer)),
            // Only another version can have written it.
            Err(error) => tracing::warn!(peer = name, %error, "a stored peer is left out"),
        }
    }
    Ok(known)
}

/// One of them.
///
/// # Errors
/// `UnknownResource`.
pub async fn peer(eng: &Engine, name: &str) -> Result<Peer> {
    let definition = eng.index.remote(RemoteKind::Peer, name).await?;
    let unknown = || Error::new(ErrorKind::UnknownResource, format!("No peer with symbolic name: {name}"));
    Peer::parse(&definition.ok_or_else(unknown)?)
}

/// Adds or replaces a peer.
///
/// # Errors
/// `BadDicom` for a bad name; as [`Peer::parse`].
pub async fn put_peer(eng: &Engine, _ctx: &Ctx, name: &str, definition: &Value) -> Result<()> {
    eng.writable()?;
    check_name(name)?;
    eng.index.put_remote(RemoteKind::Peer, name, &Peer::parse(definition)?.to_json()).await
}

/// Forgets a peer.
///
/// # Errors
/// `InexistentItem`.
pub async fn delete_peer(eng: &Engine, _ctx: &Ctx, name: &str) -> Result<()> {
    eng.writable()?;
    if eng.index.delete_remote(RemoteKind::Peer, name).await? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InexistentItem, format!("Unknown Orthanc peer: {name}")))
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

/// Brings in the nodes and peers of the configuration (architecture, decision 11). Call it at the start.
pub async fn seed(eng: &Engine) -> Result<()> {
    if let Some(modalities) = &eng.config.modalities {
        let configured = modalities.iter().map(|(name, modality)| (name.clone(), modality.to_json())).collect();
        eng.index.seed_remotes(RemoteKind::Modality, &configured).await?;
    }
    if let Some(peers) = &eng.config.peers {
        let configured = peers.iter().map(|(name, peer)| (name.clone(), peer.to_json())).collect();
        eng.index.seed_remotes(RemoteKind::Peer, &configured).await?;
    }
    Ok(())
}
