//! Values as text, the way Orthanc shows them.

use std::fmt::Write;

use dicom_core::{Tag, VR};

use crate::data::{DataSet, Element, Value};
use crate::dictionary::Dictionary;
use crate::number::{self, Numbers};

/// The text of an element of `data`; `None` if it is a sequence or binary. With a dictionary, `UN` is text if the
/// dictionary says so; without one, the standard one does.
pub(crate) fn of(data: &DataSet, element: &Element, dictionary: Option<&Dictionary>) -> Option<String> {
    let Value::Bytes(raw) = &element.value else { return None };
    match element.vr {
        VR::AT => Some(attributes(raw)),
        VR::UN => unknown(data, element, raw, dictionary),
        vr if is_text(vr) => string(data, element),
        vr => numbers(vr, raw),
    }
}

/// The decoded text of an element: trailing padding and what follows a NUL do not count. The character set is applied to
/// all VRs, as Orthanc does: it changes nothing for what must be ASCII, and helps if it is not.
pub(crate) fn string(data: &DataSet, element: &Element) -> Option<String> {
    match &element.value {
        Value::Bytes(raw) => Some(decode(data, raw)),
        _ => None,
    }
}

fn decode(data: &DataSet, raw: &[u8]) -> String {
    let raw = &raw[..raw.iter().position(|b| *b == 0).unwrap_or(raw.len())];
    let end = raw.iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
    data.charset().decode(&raw[..end])
}

/// Text that Orthanc would show of `UN` (CP 246).
fn unknown(data: &DataSet, element: &Element, raw: &[u8], dictionary: Option<&Dictionary>) -> Option<String> {
    let private = element.tag.0 % 2 == 1;
    let creator = if private { data.private_creator_of(element.tag) } else { None };
    let vr = match dictionary {
        Some(dictionary) => dictionary.vr(element.tag, creator.as_deref()),
        None => Dictionary::standard().vr(element.tag, creator.as_deref()),
    }?;
    if !is_text(vr) || (private && !raw.is_ascii()) {
        return None;
    }
    Some(decode(data, raw))
}

fn attributes(raw: &[u8]) -> String {
    let texts: Vec<String> = tags(raw).map(|tag| format!("{:04x},{:04x}", tag.0, tag.1)).collect();
    texts.join("\\")
}

/// The tags in a value of VR AT.
pub(crate) fn tags(raw: &[u8]) -> impl Iterator<Item = Tag> {
    raw.as_chunks::<4>().0.iter().map(|c| Tag(u16::from_le_bytes([c[0], c[1]]), u16::from_le_bytes([c[2], c[3]])))
}

fn numbers(vr: VR, raw: &[u8]) -> Option<String> {
    let mut out = String::new();
    let separate = |out: &mut String, i| {
        if i > 0 {
            out.push('\\');
        }
    };
    // As Orthanc 1.13 does it.
    let digits = if vr == VR::OF { 9 } else { 17 };
    match number::of(vr, raw)? {
        Numbers::Integers(values) => values.enumerate().for_each(|(i, v)| {
            separate(&mut out, i);
            let _ = write!(out, "{v}");
        }),
        Numbers::Floats(values) => values.enumerate().for_each(|(i, v)| {
            separate(&mut out, i);
            number::general(v, digits, &mut out);
        }),
    }
    Some(out)
}

/// Whether values are text.
pub(crate) fn is_text(vr: VR) -> bool {
    use VR::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT};
    matches!(vr, AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT)
}
