//! Command sets as bytes: Implicit VR Little Endian, group 0000 only (PS3.7 6.3.1).

use bytes::{BufMut, BytesMut};

use super::{Command, Operation, Priority, Request, Response, SubOperations};
use crate::error::ProtocolError;
use crate::pdu::text;
use crate::status::Status;

/// Longest command set that is accepted. Real ones have a few hundred bytes.
pub(crate) const MAX_COMMAND_BYTES: usize = 64 * 1024;

const AFFECTED_SOP_CLASS: u16 = 0x0002;
const REQUESTED_SOP_CLASS: u16 = 0x0003;
const COMMAND_FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
const MOVE_DESTINATION: u16 = 0x0600;
const PRIORITY: u16 = 0x0700;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const OFFENDING_ELEMENT: u16 = 0x0901;
const ERROR_COMMENT: u16 = 0x0902;
const ERROR_ID: u16 = 0x0903;
const AFFECTED_SOP_INSTANCE: u16 = 0x1000;
const REQUESTED_SOP_INSTANCE: u16 = 0x1001;
const EVENT_TYPE: u16 = 0x1002;
const ACTION_TYPE: u16 = 0x1008;
const REMAINING: u16 = 0x1020;
const COMPLETED: u16 = 0x1021;
const FAILED: u16 = 0x1022;
const WARNING: u16 = 0x1023;
const MOVE_ORIGINATOR: u16 = 0x1030;
const MOVE_ORIGINATOR_MESSAGE_ID: u16 = 0x1031;

/// Command data set type: no data set follows. Any other value: one does.
const NO_DATA_SET: u16 = 0x0101;
const DATA_SET: u16 = 0x0001;

const N_GET: u16 = 0x0110;
const N_SET: u16 = 0x0120;
const N_ACTION: u16 = 0x0130;
const N_DELETE: u16 = 0x0150;

impl Command {
    /// Decodes a command set, and whether a data set follows it. Elements that are not known are skipped.
    ///
    /// # Errors
    /// If an element is cut off, or a field is missing without which no answer can be given.
    pub fn decode(bytes: &[u8]) -> Result<(Self, bool), ProtocolError> {
        let fields = Fields::parse(bytes)?;
        let field = fields.required(COMMAND_FIELD, "a command without command field")?;
        let data_set_type = fields.required(DATA_SET_TYPE, "a command without data set type")?;
        let command =
            if field & 0x8000 != 0 { Self::Response(fields.response(field)?) } else { Self::Request(fields.request(field)?) };
        Ok((command, data_set_type != NO_DATA_SET))
    }

    /// Appends the command set, group length included.
    pub fn encode(&self, has_data: bool, out: &mut BytesMut) {
        let start = out.len();
        element(out, 0x0000, &[0; 4]);
        match self {
            Self::Request(request) => request.encode(out),
            Self::Response(response) => response.encode(out),
        }
        element_u16(out, DATA_SET_TYPE, if has_data { DATA_SET } else { NO_DATA_SET });
        match self {
            Self::Request(request) => request.encode_rest(out),
            Self::Response(response) => response.encode_rest(out),
        }
        let len = u32::try_from(out.len() - start - 12).unwrap_or(u32::MAX);
        out[start + 8..start + 12].copy_from_slice(&len.to_le_bytes());
    }
}

impl Request {
    /// Elements up to (0000,0700). Elements must ascend by tag.
    fn encode(&self, out: &mut BytesMut) {
        let field = self.operation.command_field();
        let tag = if names_requested_class(field) { REQUESTED_SOP_CLASS } else { AFFECTED_SOP_CLASS };
        if !matches!(self.operation, Operation::Cancel) {
            element_uid(out, tag, &self.sop_class);
        }
        element_u16(out, COMMAND_FIELD, field);
        let id_tag = if matches!(self.operation, Operation::Cancel) { MESSAGE_ID_RESPONDED_TO } else { MESSAGE_ID };
        element_u16(out, id_tag, self.message_id);
        match &self.operation {
            Operation::Move { priority, destination } => {
                element_text(out, MOVE_DESTINATION, destination, 16);
                element_u16(out, PRIORITY, priority.code());
            }
            Operation::Store { priority, .. } | Operation::Find { priority } | Operation::Get { priority } => {
                element_u16(out, PRIORITY, priority.code());
            }
            _ => {}
        }
    }

