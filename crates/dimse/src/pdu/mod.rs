//! The protocol data units of PS3.8 9.3 other than P-DATA-TF, as plain values.
//!
//! P-DATA-TF is never held as a value: `decoder` cuts it into fragments as the bytes arrive.

use std::fmt;

mod decode;
mod encode;

pub(crate) use decode::text;

/// Most presentation contexts that fit into one association: the odd numbers of one byte (PS3.8 7.1.1.13).
pub const MAX_CONTEXTS: usize = 128;

pub(crate) const TYPE_ASSOCIATE_RQ: u8 = 0x01;
pub(crate) const TYPE_ASSOCIATE_AC: u8 = 0x02;
pub(crate) const TYPE_ASSOCIATE_RJ: u8 = 0x03;
pub(crate) const TYPE_P_DATA: u8 = 0x04;
pub(crate) const TYPE_RELEASE_RQ: u8 = 0x05;
pub(crate) const TYPE_RELEASE_RP: u8 = 0x06;
pub(crate) const TYPE_ABORT: u8 = 0x07;

/// A whole PDU that opens or ends an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    /// A-ASSOCIATE-RQ.
    AssociateRq(Box<AssociateRq>),
    /// A-ASSOCIATE-AC.
    AssociateAc(Box<AssociateAc>),
    /// A-ASSOCIATE-RJ.
    AssociateRj(Rejection),
    /// A-RELEASE-RQ.
    ReleaseRq,
    /// A-RELEASE-RP.
    ReleaseRp,
    /// A-ABORT.
    Abort(Abort),
}

/// A-ASSOCIATE-RQ, PS3.8 9.3.2.
///
/// Texts from a peer hold printable ASCII only: other bytes become `?`, so that they may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateRq {
    /// Bit field of protocol versions; bit 0 is the only one defined.
    pub protocol_version: u16,
    /// AE title of the acceptor, without surrounding blanks.
    pub called_aet: String,
    /// AE title of the requestor, without surrounding blanks.
    pub calling_aet: String,
    /// Application context name.
    pub application_context: String,
    /// What is proposed, in the order of the peer.
    pub contexts: Vec<ProposedContext>,
    /// User information items.
    pub user: UserInformation,
}

/// A presentation context as proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// Odd number, 1 to 255.
    pub id: u8,
    /// SOP class UID.
    pub abstract_syntax: String,
    /// Transfer syntax UIDs, in the order of the peer.
    pub transfer_syntaxes: Vec<String>,
}

/// A-ASSOCIATE-AC, PS3.8 9.3.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateAc {
    /// Bit field of protocol versions.
    pub protocol_version: u16,
    /// AE title of the acceptor, as the requestor wrote it.
    pub called_aet: String,
    /// AE title of the requestor, as the requestor wrote it.
    pub calling_aet: String,
    /// Application context name.
    pub application_context: String,
    /// One answer per proposed context.
    pub contexts: Vec<AnsweredContext>,
    /// User information items.
    pub user: UserInformation,
}

/// The answer to one proposed presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredContext {
    /// Number of the proposed context.
    pub id: u8,
    /// Accepted or why not.
    pub result: ContextResult,
    /// The chosen transfer syntax; meaningless unless accepted.
    pub transfer_syntax: String,
}

/// Result of a presentation context, PS3.8 table 9-18.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextResult {
    /// 0: accepted.
    Acceptance,
    /// 1: refused by the application.
    UserRejection,
    /// 2: refused without a reason.
    NoReason,
    /// 3: the SOP class is not supported.
    AbstractSyntaxNotSupported,
    /// 4: none of the transfer syntaxes is supported.
    TransferSyntaxesNotSupported,
}

impl ContextResult {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Acceptance => 0,
            Self::UserRejection => 1,
            Self::NoReason => 2,
            Self::AbstractSyntaxNotSupported => 3,
            Self::TransferSyntaxesNotSupported => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Acceptance,
            1 => Self::UserRejection,
            3 => Self::AbstractSyntaxNotSupported,
            4 => Self::TransferSyntaxesNotSupported,
            _ => Self::NoReason,
        }
    }
}

/// The user information item of an A-ASSOCIATE PDU, PS3.7 D.3.3. Sub-items unknown to us are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInformation {
    /// Longest P-DATA-TF variable field that the sender of this item accepts, in bytes; 0 is no limit.
    pub max_pdu: u32,
    /// Implementation class UID.
    pub implementation_uid: String,
    /// Implementation version name; empty if absent.
    pub implementation_version: String,
    /// Asynchronous operations window: operations invoked and performed at once.
    pub async_window: Option<(u16, u16)>,
    /// SCP/SCU role selection.
    pub roles: Vec<RoleSelection>,
    /// SOP class extended negotiation.
    pub extended: Vec<ExtendedNegotiation>,
    /// SOP class common extended negotiation.
    pub common_extended: Vec<CommonExtended>,
    /// User identity of the requestor.
    pub identity: Option<UserIdentity>,
    /// The acceptor's positive answer to a user identity.
    pub identity_response: Option<Vec<u8>>,
}

