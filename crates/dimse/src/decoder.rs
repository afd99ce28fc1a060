//! Cuts what a peer sends into events, without doing any I/O itself.
//!
//! Data sets are handed out in the pieces in which they arrive, so no more than one control PDU or one command set is
//! ever held, and what a peer *declares* costs nothing.

use bytes::{Bytes, BytesMut};

use crate::command::{Command, MAX_COMMAND_BYTES};
use crate::error::ProtocolError;
use crate::pdu::{
    AbortReason, Pdu, TYPE_ABORT, TYPE_ASSOCIATE_AC, TYPE_ASSOCIATE_RJ, TYPE_ASSOCIATE_RQ, TYPE_P_DATA, TYPE_RELEASE_RP,
    TYPE_RELEASE_RQ,
};

/// Longest A-ASSOCIATE PDU that is accepted; 128 contexts with 20 transfer syntaxes each have about 80 KiB.
const MAX_ASSOCIATE_BYTES: u32 = 256 * 1024;
/// Longest A-RELEASE or A-ABORT PDU that is accepted; right ones have four bytes.
const MAX_CONTROL_BYTES: u32 = 1024;
/// How far a P-DATA-TF PDU may exceed what was announced: some senders do not count headers.
const PDU_SLACK_BYTES: u32 = 1024;

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A PDU that opens or ends an association.
    Pdu(Pdu),
    /// A whole command set.
    Command {
        /// Presentation context; always one of those accepted.
        context_id: u8,
        /// The command.
        command: Command,
        /// [`Event::Data`] and one [`Event::EndOfData`] follow.
        has_data: bool,
    },
    /// A piece of the data set; never empty.
    Data(Bytes),
    /// The data set is complete.
    EndOfData,
}

/// Sans-I/O decoder of one direction of an association.
#[derive(Debug)]
pub struct Decoder {
    max_pdu: u32,
    /// `None` until the association is established.
    contexts: Option<Vec<u8>>,
    /// Bytes of the current P-DATA-TF PDU still to come.
    pdu_left: u32,
    /// The fragment (PDV) being read.
    fragment: Option<Fragment>,
    /// Command set gathered so far.
    command: Vec<u8>,
    expect: Expect,
}

/// Which fragment may come next, PS3.8 E.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Command,
    MoreCommand(u8),
    Data(u8),
}

#[derive(Debug, Clone, Copy)]
struct Fragment {
    context_id: u8,
    command: bool,
    last: bool,
    left: u32,
}

type Decoded<T> = Result<T, ProtocolError>;

impl Decoder {
    /// A decoder for a connection without association. `max_pdu`: what is announced to the peer, in bytes.
    pub fn new(max_pdu: u32) -> Self {
        Self { max_pdu, contexts: None, pdu_left: 0, fragment: None, command: Vec::new(), expect: Expect::Command }
    }

    /// From now on an association is established, with these accepted presentation contexts.
    pub fn establish(&mut self, contexts: impl IntoIterator<Item = u8>) {
        self.contexts = Some(contexts.into_iter().collect());
    }

    /// Whether the data set of the last command has not ended yet.
    pub fn in_data(&self) -> bool {
        matches!(self.expect, Expect::Data(_))
    }

    /// Takes the next event from the front of `buf`; `None` if more bytes are needed.
    ///
    /// # Errors
    /// A violation of the protocol. The decoder must not be used afterwards.
    pub fn next(&mut self, buf: &mut BytesMut) -> Decoded<Option<Event>> {
        loop {
            let event = match self.fragment {
                Some(fragment) if fragment.left > 0 => match self.payload(fragment, buf)? {
                    Progress::More => continue,
                    Progress::Starved => return Ok(None),
                    Progress::Event(event) => event,
                },
                Some(fragment) => match self.end_of_fragment(fragment)? {
                    Some(event) => event,
                    None => continue,
                },
                None if self.pdu_left > 0 => match self.fragment_header(buf)? {
                    true => continue,
                    false => return Ok(None),
                },
                None => match self.pdu_header(buf)? {
                    Progress::More => continue,
                    Progress::Starved => return Ok(None),
                    Progress::Event(event) => event,
                },
            };
            return Ok(Some(event));
        }
    }

    /// Takes what is there of the current fragment.
    fn payload(&mut self, fragment: Fragment, buf: &mut BytesMut) -> Decoded<Progress> {
        if buf.is_empty() {
            return Ok(Progress::Starved);
        }
        let take = buf.len().min(to_usize(fragment.left));
        let piece = buf.split_to(take);
        self.fragment = Some(Fragment { left: fragment.left - to_u32(take), ..fragment });
        if !fragment.command {
            return Ok(Progress::Event(Event::Data(piece.freeze())));
        }
        if self.command.len() + piece.len() > MAX_COMMAND_BYTES {
            return Err(ProtocolError::invalid("a command set longer than 64 KiB"));
        }
        self.command.extend_from_slice(&piece);
        Ok(Progress::More)
    }

