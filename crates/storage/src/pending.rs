//! Bytes that wait to be written.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Chunks smaller than this are gathered in one buffer; larger ones are kept as they are, without a copy.
const SMALL: usize = 16 << 10;

#[derive(Default)]
pub(crate) struct Pending {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    size: usize,
}

impl Pending {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.size += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.close_tail();
            self.chunks.push_back(bytes);
        }
    }

    /// How many bytes wait.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Takes the first `size` bytes, or all if there are fewer.
    pub(crate) fn take(&mut self, size: usize) -> Vec<Bytes> {
        self.close_tail();
        let (mut taken, mut left) = (vec![], size.min(self.size));
        self.size -= left;
        while left > 0
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            if chunk.len() > left {
                self.chunks.push_front(chunk.split_off(left));
            }
            left -= chunk.len();
            taken.push(chunk);
        }
        taken
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let all: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let mut pending = Pending::default();
        for (from, to) in [(0, 10), (10, 10), (10, 20_000), (20_000, 20_001), (20_001, 150_000), (150_000, 200_000)] {
            pending.push(Bytes::copy_from_slice(&all[from..to]));
        }
        let mut taken = vec![];
        for size in [0, 1, 30_000, 119_999, 1_000_000, 5] {
            let part = pending.take(size).concat();
            assert_eq!(part.len(), size.min(all.len() - taken.len()));
            taken.extend(part);
            assert_eq!(pending.size(), all.len() - taken.len());
        }
        assert!(taken == all);
    }
}
