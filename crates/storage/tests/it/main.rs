//! One suite for every storage area, and what only a folder or a bucket can get wrong.

mod fake_s3;
mod local;
mod moto;
mod s3;
mod suite;

use model::AttachmentId;
use uuid::Uuid;

/// A random name in the folder of `block`, as the index reserves them.
fn in_block(block: Uuid) -> AttachmentId {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[..2].copy_from_slice(&block.as_bytes()[..2]);
    AttachmentId(Uuid::from_bytes(bytes))
}

/// The peak of this process's resident memory.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
