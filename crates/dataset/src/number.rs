//! VRs by how their bytes are laid out, and numbers as text.

use std::fmt::Write;

use bytes::Bytes;
use dicom_core::VR;

/// Whether the VR has 2 reserved bytes and a 32-bit length in explicit encodings (PS3.5 7.1.2).
pub(crate) fn has_long_header(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// How many bytes change places between byte orders; 1 if none.
pub(crate) fn unit_bytes(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::UV | VR::SV | VR::FD | VR::OD | VR::OV => 8,
        _ => 1,
    }
}

/// The value in the other byte order. Bytes that fill no unit stay.
pub(crate) fn swapped(vr: VR, raw: Bytes) -> Bytes {
    let unit = unit_bytes(vr);
    if unit == 1 || raw.len() < unit {
        return raw;
    }
    let mut out = raw.to_vec();
    out.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    Bytes::from(out)
}

/// Numbers of a VR.
pub(crate) enum Numbers<'a> {
    Integers(Box<dyn Iterator<Item = i128> + 'a>),
    Floats(Box<dyn Iterator<Item = f64> + 'a>),
}

/// The numbers of a binary value; `None` if the VR has none.
pub(crate) fn of(vr: VR, raw: &[u8]) -> Option<Numbers<'_>> {
    macro_rules! each {
        ($kind:ident, $number:ty, $into:ty) => {{
            let chunks = raw.as_chunks::<{ size_of::<$number>() }>().0;
            Some(Numbers::$kind(Box::new(chunks.iter().map(|c| <$into>::from(<$number>::from_le_bytes(*c))))))
        }};
    }
    match vr {
        VR::US => each!(Integers, u16, i128),
        VR::SS => each!(Integers, i16, i128),
        VR::UL => each!(Integers, u32, i128),
        VR::SL => each!(Integers, i32, i128),
        VR::UV => each!(Integers, u64, i128),
        VR::SV => each!(Integers, i64, i128),
        VR::FL => each!(Floats, f32, f64),
        VR::FD => each!(Floats, f64, f64),
        _ => None,
    }
}

/// A number in at most 17 significant digits, as C's `%.17g` writes it.
pub(crate) fn general_17(value: f64, out: &mut String) {
    if !value.is_finite() {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        out.push_str(sign);
        out.push_str(if value.is_nan() { "nan" } else { "inf" });
        return;
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).unwrap_or(0);
        let fixed = format!("{value:.decimals$}");
        out.push_str(if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.') } else { &fixed });
        return;
    }
    out.push_str(if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa });
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(out, "e{sign}{:02}", exponent.abs());
}
