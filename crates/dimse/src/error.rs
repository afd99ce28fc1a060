//! What can end an association, or keep it from starting.

use std::io;

use crate::pdu::{Abort, AbortReason, Rejection};

/// Result of everything that talks to a peer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an association ended, could not be opened, or cannot carry a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network failed.
    #[error("network error")]
    Io(#[from] io::Error),
    /// The peer closed the connection without releasing the association.
    #[error("the peer closed the connection without releasing the association")]
    Closed,
    /// The peer sent nothing for as long as [`crate::Limits::idle`] or [`crate::Limits::artim`] allows.
    #[error("the peer sent nothing in time")]
    ReadTimeout,
    /// The peer did not take our bytes for as long as [`crate::Limits::write`] allows.
    #[error("the peer stopped reading")]
    WriteTimeout,
    /// The peer broke the protocol; it was sent an A-ABORT.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The association was refused, by the peer or by the acceptor's own checks.
    #[error("association rejected: {0}")]
    Rejected(Rejection),
    /// The peer aborted the association.
    #[error("the peer aborted the association: {0}")]
    Aborted(Abort),
    /// The peer released the association while an answer was expected.
    #[error("the peer released the association before answering")]
    Released,
    /// No presentation context was accepted for what is to be sent.
    #[error("no accepted presentation context for {0}")]
    NoContext(String),
    /// An earlier message was left unfinished, so that the byte stream is no longer usable.
    #[error("the association is no longer usable: a message was left unfinished")]
    Broken,
    /// The caller gave a value that the protocol cannot carry.
    #[error("not encodable: {0}")]
    Unencodable(&'static str),
    /// Reading the data set to be sent failed.
    #[error("cannot read the data set to send")]
    Source(#[source] io::Error),
}

/// A violation of PS3.7 or PS3.8 by the peer, with the reason that the A-ABORT names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("protocol violation: {detail}")]
pub struct ProtocolError {
    /// Reason to send in the A-ABORT, PS3.8 table 9-26.
    pub reason: AbortReason,
    /// What was wrong; holds no data of the peer.
    pub detail: &'static str,
}

impl ProtocolError {
    pub(crate) const fn new(reason: AbortReason, detail: &'static str) -> Self {
        Self { reason, detail }
    }

    /// A value that cannot be: wrong length, missing field, impossible number.
    pub(crate) const fn invalid(detail: &'static str) -> Self {
        Self::new(AbortReason::InvalidParameterValue, detail)
    }

    /// A PDU or fragment at the wrong moment.
    pub(crate) const fn unexpected(detail: &'static str) -> Self {
        Self::new(AbortReason::UnexpectedPdu, detail)
    }
}
