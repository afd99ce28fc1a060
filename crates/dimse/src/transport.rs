//! The byte stream below an association, and the limits that hold on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// Smallest PDU size that Orthanc's `MaximumPduLength` allows, in bytes.
pub const MIN_PDU_BYTES: u32 = 4096;
/// Largest PDU size that Orthanc's `MaximumPduLength` allows, in bytes.
pub const MAX_PDU_BYTES: u32 = 131_072;
/// Orthanc's default of `MaximumPduLength`, in bytes.
pub const DEFAULT_PDU_BYTES: u32 = 16_384;

/// What a peer may cost: sizes and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest P-DATA-TF variable field that we announce and accept; taken as within 4096 to 131072.
    pub max_pdu: u32,
    /// Longest silence of the peer between two messages or within one; `None`: no limit.
    pub idle: Option<Duration>,
    /// Longest time for the peer to take one write (some PDUs, at most 128 KiB); `None`: no limit.
    pub write: Option<Duration>,
    /// PS3.8 9.1.5: for a whole A-ASSOCIATE PDU, an A-RELEASE-RP, or the peer's end of the connection.
    pub artim: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pdu: DEFAULT_PDU_BYTES,
            idle: Some(Duration::from_secs(30)),
            write: Some(Duration::from_secs(30)),
            artim: Duration::from_secs(10),
        }
    }
}

impl Limits {
    pub(crate) fn announced_pdu(&self) -> u32 {
        self.max_pdu.clamp(MIN_PDU_BYTES, MAX_PDU_BYTES)
    }
}

/// A connected byte stream: TCP, or anything that behaves like it (TLS, a pipe in a test).
pub struct Transport {
    pub(crate) read: Box<dyn AsyncRead + Send + Sync + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    pub(crate) peer_addr: SocketAddr,
}

impl Transport {
    /// Takes a TCP connection and turns Nagle's algorithm off: answers are small and must not wait for a delayed ACK.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let peer_addr = stream.peer_addr()?;
        let (read, write) = stream.into_split();
        Ok(Self { read: Box::new(PromptAck(read)), write: Box::new(write), peer_addr })
    }

    /// Takes any other stream; `peer_addr` is whom it leads to.
    pub fn stream(stream: impl AsyncRead + AsyncWrite + Send + Sync + 'static, peer_addr: SocketAddr) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self { read: Box::new(read), write: Box::new(write), peer_addr }
    }

    /// The same connection with another peer address: the real one, if the connection came through a proxy.
    #[must_use]
    pub fn with_peer_addr(mut self, peer_addr: SocketAddr) -> Self {
        self.peer_addr = peer_addr;
        self
    }

    /// Address of the peer.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }
}

/// Acknowledges at once what it reads, where the system can (Linux).
///
/// Many SCUs write a PDU in two pieces with Nagle's algorithm on: their second piece waits for our acknowledgement of the
/// first, which the system would delay by 40 ms because it hopes for an answer to send it with. That is per object.
struct PromptAck(OwnedReadHalf);

impl AsyncRead for PromptAck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        #[cfg(target_os = "linux")]
        if polled.is_pending() {
            // The mode does not last, hence once per wait. Failing costs time only.
            let _ = self.0.as_ref().set_quickack(true);
        }
        polled
    }
}
