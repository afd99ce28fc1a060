//! Bytes to [`Pdu`]. Every length is checked against what is there; nothing is allocated by a declared length.

use super::{
    Abort, AbortReason, AnsweredContext, AssociateAc, AssociateRq, CommonExtended, ContextResult, ExtendedNegotiation,
    MAX_CONTEXTS, Pdu, ProposedContext, Rejection, RoleSelection, TYPE_ABORT, TYPE_ASSOCIATE_AC, TYPE_ASSOCIATE_RJ,
    TYPE_ASSOCIATE_RQ, TYPE_RELEASE_RP, TYPE_RELEASE_RQ, UserIdentity, UserInformation,
};
use crate::error::ProtocolError;

type Decoded<T> = Result<T, ProtocolError>;

impl Pdu {
    /// Decodes the variable field of a PDU: what follows the six bytes of type and length.
    ///
    /// # Errors
    /// A violation of PS3.8 9.3, or P-DATA-TF, which is not held as a value.
    pub fn decode(pdu_type: u8, body: &[u8]) -> Decoded<Self> {
        let mut input = Input(body);
        match pdu_type {
            TYPE_ASSOCIATE_RQ => Ok(Self::AssociateRq(Box::new(associate_rq(input)?))),
            TYPE_ASSOCIATE_AC => Ok(Self::AssociateAc(Box::new(associate_ac(input)?))),
            TYPE_ASSOCIATE_RJ => {
                let [_, result, source, reason] = input.array()?;
                Ok(Self::AssociateRj(Rejection { result, source, reason }))
            }
            TYPE_RELEASE_RQ => Ok(Self::ReleaseRq),
            TYPE_RELEASE_RP => Ok(Self::ReleaseRp),
            TYPE_ABORT => {
                let [_, _, source, reason] = input.array()?;
                Ok(Self::Abort(match source {
                    2 => Abort::ServiceProvider(AbortReason::from_code(reason)),
                    _ => Abort::ServiceUser,
                }))
            }
            _ => Err(ProtocolError::new(AbortReason::UnrecognizedPdu, "unknown PDU type")),
        }
    }
}

/// The rest of the bytes to decode; all numbers of PS3.8 are big endian.
#[derive(Clone, Copy)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(TRUNCATED)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(TRUNCATED)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u16(&mut self) -> Decoded<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Decoded<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A value preceded by its length in two bytes.
    fn counted(&mut self) -> Decoded<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// The next item or sub-item: its type and content. `None` at the end.
    fn item(&mut self) -> Decoded<Option<(u8, Input<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let [kind, _] = self.array()?;
        Ok(Some((kind, Input(self.counted()?))))
    }

    fn text(self) -> String {
        text(self.0)
    }
}

const TRUNCATED: ProtocolError = ProtocolError::invalid("an item is longer than what contains it");

/// Text without padding; bytes that are not printable ASCII become `?`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let printable = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b) } else { '?' };
    let end = bytes.iter().rposition(|b| *b != 0 && *b != b' ').map_or(0, |last| last + 1);
    let start = bytes[..end].iter().position(|b| *b != b' ').unwrap_or(end);
    bytes[start..end].iter().map(printable).collect()
}

/// What RQ and AC share: version, titles, and then items.
struct Fixed<'a> {
    protocol_version: u16,
    called_aet: String,
    calling_aet: String,
    items: Input<'a>,
}

