//! DIMSE messages as typed values: the command sets of PS3.7 9.3 and 10.3.

mod codec;

pub(crate) use codec::MAX_COMMAND_BYTES;

use crate::status::Status;

/// A command set, request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Asks for an operation.
    Request(Request),
    /// Answers a request.
    Response(Response),
}

/// A request. Whether a data set follows is not part of it: sending decides that, receiving reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Message ID (0000,0110); for C-CANCEL the one of the request to cancel (0000,0120).
    pub message_id: u16,
    /// Affected or requested SOP class UID; empty for C-CANCEL or if the peer left it out.
    pub sop_class: String,
    /// What is asked for.
    pub operation: Operation,
}

/// What a request asks for, with the fields of that operation only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// C-ECHO.
    Echo,
    /// C-STORE.
    Store {
        /// Affected SOP instance UID.
        sop_instance: String,
        /// Priority.
        priority: Priority,
        /// The C-MOVE that caused this: AE title of its requestor, and its message ID.
        move_originator: Option<(String, u16)>,
    },
    /// C-FIND.
    Find {
        /// Priority.
        priority: Priority,
    },
    /// C-GET.
    Get {
        /// Priority.
        priority: Priority,
    },
    /// C-MOVE.
    Move {
        /// Priority.
        priority: Priority,
        /// AE title of where to send to.
        destination: String,
    },
    /// C-CANCEL of the C-FIND, C-GET or C-MOVE with this message ID. Has no response of its own.
    Cancel,
    /// N-ACTION.
    Action {
        /// Requested SOP instance UID.
        sop_instance: String,
        /// Action type ID.
        action_type: u16,
    },
    /// N-EVENT-REPORT.
    EventReport {
        /// Affected SOP instance UID.
        sop_instance: String,
        /// Event type ID.
        event_type: u16,
    },
    /// Any other operation by its command field; to be answered with [`Status::UNRECOGNIZED_OPERATION`].
    Other(u16),
}

impl Operation {
    /// Command field (0000,0100), PS3.7 E.1.
    pub fn command_field(&self) -> u16 {
        match self {
            Self::Store { .. } => 0x0001,
            Self::Get { .. } => 0x0010,
            Self::Find { .. } => 0x0020,
            Self::Move { .. } => 0x0021,
            Self::Echo => 0x0030,
            Self::EventReport { .. } => 0x0100,
            Self::Action { .. } => 0x0130,
            Self::Cancel => 0x0FFF,
            Self::Other(field) => *field,
        }
    }
}

/// Priority (0000,0700).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// 2.
    Low,
    /// 0.
    #[default]
    Medium,
    /// 1.
    High,
}

/// A response. Fields that an operation does not have are left empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// Command field (0000,0100): that of the request with bit 15 set.
    pub command_field: u16,
    /// Message ID being responded to (0000,0120).
    pub message_id: u16,
    /// Affected SOP class UID.
    pub sop_class: String,
    /// Affected SOP instance UID.
    pub sop_instance: String,
    /// Status (0000,0900).
    pub status: Status,
    /// Error comment (0000,0902): at most 64 characters of ASCII are sent. Never holds patient data.
    pub error_comment: String,
    /// Offending elements (0000,0901), each as `(group, element)`.
    pub offending: Vec<(u16, u16)>,
    /// Error ID (0000,0903).
    pub error_id: Option<u16>,
    /// Counters of a C-GET or C-MOVE.
    pub sub_operations: Option<SubOperations>,
    /// Action type ID of an N-ACTION or event type ID of an N-EVENT-REPORT.
    pub action_or_event_type: Option<u16>,
}

/// Sub-operation counters of a C-GET-RSP or C-MOVE-RSP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubOperations {
    /// Still to do; absent from final responses other than cancel.
    pub remaining: Option<u16>,
    /// Done without trouble.
    pub completed: u16,
    /// Failed.
    pub failed: u16,
    /// Done with a warning.
    pub warning: u16,
}

impl Default for Status {
    fn default() -> Self {
        Self::SUCCESS
    }
}

impl Request {
    /// The response to this request, with its identifiers echoed as PS3.7 9.3 and 10.3 allow.
    pub fn response(&self, status: Status) -> Response {
        let (sop_instance, action_or_event_type) = match &self.operation {
            Operation::Store { sop_instance, .. } => (sop_instance.clone(), None),
            Operation::Action { sop_instance, action_type } => (sop_instance.clone(), Some(*action_type)),
            Operation::EventReport { sop_instance, event_type } => (sop_instance.clone(), Some(*event_type)),
            _ => (String::new(), None),
        };
        Response {
            command_field: self.operation.command_field() | 0x8000,
            message_id: self.message_id,
            sop_class: self.sop_class.clone(),
            sop_instance,
            status,
            action_or_event_type,
            ..Response::default()
        }
    }
}

impl Response {
    /// The same response with an error comment.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.error_comment = comment.into();
        self
    }
}