/// Roles of the requestor for one SOP class, PS3.7 D.3.3.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSelection {
    /// SOP class UID.
    pub sop_class: String,
    /// The requestor acts as SCU.
    pub scu: bool,
    /// The requestor acts as SCP.
    pub scp: bool,
}

/// Service-class specific information, PS3.7 D.3.3.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedNegotiation {
    /// SOP class UID.
    pub sop_class: String,
    /// Bytes defined by the service class.
    pub information: Vec<u8>,
}

/// Service class and related general SOP classes of a SOP class, PS3.7 D.3.3.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonExtended {
    /// SOP class UID.
    pub sop_class: String,
    /// Service class UID.
    pub service_class: String,
    /// SOP classes that this one specialises.
    pub related: Vec<String>,
}

/// Who the requestor says it is, PS3.7 D.3.3.7.1. `Debug` hides the secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JSON web token.
    pub kind: u8,
    /// The requestor wants an answer if the identity is accepted.
    pub response_requested: bool,
    /// User name, ticket, assertion or token.
    pub primary: Vec<u8>,
    /// Passcode of kind 2, else empty.
    pub secondary: Vec<u8>,
}

impl fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserIdentity")
            .field("kind", &self.kind)
            .field("response_requested", &self.response_requested)
            .finish_non_exhaustive()
    }
}

/// A-ASSOCIATE-RJ, PS3.8 table 9-21: result, source and reason as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// 1 permanent, 2 transient.
    pub result: u8,
    /// 1 service user, 2 service provider (ACSE), 3 service provider (presentation).
    pub source: u8,
    /// Meaning depends on `source`.
    pub reason: u8,
}

impl Rejection {
    /// Permanent, by the user: no reason given.
    pub const NO_REASON: Self = Self::new(1, 1, 1);
    /// Permanent, by the user: application context name not supported.
    pub const APPLICATION_CONTEXT_NOT_SUPPORTED: Self = Self::new(1, 1, 2);
    /// Permanent, by the user: calling AE title not recognized.
    pub const CALLING_AET_NOT_RECOGNIZED: Self = Self::new(1, 1, 3);
    /// Permanent, by the user: called AE title not recognized.
    pub const CALLED_AET_NOT_RECOGNIZED: Self = Self::new(1, 1, 7);
    /// Permanent, by the provider: protocol version not supported.
    pub const PROTOCOL_VERSION_NOT_SUPPORTED: Self = Self::new(1, 2, 2);
    /// Transient, by the provider: temporary congestion.
    pub const TEMPORARY_CONGESTION: Self = Self::new(2, 3, 1);
    /// Transient, by the provider: local limit exceeded.
    pub const LOCAL_LIMIT_EXCEEDED: Self = Self::new(2, 3, 2);

    const fn new(result: u8, source: u8, reason: u8) -> Self {
        Self { result, source, reason }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match (self.source, self.reason) {
            (1, 2) => "application context name not supported",
            (1, 3) => "calling AE title not recognized",
            (1, 7) => "called AE title not recognized",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "no reason given",
        };
        f.write_str(if self.result == 2 { "transient, " } else { "permanent, " })?;
        f.write_str(reason)
    }
}

/// A-ABORT, PS3.8 9.3.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// Source 0: the application of the peer gave up.
    ServiceUser,
    /// Source 2: the upper layer saw a violation (A-P-ABORT).
    ServiceProvider(AbortReason),
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceUser => f.write_str("by its application"),
            Self::ServiceProvider(reason) => write!(f, "by its upper layer, {reason}"),
        }
    }
}

/// Reason of a provider abort, PS3.8 table 9-26.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortReason {
    /// 0 and undefined numbers.
    NotSpecified,
    /// 1: unrecognized PDU.
    UnrecognizedPdu,
    /// 2: unexpected PDU.
    UnexpectedPdu,
    /// 4: unrecognized PDU parameter.
    UnrecognizedParameter,
    /// 5: unexpected PDU parameter.
    UnexpectedParameter,
    /// 6: invalid PDU parameter value.
    InvalidParameterValue,
}

impl AbortReason {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::NotSpecified => 0,
            Self::UnrecognizedPdu => 1,
            Self::UnexpectedPdu => 2,
            Self::UnrecognizedParameter => 4,
            Self::UnexpectedParameter => 5,
            Self::InvalidParameterValue => 6,
        }
    }

    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            1 => Self::UnrecognizedPdu,
            2 => Self::UnexpectedPdu,
            4 => Self::UnrecognizedParameter,
            5 => Self::UnexpectedParameter,
            6 => Self::InvalidParameterValue,
            _ => Self::NotSpecified,
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSpecified => "reason not specified",
            Self::UnrecognizedPdu => "unrecognized PDU",
            Self::UnexpectedPdu => "unexpected PDU",
            Self::UnrecognizedParameter => "unrecognized PDU parameter",
            Self::UnexpectedParameter => "unexpected PDU parameter",
            Self::InvalidParameterValue => "invalid PDU parameter value",
        })
    }
}
