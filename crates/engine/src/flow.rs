//! Bytes between async streams and blocking code, in pieces that wait in short queues.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use model::{Error, Result};
use std::io::{self, Read};
use tokio::sync::mpsc;

/// A stream of bytes.
pub type Pieces = BoxStream<'static, Result<Bytes>>;

/// Pieces that may wait between the two sides.
pub const QUEUE: usize = 4;
/// Bytes of a piece that blocking code makes.
const PIECE_BYTES: usize = 64 << 10;

/// What a queue yields, as a stream.
pub fn from_queue(queue: mpsc::Receiver<Result<Bytes>>) -> Pieces {
    futures_util::stream::unfold(queue, |mut queue| async { queue.recv().await.map(|piece| (piece, queue)) }).boxed()
}

/// A stream as blocking code reads it. Its errors come out of [`into_error`] as they were.
pub struct Reader {
    queue: mpsc::Receiver<Result<Bytes>>,
    piece: Bytes,
}

impl Reader {
    /// Reads `stream`, until the reader is dropped.
    pub fn new(mut stream: Pieces) -> Self {
        let (tx, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(piece) = stream.next().await {
                if tx.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Self { queue, piece: Bytes::new() }
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.queue.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let n = out.len().min(self.piece.len());
        out[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

/// The error that a [`Reader`]'s stream reported, or what `other` makes of the reading code's own.
pub fn into_error(error: io::Error, other: impl FnOnce(io::Error) -> Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(other)
}

/// Sends all that `input` has until `map` makes an error of a piece. Returns false if nobody listens any more.
pub fn pump(
    input: &mut dyn Read,
    tx: &mpsc::Sender<Result<Bytes>>,
    mut map: impl FnMut(io::Result<Bytes>) -> Result<Bytes>,
) -> bool {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = match input.read(&mut piece) {
            Ok(0) => return true,
            Ok(n) => {
                piece.truncate(n);
                Ok(Bytes::from(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let mapped = map(read);
        let failed = mapped.is_err();
        if tx.blocking_send(mapped).is_err() {
            return false;
        }
        if failed {
            return true;
        }
    }
}

/// What blocking code reads, as a stream; `map` makes errors. `open` runs on the blocking thread: some decoders read when they
/// are made.
pub fn stream_of<R: Read>(
    open: impl FnOnce() -> R + Send + 'static,
    map: impl FnMut(io::Result<Bytes>) -> Result<Bytes> + Send + 'static,
) -> Pieces {
    let (tx, rx) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || pump(&mut open(), &tx, map));
    from_queue(rx)
}
