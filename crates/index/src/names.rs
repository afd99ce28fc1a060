//! How blobs are named: a block of names shares the first 14 bytes of a random UUID; the number of a name is in the last two.

use model::AttachmentId;

/// Names in one block at most.
pub(crate) const BLOCK: usize = 256;

pub(crate) type Prefix = [u8; 14];

pub(crate) fn split(blob: AttachmentId) -> (Prefix, usize) {
    let mut prefix = [0; 14];
    let bytes = blob.0.as_bytes();
    prefix.copy_from_slice(&bytes[..14]);
    (prefix, usize::from(u16::from_be_bytes([bytes[14], bytes[15]])))
}

pub(crate) fn name(prefix: &Prefix, number: usize) -> AttachmentId {
    let mut bytes = [0; 16];
    bytes[..14].copy_from_slice(prefix);
    bytes[14..].copy_from_slice(&(number as u16).to_be_bytes());
    AttachmentId(uuid::Uuid::from_bytes(bytes))
}
