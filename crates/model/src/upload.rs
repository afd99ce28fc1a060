//! Files that clients send piece by piece, one request each: any process may get the next piece.

use crate::AttachmentId;
use sha1::{Digest, Sha1};
use std::time::Duration;

/// What tells the files apart that wait for their next piece: who sends it, its name and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadKey(pub [u8; 20]);

impl UploadKey {
    pub fn of(user: &str, name: &str, size_bytes: u64) -> Self {
        let mut sha = Sha1::new();
        for text in [user, name] {
            sha.update((text.len() as u64).to_be_bytes());
            sha.update(text);
        }
        sha.update(size_bytes.to_be_bytes());
        Self(sha.finalize().into())
    }
}

/// A piece whose blob is durable.
#[derive(Clone, Debug)]
pub struct NewPiece {
    pub file: UploadKey,
    /// Of the whole file.
    pub file_bytes: u64,
    /// Where the piece begins in the file, if the client said so; otherwise behind the last one.
    pub start: Option<u64>,
    pub blob: AttachmentId,
    pub size_bytes: u64,
}

/// How much may wait, in all processes together.
#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    /// Files; the one that waits longest goes first.
    pub files: u32,
    /// Pieces of one file.
    pub pieces: u32,
    /// How long a file waits for its next piece.
    pub patience: Duration,
    /// How long the pieces of a complete file stay for the process that stores it.
    pub storing: Duration,
}

/// A file all of whose pieces have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteUpload {
    pub id: i64,
    /// Blobs and their sizes in bytes, in order.
    pub pieces: Vec<(AttachmentId, u64)>,
}

/// A file for the area for uploads, whose blob is durable.
#[derive(Clone, Debug)]
pub struct NewUploaded {
    /// Without a slash at either end. Several files may have the same.
    pub path: String,
    pub blob: AttachmentId,
    pub size_bytes: u64,
    /// Who brought it.
    pub remote_ip: String,
    pub http_user: String,
}

/// A file in the area for uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Rises from file to file.
    pub id: i64,
    pub path: String,
    pub blob: AttachmentId,
    pub size_bytes: u64,
    pub remote_ip: String,
    pub http_user: String,
    /// How long it has been there, on the database's clock.
    pub age: Duration,
}

/// What became of a piece. Its blob is referred to only if it is `Kept` or makes the file `Complete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceAdded {
    /// More must come.
    Kept,
    /// The caller stores the file, then forgets it. The next piece of the same name begins another file.
    Complete(CompleteUpload),
    /// The next piece begins at this byte: nothing was changed.
    Misplaced(u64),
    /// The pieces are longer than the file: it is forgotten.
    TooLong,
    /// There are too many pieces: the file is forgotten.
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_files_apart() {
        let keys = [("a", "b", 1), ("ab", "", 1), ("", "ab", 1), ("a", "b", 2)].map(|(u, n, s)| UploadKey::of(u, n, s));
        assert!((0..4).all(|i| (0..4).all(|j| (keys[i] == keys[j]) == (i == j))));
    }
}
