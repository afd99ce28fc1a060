//! Inflating deflated data sets (PS3.5 A.5), a bounded amount at a time.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::{ReadError, ReadOptions};

/// Why inflating paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream is over.
    Finished,
    /// As many bytes as asked for are there.
    Full,
    /// The input ended first.
    Starved,
}

/// An inflating stream over input in memory.
pub(super) struct Stream<'a> {
    input: &'a [u8],
    state: Decompress,
    out: Vec<u8>,
}

impl<'a> Stream<'a> {
    /// A zlib header, which some writers put there against the standard, is tolerated.
    pub(super) fn new(input: &'a [u8]) -> Self {
        let zlib = matches!(input, [0x78, b, ..] if (0x7800 + u32::from(*b)) % 31 == 0);
        Self { input, state: Decompress::new(zlib), out: Vec::new() }
    }

    /// Inflates until `total` bytes are there.
    pub(super) fn inflate_to(&mut self, total: usize) -> Result<End, ReadError> {
        while self.out.len() < total {
            // Grows by what was inflated so far, not by what the stream might hold.
            let room = (total - self.out.len()).min(self.out.len().max(16 << 10));
            self.out.reserve_exact(room);
            let before = (self.state.total_in(), self.state.total_out());
            let rest = self.input.get(before.0 as usize..).unwrap_or_default();
            let status = self.state.decompress_vec(rest, &mut self.out, FlushDecompress::None);
            let status = status.map_err(|_| ReadError::Deflate)?;
            if status == Status::StreamEnd {
                return Ok(End::Finished);
            }
            if before == (self.state.total_in(), self.state.total_out()) {
                return Ok(End::Starved);
            }
        }
        Ok(End::Full)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.out
    }
}

/// Inflates a whole data set.
pub(super) fn all(input: &[u8], options: &ReadOptions) -> Result<Bytes, ReadError> {
    let mut stream = Stream::new(input);
    match stream.inflate_to(options.max_inflated_bytes.saturating_add(1))? {
        End::Full => Err(ReadError::InflatedTooLarge { limit: options.max_inflated_bytes }),
        End::Starved => Err(ReadError::Deflate),
        End::Finished => Ok(Bytes::from(stream.out)),
    }
}
