//! [`Pdu`] to bytes.

use bytes::{BufMut, BytesMut};

use super::{
    Abort, AssociateAc, AssociateRq, Pdu, TYPE_ABORT, TYPE_ASSOCIATE_AC, TYPE_ASSOCIATE_RJ, TYPE_ASSOCIATE_RQ, TYPE_RELEASE_RP,
    TYPE_RELEASE_RQ, UserInformation,
};
use crate::error::{Error, Result};

impl Pdu {
    /// Appends the whole PDU, header included.
    ///
    /// # Errors
    /// `Unencodable` if an AE title or an item is too long; `out` is then as before.
    pub fn encode(&self, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        let done = self.append(out);
        if done.is_err() {
            out.truncate(start);
        }
        done
    }

    fn append(&self, out: &mut BytesMut) -> Result<()> {
        match self {
            Self::AssociateRq(rq) => pdu(out, TYPE_ASSOCIATE_RQ, |out| associate_rq(rq, out)),
            Self::AssociateAc(ac) => pdu(out, TYPE_ASSOCIATE_AC, |out| associate_ac(ac, out)),
            Self::AssociateRj(rj) => pdu(out, TYPE_ASSOCIATE_RJ, |out| {
                out.put_slice(&[0, rj.result, rj.source, rj.reason]);
                Ok(())
            }),
            Self::ReleaseRq => pdu(out, TYPE_RELEASE_RQ, four_zeros),
            Self::ReleaseRp => pdu(out, TYPE_RELEASE_RP, four_zeros),
            Self::Abort(abort) => pdu(out, TYPE_ABORT, |out| {
                let (source, reason) = match abort {
                    Abort::ServiceUser => (0, 0),
                    Abort::ServiceProvider(reason) => (2, reason.code()),
                };
                out.put_slice(&[0, 0, source, reason]);
                Ok(())
            }),
        }
    }
}

fn four_zeros(out: &mut BytesMut) -> Result<()> {
    out.put_u32(0);
    Ok(())
}

/// Writes a PDU header, the body, and then the length into the header.
fn pdu(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    out.put_slice(&[kind, 0, 0, 0, 0, 0]);
    let start = out.len();
    body(out)?;
    let len = u32::try_from(out.len() - start).map_err(|_| Error::Unencodable("PDU too long"))?;
    out[start - 4..start].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// Writes an item or sub-item: type, reserved byte, length in two bytes, content.
fn item(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    out.put_slice(&[kind, 0]);
    counted(out, body)
}

/// Writes a length in two bytes and then the content.
fn counted(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    out.put_u16(0);
    let start = out.len();
    body(out)?;
    let len = u16::try_from(out.len() - start).map_err(|_| Error::Unencodable("item longer than 65535 bytes"))?;
    out[start - 2..start].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

fn bytes(value: &[u8]) -> impl FnOnce(&mut BytesMut) -> Result<()> {
    move |out| {
        out.put_slice(value);
        Ok(())
    }
}

fn fixed(out: &mut BytesMut, version: u16, called: &str, calling: &str) -> Result<()> {
    out.put_u16(version);
    out.put_u16(0);
    aet(out, called)?;
    aet(out, calling)?;
    out.put_bytes(0, 32);
    Ok(())
}

fn aet(out: &mut BytesMut, title: &str) -> Result<()> {
    if title.len() > 16 || !title.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err(Error::Unencodable("an AE title has at most 16 characters of ASCII"));
    }
    out.put_slice(title.as_bytes());
    out.put_bytes(b' ', 16 - title.len());
    Ok(())
}

fn associate_rq(rq: &AssociateRq, out: &mut BytesMut) -> Result<()> {
    fixed(out, rq.protocol_version, &rq.called_aet, &rq.calling_aet)?;
    item(out, 0x10, bytes(rq.application_context.as_bytes()))?;
    for context in &rq.contexts {
        item(out, 0x20, |out| {
            out.put_slice(&[context.id, 0, 0, 0]);
            item(out, 0x30, bytes(context.abstract_syntax.as_bytes()))?;
            context.transfer_syntaxes.iter().try_for_each(|ts| item(out, 0x40, bytes(ts.as_bytes())))
        })?;
    }
    item(out, 0x50, |out| user_information(&rq.user, out))
}

fn associate_ac(ac: &AssociateAc, out: &mut BytesMut) -> Result<()> {
    fixed(out, ac.protocol_version, &ac.called_aet, &ac.calling_aet)?;
    item(out, 0x10, bytes(ac.application_context.as_bytes()))?;
    for context in &ac.contexts {
        item(out, 0x21, |out| {
            out.put_slice(&[context.id, 0, context.result.code(), 0]);
            item(out, 0x40, bytes(context.transfer_syntax.as_bytes()))
        })?;
    }
    item(out, 0x50, |out| user_information(&ac.user, out))
}

fn user_information(user: &UserInformation, out: &mut BytesMut) -> Result<()> {
    item(out, 0x51, bytes(&user.max_pdu.to_be_bytes()))?;
    item(out, 0x52, bytes(user.implementation_uid.as_bytes()))?;
    if let Some((invoked, performed)) = user.async_window {
        item(out, 0x53, |out| {
            out.put_u16(invoked);
            out.put_u16(performed);
            Ok(())
        })?;
    }
    for role in &user.roles {
        item(out, 0x54, |out| {
            counted(out, bytes(role.sop_class.as_bytes()))?;
            out.put_slice(&[u8::from(role.scu), u8::from(role.scp)]);
            Ok(())
        })?;
    }
    if !user.implementation_version.is_empty() {
        item(out, 0x55, bytes(user.implementation_version.as_bytes()))?;
    }
    for extended in &user.extended {
        item(out, 0x56, |out| {
            counted(out, bytes(extended.sop_class.as_bytes()))?;
            bytes(&extended.information)(out)
        })?;
    }
    for common in &user.common_extended {
        item(out, 0x57, |out| {
            counted(out, bytes(common.sop_class.as_bytes()))?;
            counted(out, bytes(common.service_class.as_bytes()))?;
            counted(out, |out| common.related.iter().try_for_each(|uid| counted(out, bytes(uid.as_bytes()))))
        })?;
    }
    if let Some(identity) = &user.identity {
        item(out, 0x58, |out| {
            out.put_slice(&[identity.kind, u8::from(identity.response_requested)]);
            counted(out, bytes(&identity.primary))?;
            counted(out, bytes(&identity.secondary))
        })?;
    }
    if let Some(response) = &user.identity_response {
        item(out, 0x59, |out| counted(out, bytes(response)))?;
    }
    Ok(())
}