    /// Elements from (0000,1000).
    fn encode_rest(&self, out: &mut BytesMut) {
        match &self.operation {
            Operation::Store { sop_instance, move_originator, .. } => {
                element_uid(out, AFFECTED_SOP_INSTANCE, sop_instance);
                if let Some((aet, message_id)) = move_originator {
                    element_text(out, MOVE_ORIGINATOR, aet, 16);
                    element_u16(out, MOVE_ORIGINATOR_MESSAGE_ID, *message_id);
                }
            }
            Operation::Action { sop_instance, action_type } => {
                element_uid(out, REQUESTED_SOP_INSTANCE, sop_instance);
                element_u16(out, ACTION_TYPE, *action_type);
            }
            Operation::EventReport { sop_instance, event_type } => {
                element_uid(out, AFFECTED_SOP_INSTANCE, sop_instance);
                element_u16(out, EVENT_TYPE, *event_type);
            }
            _ => {}
        }
    }
}

impl Response {
    fn encode(&self, out: &mut BytesMut) {
        if !self.sop_class.is_empty() {
            element_uid(out, AFFECTED_SOP_CLASS, &self.sop_class);
        }
        element_u16(out, COMMAND_FIELD, self.command_field);
        element_u16(out, MESSAGE_ID_RESPONDED_TO, self.message_id);
    }

    fn encode_rest(&self, out: &mut BytesMut) {
        element_u16(out, STATUS, self.status.0);
        if !self.offending.is_empty() {
            let tags: Vec<u8> = self.offending.iter().flat_map(|(g, e)| [g.to_le_bytes(), e.to_le_bytes()]).flatten().collect();
            element(out, OFFENDING_ELEMENT, &tags);
        }
        if !self.error_comment.is_empty() {
            element_text(out, ERROR_COMMENT, &self.error_comment, 64);
        }
        if let Some(id) = self.error_id {
            element_u16(out, ERROR_ID, id);
        }
        if !self.sop_instance.is_empty() {
            element_uid(out, AFFECTED_SOP_INSTANCE, &self.sop_instance);
        }
        if let Some(id) = self.action_or_event_type {
            let tag = if self.command_field == N_ACTION | 0x8000 { ACTION_TYPE } else { EVENT_TYPE };
            element_u16(out, tag, id);
        }
        if let Some(counts) = self.sub_operations {
            if let Some(remaining) = counts.remaining {
                element_u16(out, REMAINING, remaining);
            }
            element_u16(out, COMPLETED, counts.completed);
            element_u16(out, FAILED, counts.failed);
            element_u16(out, WARNING, counts.warning);
        }
    }
}

impl Priority {
    fn code(self) -> u16 {
        match self {
            Self::Medium => 0,
            Self::High => 1,
            Self::Low => 2,
        }
    }

    fn from_code(code: u16) -> Self {
        match code {
            1 => Self::High,
            2 => Self::Low,
            _ => Self::Medium,
        }
    }
}

/// N-GET, N-SET, N-ACTION and N-DELETE name a requested SOP class, all others an affected one.
fn names_requested_class(field: u16) -> bool {
    matches!(field, N_GET | N_SET | N_ACTION | N_DELETE)
}

fn element(out: &mut BytesMut, number: u16, value: &[u8]) {
    out.put_u16_le(0x0000);
    out.put_u16_le(number);
    out.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.put_slice(value);
}

fn element_u16(out: &mut BytesMut, number: u16, value: u16) {
    element(out, number, &value.to_le_bytes());
}

fn element_uid(out: &mut BytesMut, number: u16, uid: &str) {
    element_padded(out, number, uid.bytes().take(64).collect(), 0);
}

/// A text of at most `max` characters; what is not printable ASCII becomes `?`.
fn element_text(out: &mut BytesMut, number: u16, value: &str, max: usize) {
    let printable = |c: char| if (' '..='~').contains(&c) { c as u8 } else { b'?' };
    element_padded(out, number, value.chars().take(max).map(printable).collect(), b' ');
}

fn element_padded(out: &mut BytesMut, number: u16, mut value: Vec<u8>, pad: u8) {
    if !value.len().is_multiple_of(2) {
        value.push(pad);
    }
    element(out, number, &value);
}

