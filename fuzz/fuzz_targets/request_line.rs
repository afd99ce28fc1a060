//! What an HTTP client sends, before the HTTP parser sees it: request lines are put right.
//!
//! Checks beside "no panic": however the bytes arrive and are read, the same comes out; and nothing but `"`, `<` and `>` was changed,
//! into their encoded forms.
#![no_main]

#[path = "../../crates/web/src/request_line.rs"]
#[allow(dead_code)]
mod request_line;

use libfuzzer_sys::fuzz_target;
use request_line::RequestLines;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

fuzz_target!(|input: &[u8]| {
    let [piece, buffer, wire @ ..] = input else { return };
    let whole = put_right(wire, wire.len().max(1), wire.len() * 3 + 1);
    let cut = put_right(wire, usize::from(*piece).max(1), usize::from(*buffer).max(1));
    assert_eq!(whole, cut, "cutting changed what was read");
    assert!(is_only_encoded(wire, &whole), "something else was changed");
});

/// A connection that gives so many bytes at once.
struct Pieces<'w> {
    wire: &'w [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let n = self.size.min(buf.remaining()).min(self.wire.len());
        let (now, later) = self.wire.split_at(n);
        buf.put_slice(now);
        self.wire = later;
        Poll::Ready(Ok(()))
    }
}

fn put_right(wire: &[u8], size: usize, room: usize) -> Vec<u8> {
    let mut connection = RequestLines::new(Pieces { wire, size });
    let mut all = vec![];
    let mut buffer = vec![0; room];
    loop {
        let mut buf = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut connection).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        assert!(matches!(read, Poll::Ready(Ok(()))));
        if buf.filled().is_empty() {
            return all;
        }
        all.extend_from_slice(buf.filled());
    }
}

/// Whether the second is the first with some of the odd characters encoded.
fn is_only_encoded(sent: &[u8], read: &[u8]) -> bool {
    let mut read = read;
    for byte in sent {
        let encoded: &[u8] = match byte {
            b'"' => b"%22",
            b'<' => b"%3C",
            b'>' => b"%3E",
            _ => std::slice::from_ref(byte),
        };
        let Some(rest) = read.strip_prefix(&[*byte]).or_else(|| read.strip_prefix(encoded)) else { return false };
        read = rest;
    }
    read.is_empty()
}
