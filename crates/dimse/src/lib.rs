//! The DICOM upper layer (PS3.8) and DIMSE messages (PS3.7) over async byte streams, for SCU and SCP.
//!
//! It moves command sets and data sets and knows what an association is; it does not know what a study is, parses no
//! data set and makes no policy: whoever accepts an association decides about each presentation context.
//! Data sets are streamed in both directions; no length that a peer declares is ever allocated.
//!
//! Start with [`Association`], which is opened by [`RequestedAssociation`] (acceptor) or [`Connector`] (requestor).
//! Below it: `decoder` (bytes to events, without I/O), `receiver`, `sender`; `pdu` and `command` are the values.

mod accept;
mod association;
mod command;
mod connect;
mod decoder;
mod error;
mod pdu;
mod receiver;
mod scu;
mod sender;
mod status;
mod transport;
mod uids;

pub use accept::{Choice, RequestedAssociation};
pub use association::{Association, Incoming, Peer, PresentationContext, Role};
pub use command::{Command, Operation, Priority, Request, Response, SubOperations};
pub use connect::Connector;
pub use decoder::{Decoder, Event};
pub use error::{Error, ProtocolError, Result};
pub use pdu::{
    Abort, AbortReason, AnsweredContext, AssociateAc, AssociateRq, CommonExtended, ContextResult, ExtendedNegotiation,
    MAX_CONTEXTS, Pdu, ProposedContext, Rejection, RoleSelection, UserIdentity, UserInformation,
};
pub use scu::StoreItem;
pub use sender::DataSender;
pub use status::{Status, StatusClass};
pub use transport::{DEFAULT_PDU_BYTES, Limits, MAX_PDU_BYTES, MIN_PDU_BYTES, Transport};
pub use uids::{
    APPLICATION_CONTEXT, EXPLICIT_VR_LITTLE_ENDIAN, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION,
};
