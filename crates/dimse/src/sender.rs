//! The sending half of a connection: PDUs are built in one buffer and leave in one write.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::command::Command;
use crate::error::{Error, Result};
use crate::pdu::{Pdu, TYPE_P_DATA};
use crate::transport::MAX_PDU_BYTES;

/// Bytes of whole PDUs that are gathered for one write.
const FLUSH_BYTES: usize = 64 * 1024;
/// PDU header, fragment length, context and flags.
const HEADER_BYTES: usize = 12;
/// Smallest PDU size taken from a peer at its word.
const SMALLEST_PDU_BYTES: u32 = 128;

pub(crate) struct Sender {
    io: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    out: BytesMut,
    /// Bytes of payload in one full PDU.
    payload: usize,
    timeout: Option<Duration>,
    /// A write or message has begun and not ended: whatever comes next would be misread by the peer.
    unfinished: bool,
}

impl Sender {
    pub(crate) fn new(io: Box<dyn AsyncWrite + Send + Sync + Unpin>, timeout: Option<Duration>) -> Self {
        Self { io, out: BytesMut::new(), payload: 0, timeout, unfinished: false }
    }

    /// Takes over what the peer announced; 0 is no limit.
    pub(crate) fn set_peer_max_pdu(&mut self, announced: u32) {
        let pdu = if announced == 0 { MAX_PDU_BYTES } else { announced.clamp(SMALLEST_PDU_BYTES, MAX_PDU_BYTES) };
        self.payload = pdu as usize - 6;
    }

    pub(crate) async fn pdu(&mut self, pdu: &Pdu) -> Result<()> {
        self.check()?;
        pdu.encode(&mut self.out)?;
        self.flush().await
    }

    /// Sends a PDU even within an unfinished message: A-ABORT may come at any time.
    pub(crate) async fn abort(&mut self, pdu: &Pdu, limit: Duration) -> Result<()> {
        self.out.clear();
        pdu.encode(&mut self.out)?;
        self.unfinished = true;
        write_all(&mut self.io, &self.out, Some(limit)).await?;
        Ok(self.io.shutdown().await?)
    }

    /// Appends a command; it leaves with the next flush, if possible together with the beginning of its data.
    pub(crate) fn command(&mut self, context_id: u8, command: &Command, has_data: bool) -> Result<()> {
        self.check()?;
        let mut bytes = BytesMut::with_capacity(256);
        command.encode(has_data, &mut bytes);
        let mut pieces = bytes.chunks(self.payload.max(1)).peekable();
        while let Some(piece) = pieces.next() {
            let start = self.open_pdu(context_id, 1);
            self.out.put_slice(piece);
            self.close_pdu(start, pieces.peek().is_none());
        }
        Ok(())
    }

    /// Begins the data set of the command just appended.
    pub(crate) fn data(&mut self, context_id: u8) -> DataSender<'_> {
        self.unfinished = true;
        let start = self.open_pdu(context_id, 0);
        DataSender { sender: self, context_id, start }
    }

    /// Writes everything gathered.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        let was_unfinished = std::mem::replace(&mut self.unfinished, true);
        write_all(&mut self.io, &self.out, self.timeout).await?;
        self.out.clear();
        self.unfinished = was_unfinished;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.unfinished { Err(Error::Broken) } else { Ok(()) }
    }

    fn open_pdu(&mut self, context_id: u8, flags: u8) -> usize {
        let start = self.out.len();
        self.out.put_slice(&[TYPE_P_DATA, 0, 0, 0, 0, 0, 0, 0, 0, 0, context_id, flags]);
        start
    }

    /// Fills in the lengths of the PDU that began at `start`, and whether it ends a command set or data set.
    fn close_pdu(&mut self, start: usize, last: bool) {
        let len = u32::try_from(self.out.len() - start - 6).unwrap_or(u32::MAX);
        let header = &mut self.out[start..start + HEADER_BYTES];
        header[2..6].copy_from_slice(&len.to_be_bytes());
        header[6..10].copy_from_slice(&(len - 4).to_be_bytes());
        if last {
            header[11] |= 2;
        }
    }
}

async fn write_all(io: &mut (dyn AsyncWrite + Send + Sync + Unpin), bytes: &[u8], limit: Option<Duration>) -> Result<()> {
    match limit {
        Some(limit) => timeout(limit, io.write_all(bytes)).await.map_err(|_| Error::WriteTimeout)??,
        None => io.write_all(bytes).await?,
    }
    Ok(())
}

/// Sends the data set of one message, piece by piece, in constant memory.
///
/// Dropped before [`DataSender::finish`], it leaves the message unfinished: the association can then only be aborted.
#[must_use = "a data set must be finished"]
pub struct DataSender<'a> {
    sender: &'a mut Sender,
    context_id: u8,
    /// Where the open PDU begins in the buffer.
    start: usize,
}

impl DataSender<'_> {
    /// Appends bytes; waits for the network when enough are gathered.
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room().await?;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.sender.out.put_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Appends everything that `source` yields, read straight into the outgoing PDUs. Returns the number of bytes.
    ///
    /// # Errors
    /// `Source` if reading fails; `Io`, `WriteTimeout`.
    pub async fn write_from(&mut self, source: &mut (dyn AsyncRead + Send + Unpin)) -> Result<u64> {
        let mut total = 0;
        loop {
            let room = self.room().await?;
            let mut target = (&mut self.sender.out).limit(room);
            match source.read_buf(&mut target).await.map_err(Error::Source)? {
                0 => return Ok(total),
                n => total += n as u64,
            }
        }
    }

    /// Marks the end of the data set and sends what is left.
    ///
    /// # Errors
    /// `Io`, `WriteTimeout`.
    pub async fn finish(self) -> Result<()> {
        self.sender.close_pdu(self.start, true);
        self.sender.unfinished = false;
        self.sender.flush().await
    }

    /// Free bytes in the open PDU, at least one: a full one is closed, and sent if enough are gathered.
    async fn room(&mut self) -> Result<usize> {
        let used = self.sender.out.len() - self.start - HEADER_BYTES;
        if used < self.sender.payload {
            return Ok(self.sender.payload - used);
        }
        self.sender.close_pdu(self.start, false);
        if self.sender.out.len() >= FLUSH_BYTES {
            self.sender.flush().await?;
        }
        self.start = self.sender.open_pdu(self.context_id, 0);
        Ok(self.sender.payload)
    }
}
