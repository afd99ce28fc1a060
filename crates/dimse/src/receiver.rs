//! The receiving half of a connection: fills a buffer, lets the decoder cut it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::decoder::{Decoder, Event};
use crate::error::{Error, Result};

/// Bytes asked from the network at once: several PDUs, or a whole small message.
const READ_BYTES: usize = 256 * 1024;
/// Room below which the buffer is renewed.
const LOW_BYTES: usize = 64 * 1024;
/// Most bytes thrown away while waiting for the peer to close.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

pub(crate) struct Receiver {
    io: Box<dyn AsyncRead + Send + Sync + Unpin>,
    buf: BytesMut,
    pub(crate) decoder: Decoder,
    idle: Option<Duration>,
    /// An event that was looked at too early.
    stashed: Option<Event>,
}

impl Receiver {
    pub(crate) fn new(io: Box<dyn AsyncRead + Send + Sync + Unpin>, max_pdu: u32, idle: Option<Duration>) -> Self {
        Self { io, buf: BytesMut::new(), decoder: Decoder::new(max_pdu), idle, stashed: None }
    }

    /// The next event. Cancel safe: a dropped future loses nothing.
    pub(crate) async fn event(&mut self) -> Result<Event> {
        if let Some(event) = self.stashed.take() {
            return Ok(event);
        }
        loop {
            if let Some(event) = self.decoder.next(&mut self.buf)? {
                return Ok(event);
            }
            let read = match self.idle {
                Some(idle) => timeout(idle, fill(&mut self.io, &mut self.buf)).await.map_err(|_| Error::ReadTimeout)?,
                None => fill(&mut self.io, &mut self.buf).await,
            };
            read?;
        }
    }

    /// The next event, if it comes within `limit` as a whole, however the bytes trickle in.
    pub(crate) async fn event_within(&mut self, limit: Duration) -> Result<Event> {
        timeout(limit, self.event()).await.map_err(|_| Error::ReadTimeout)?
    }

    /// The next event if it is here already.
    pub(crate) async fn event_now(&mut self) -> Result<Option<Event>> {
        tokio::select! {
            biased;
            event = self.event() => event.map(Some),
            () = std::future::ready(()) => Ok(None),
        }
    }

    /// Gives back an event that somebody else is to see.
    pub(crate) fn stash(&mut self, event: Event) {
        self.stashed = Some(event);
    }

    pub(crate) fn has_stashed(&self) -> bool {
        self.stashed.is_some()
    }

    /// The next piece of the current data set, `None` at its end. Cancel safe.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self.event().await? {
            Event::Data(piece) => Ok(Some(piece)),
            Event::EndOfData => Ok(None),
            other => Err(Error::from(crate::receiver::out_of_order(&other))),
        }
    }

    /// Reads and forgets until the peer closes, so that our last PDU is not lost by a connection reset.
    pub(crate) async fn discard(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut discarded = 0;
        while discarded < MAX_DISCARDED_BYTES {
            self.buf.clear();
            if !matches!(timeout_at(deadline, fill(&mut self.io, &mut self.buf)).await, Ok(Ok(()))) {
                return;
            }
            discarded += self.buf.len();
        }
    }
}

/// The violation that `event` is where it does not belong.
pub(crate) fn out_of_order(event: &Event) -> crate::error::ProtocolError {
    crate::error::ProtocolError::unexpected(match event {
        Event::Pdu(_) => "a PDU within a message",
        _ => "a fragment out of order",
    })
}

/// Reads what there is. Pieces cut from the buffer keep it alive; if they are gone, it is used again.
async fn fill(io: &mut (dyn AsyncRead + Send + Sync + Unpin), buf: &mut BytesMut) -> Result<()> {
    if buf.capacity() - buf.len() < LOW_BYTES {
        buf.reserve(READ_BYTES.saturating_sub(buf.len()).max(LOW_BYTES));
    }
    match io.read_buf(buf).await? {
        0 => Err(Error::Closed),
        _ => Ok(()),
    }
}