    fn end_of_fragment(&mut self, fragment: Fragment) -> Decoded<Option<Event>> {
        self.fragment = None;
        let Fragment { context_id, command, last, .. } = fragment;
        match (command, last) {
            (true, true) => {
                let (command, has_data) = Command::decode(&self.command)?;
                self.command.clear();
                self.expect = if has_data { Expect::Data(context_id) } else { Expect::Command };
                Ok(Some(Event::Command { context_id, command, has_data }))
            }
            (true, false) => {
                self.expect = Expect::MoreCommand(context_id);
                Ok(None)
            }
            (false, true) => {
                self.expect = Expect::Command;
                Ok(Some(Event::EndOfData))
            }
            (false, false) => Ok(None),
        }
    }

    /// Reads the length, context and flags of a PDV, PS3.8 9.3.5.1 and E.2. `false` if they are not there yet.
    fn fragment_header(&mut self, buf: &mut BytesMut) -> Decoded<bool> {
        if self.pdu_left < 6 {
            return Err(ProtocolError::invalid("a P-DATA-TF PDU ends within a fragment header"));
        }
        let Some([l0, l1, l2, l3, context_id, flags]) = take(buf) else { return Ok(false) };
        self.pdu_left -= 6;
        let left = u32::from_be_bytes([l0, l1, l2, l3])
            .checked_sub(2)
            .filter(|left| *left <= self.pdu_left)
            .ok_or(ProtocolError::invalid("a fragment does not fit into its PDU"))?;
        let command = flags & 1 != 0;
        let allowed = match self.expect {
            Expect::Command => command,
            Expect::MoreCommand(id) => command && id == context_id,
            Expect::Data(id) => !command && id == context_id,
        };
        if !allowed {
            return Err(ProtocolError::unexpected(match (self.expect, command) {
                (Expect::Command, _) => "data without a command",
                (Expect::Data(_), true) => "a command within a data set",
                (Expect::MoreCommand(_), false) => "data within a command set",
                _ => "the presentation context changed within a message",
            }));
        }
        if !self.contexts.as_ref().is_some_and(|ids| ids.contains(&context_id)) {
            return Err(ProtocolError::invalid("a presentation context that was not accepted"));
        }
        self.pdu_left -= left;
        self.fragment = Some(Fragment { context_id, command, last: flags & 2 != 0, left });
        Ok(true)
    }

    /// Reads a PDU header, and the whole PDU if it is not P-DATA-TF.
    fn pdu_header(&mut self, buf: &mut BytesMut) -> Decoded<Progress> {
        let Some([kind, _, l0, l1, l2, l3]) = buf.first_chunk::<6>().copied() else { return Ok(Progress::Starved) };
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        if len > self.limit(kind)? {
            return Err(ProtocolError::invalid("a PDU longer than allowed"));
        }
        if kind == TYPE_P_DATA {
            let _ = buf.split_to(6);
            self.pdu_left = len;
            return Ok(Progress::More);
        }
        let Some(whole) = (buf.len() >= 6 + to_usize(len)).then(|| buf.split_to(6 + to_usize(len))) else {
            return Ok(Progress::Starved);
        };
        let pdu = Pdu::decode(kind, whole.get(6..).unwrap_or_default())?;
        Ok(Progress::Event(Event::Pdu(pdu)))
    }

    /// Longest variable field of this kind of PDU, if it may come now.
    fn limit(&self, kind: u8) -> Decoded<u32> {
        let established = self.contexts.is_some();
        match kind {
            TYPE_ASSOCIATE_RQ | TYPE_ASSOCIATE_AC if !established => Ok(MAX_ASSOCIATE_BYTES),
            TYPE_ASSOCIATE_RJ if !established => Ok(MAX_CONTROL_BYTES),
            TYPE_P_DATA if established => Ok(self.max_pdu.saturating_add(PDU_SLACK_BYTES)),
            TYPE_RELEASE_RQ | TYPE_RELEASE_RP if established => Ok(MAX_CONTROL_BYTES),
            TYPE_ABORT => Ok(MAX_CONTROL_BYTES),
            TYPE_ASSOCIATE_RQ..=TYPE_RELEASE_RP => Err(ProtocolError::unexpected("a PDU at the wrong moment")),
            _ => Err(ProtocolError::new(AbortReason::UnrecognizedPdu, "unknown PDU type")),
        }
    }
}

enum Progress {
    More,
    Starved,
    Event(Event),
}

fn take<const N: usize>(buf: &mut BytesMut) -> Option<[u8; N]> {
    let head = *buf.first_chunk::<N>()?;
    let _ = buf.split_to(N);
    Some(head)
}

/// Lossless: targets have at least 32 bits.
fn to_usize(n: u32) -> usize {
    n as usize
}

/// Lossless where used: the value is at most a `u32` it was compared with.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