/// The elements of a command set, in the order of the bytes.
struct Fields<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Fields<'a> {
    fn parse(mut bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        const CUT: ProtocolError = ProtocolError::invalid("a command element is cut off");
        let mut fields = Vec::with_capacity(16);
        while !bytes.is_empty() {
            let ([g0, g1, e0, e1, l0, l1, l2, l3], rest) = bytes.split_first_chunk::<8>().ok_or(CUT)?;
            let len = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).map_err(|_| CUT)?;
            let (value, rest) = rest.split_at_checked(len).ok_or(CUT)?;
            if (*g0, *g1) == (0, 0) {
                fields.push((u16::from_le_bytes([*e0, *e1]), value));
            }
            bytes = rest;
        }
        Ok(Self(fields))
    }

    fn bytes(&self, number: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(n, _)| *n == number).map(|(_, value)| *value)
    }

    fn u16(&self, number: u16) -> Option<u16> {
        self.bytes(number)?.first_chunk().map(|two| u16::from_le_bytes(*two))
    }

    fn required(&self, number: u16, missing: &'static str) -> Result<u16, ProtocolError> {
        self.u16(number).ok_or(ProtocolError::invalid(missing))
    }

    fn text(&self, number: u16) -> String {
        self.bytes(number).map(text).unwrap_or_default()
    }

    /// Senders confuse "affected" and "requested"; either is taken.
    fn either(&self, affected: u16, requested: u16) -> String {
        let first = self.text(affected);
        if first.is_empty() { self.text(requested) } else { first }
    }

    fn sop_instance(&self) -> String {
        self.either(AFFECTED_SOP_INSTANCE, REQUESTED_SOP_INSTANCE)
    }

    fn request(&self, field: u16) -> Result<Request, ProtocolError> {
        let priority = Priority::from_code(self.u16(PRIORITY).unwrap_or(0));
        let operation = match field {
            0x0001 => Operation::Store {
                sop_instance: self.sop_instance(),
                priority,
                move_originator: self
                    .bytes(MOVE_ORIGINATOR)
                    .map(|aet| (text(aet), self.u16(MOVE_ORIGINATOR_MESSAGE_ID).unwrap_or(0))),
            },
            0x0010 => Operation::Get { priority },
            0x0020 => Operation::Find { priority },
            0x0021 => Operation::Move { priority, destination: self.text(MOVE_DESTINATION) },
            0x0030 => Operation::Echo,
            0x0100 => Operation::EventReport { sop_instance: self.sop_instance(), event_type: self.u16(EVENT_TYPE).unwrap_or(0) },
            N_ACTION => Operation::Action { sop_instance: self.sop_instance(), action_type: self.u16(ACTION_TYPE).unwrap_or(0) },
            0x0FFF => Operation::Cancel,
            other => Operation::Other(other),
        };
        let id_tag = if field == 0x0FFF { MESSAGE_ID_RESPONDED_TO } else { MESSAGE_ID };
        Ok(Request {
            message_id: self.required(id_tag, "a request without message ID")?,
            sop_class: self.either(AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS),
            operation,
        })
    }

    fn response(&self, field: u16) -> Result<Response, ProtocolError> {
        let offending = self.bytes(OFFENDING_ELEMENT).unwrap_or_default();
        let (tags, _) = offending.as_chunks::<4>();
        Ok(Response {
            command_field: field,
            message_id: self.required(MESSAGE_ID_RESPONDED_TO, "a response without the message ID of its request")?,
            sop_class: self.either(AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS),
            sop_instance: self.sop_instance(),
            status: Status(self.required(STATUS, "a response without status")?),
            error_comment: self.text(ERROR_COMMENT),
            offending: tags.iter().map(|t| (u16::from_le_bytes([t[0], t[1]]), u16::from_le_bytes([t[2], t[3]]))).collect(),
            error_id: self.u16(ERROR_ID),
            sub_operations: self.sub_operations(),
            action_or_event_type: self.u16(ACTION_TYPE).or(self.u16(EVENT_TYPE)),
        })
    }

    fn sub_operations(&self) -> Option<SubOperations> {
        let counts = [REMAINING, COMPLETED, FAILED, WARNING].map(|number| self.u16(number));
        counts.iter().any(Option::is_some).then(|| SubOperations {
            remaining: counts[0],
            completed: counts[1].unwrap_or(0),
            failed: counts[2].unwrap_or(0),
            warning: counts[3].unwrap_or(0),
        })
    }
}
