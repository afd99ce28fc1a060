//! One suite for every storage area, and what only a folder can get wrong.

mod local;
mod suite;

use model::AttachmentId;
use uuid::Uuid;

/// A random name in the folder of `block`, as the index reserves them.
fn in_block(block: Uuid) -> AttachmentId {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[..2].copy_from_slice(&block.as_bytes()[..2]);
    AttachmentId(Uuid::from_bytes(bytes))
}