fn fixed(mut input: Input<'_>) -> Decoded<Fixed<'_>> {
    let protocol_version = input.u16()?;
    input.u16()?;
    let called_aet = text(input.take(16)?);
    let calling_aet = text(input.take(16)?);
    input.take(32)?;
    Ok(Fixed { protocol_version, called_aet, calling_aet, items: input })
}

fn associate_rq(input: Input<'_>) -> Decoded<AssociateRq> {
    let Fixed { protocol_version, called_aet, calling_aet, mut items } = fixed(input)?;
    let mut rq = AssociateRq {
        protocol_version,
        called_aet,
        calling_aet,
        application_context: String::new(),
        contexts: Vec::new(),
        user: UserInformation::default(),
    };
    while let Some((kind, content)) = items.item()? {
        match kind {
            0x10 => rq.application_context = content.text(),
            0x20 => {
                let context = proposed(content)?;
                check_id(context.id, rq.contexts.iter().map(|c| c.id), rq.contexts.len())?;
                rq.contexts.push(context);
            }
            0x50 => rq.user = user_information(content)?,
            _ => {}
        }
    }
    Ok(rq)
}

fn associate_ac(input: Input<'_>) -> Decoded<AssociateAc> {
    let Fixed { protocol_version, called_aet, calling_aet, mut items } = fixed(input)?;
    let mut ac = AssociateAc {
        protocol_version,
        called_aet,
        calling_aet,
        application_context: String::new(),
        contexts: Vec::new(),
        user: UserInformation::default(),
    };
    while let Some((kind, content)) = items.item()? {
        match kind {
            0x10 => ac.application_context = content.text(),
            0x21 => {
                let context = answered(content)?;
                check_id(context.id, ac.contexts.iter().map(|c| c.id), ac.contexts.len())?;
                ac.contexts.push(context);
            }
            0x50 => ac.user = user_information(content)?,
            _ => {}
        }
    }
    Ok(ac)
}

fn check_id(id: u8, mut known: impl Iterator<Item = u8>, count: usize) -> Decoded<()> {
    if count >= MAX_CONTEXTS {
        return Err(ProtocolError::invalid("more than 128 presentation contexts"));
    }
    if id.is_multiple_of(2) {
        return Err(ProtocolError::invalid("a presentation context with an even number"));
    }
    if known.any(|other| other == id) {
        return Err(ProtocolError::invalid("two presentation contexts with one number"));
    }
    Ok(())
}

fn proposed(mut content: Input<'_>) -> Decoded<ProposedContext> {
    let [id, _, _, _] = content.array()?;
    let mut context = ProposedContext { id, abstract_syntax: String::new(), transfer_syntaxes: Vec::new() };
    while let Some((kind, value)) = content.item()? {
        match kind {
            0x30 => context.abstract_syntax = value.text(),
            0x40 => context.transfer_syntaxes.push(value.text()),
            _ => {}
        }
    }
    Ok(context)
}

fn answered(mut content: Input<'_>) -> Decoded<AnsweredContext> {
    let [id, _, result, _] = content.array()?;
    let result = ContextResult::from_code(result);
    let mut context = AnsweredContext { id, result, transfer_syntax: String::new() };
    // A refused context may carry anything here, or nothing: not significant (PS3.8 9.3.3.2).
    while context.result == ContextResult::Acceptance
        && let Some((kind, value)) = content.item()?
    {
        if kind == 0x40 {
            context.transfer_syntax = value.text();
        }
    }
    Ok(context)
}

fn user_information(mut content: Input<'_>) -> Decoded<UserInformation> {
    let mut user = UserInformation::default();
    while let Some((kind, mut value)) = content.item()? {
        match kind {
            0x51 => user.max_pdu = value.u32()?,
            0x52 => user.implementation_uid = value.text(),
            0x53 => user.async_window = Some((value.u16()?, value.u16()?)),
            0x54 => user.roles.push(role(value)?),
            0x55 => user.implementation_version = value.text(),
            0x56 => {
                let sop_class = text(value.counted()?);
                user.extended.push(ExtendedNegotiation { sop_class, information: value.0.to_vec() });
            }
            0x57 => user.common_extended.push(common_extended(value)?),
            0x58 => user.identity = Some(identity(value)?),
            0x59 => user.identity_response = Some(value.counted()?.to_vec()),
            _ => {}
        }
    }
    Ok(user)
}

fn role(mut value: Input<'_>) -> Decoded<RoleSelection> {
    let sop_class = text(value.counted()?);
    let [scu, scp] = value.array()?;
    Ok(RoleSelection { sop_class, scu: scu == 1, scp: scp == 1 })
}

fn common_extended(mut value: Input<'_>) -> Decoded<CommonExtended> {
    let sop_class = text(value.counted()?);
    let service_class = text(value.counted()?);
    let mut list = Input(value.counted()?);
    let mut related = Vec::new();
    while !list.0.is_empty() {
        related.push(text(list.counted()?));
    }
    Ok(CommonExtended { sop_class, service_class, related })
}

fn identity(mut value: Input<'_>) -> Decoded<UserIdentity> {
    let [kind, response] = value.array()?;
    let primary = value.counted()?.to_vec();
    // The secondary field must be there even if empty; some senders of kind 1 leave it out.
    let secondary = if value.0.is_empty() { Vec::new() } else { value.counted()?.to_vec() };
    Ok(UserIdentity { kind, response_requested: response == 1, primary, secondary })
}
