//! Errors of the operating system, mapped once to the kinds of `model`.

use model::{AttachmentId, Error, ErrorKind};
use std::io;

/// The error of an attempt to write, make or sync something that `what` names.
pub(crate) fn writing(what: impl std::fmt::Display, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        _ => ErrorKind::CannotWrite,
    };
    Error::new(kind, format!("{what}: {error}")).caused_by(error)
}

/// The error of an attempt to read the blob.
pub(crate) fn reading(id: AttachmentId, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => missing(id),
        _ => Error::new(ErrorKind::Corrupted, format!("blob {id}: {error}")).caused_by(error),
    }
}

/// The blob does not exist.
pub(crate) fn missing(id: AttachmentId) -> Error {
    Error::new(ErrorKind::InexistentFile, format!("blob {id}"))
}

/// The blob exists already. Names are random and used once, so this is a bug or a foreign file.
pub(crate) fn exists(id: AttachmentId) -> Error {
    Error::new(ErrorKind::CannotWrite, format!("blob {id} exists already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_told_apart_from_other_failures() {
        const ENOSPC: i32 = 28;
        const EDQUOT: i32 = 122;
        const EACCES: i32 = 13;
        for (code, kind) in [(ENOSPC, ErrorKind::StorageFull), (EDQUOT, ErrorKind::StorageFull), (EACCES, ErrorKind::CannotWrite)]
        {
            assert_eq!(writing("x", io::Error::from_raw_os_error(code)).kind(), kind);
        }
    }
}
