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
        VR::UL | VR::OL => each!(Integers, u32, i128),
        VR::SL => each!(Integers, i32, i128),
        VR::UV | VR::OV => each!(Integers, u64, i128),
        VR::SV => each!(Integers, i64, i128),
        VR::FL | VR::OF => each!(Floats, f32, f64),
        VR::FD | VR::OD => each!(Floats, f64, f64),
        _ => None,
    }
}

/// A number in at most `digits` significant digits, as C's `%.*g` writes it.
pub(crate) fn general(value: f64, digits: usize, out: &mut String) {
    if !value.is_finite() {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        out.push_str(sign);
        out.push_str(if value.is_nan() { "nan" } else { "inf" });
        return;
    }
    let precision = digits.max(1) - 1;
    let scientific = format!("{value:.precision$e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let decimals = precision as i32 - exponent;
    if exponent >= -4 && decimals >= 0 {
        let decimals = decimals as usize;
        out.push_str(without_zeros(&format!("{value:.decimals$}")));
        return;
    }
    out.push_str(without_zeros(mantissa));
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(out, "e{sign}{:02}", exponent.abs());
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, digits: usize, expected: &str) {
        let mut out = String::new();
        general(value, digits, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn numbers_are_written_as_printf_does() {
        check(0.0, 17, "0");
        check(-0.0, 17, "-0");
        check(1.5, 17, "1.5");
        check(0.1, 17, "0.10000000000000001");
        check(f64::from(0.1f32), 17, "0.10000000149011612");
        check(f64::from(10.1f32), 9, "10.1000004");
        check(1e17, 17, "1e+17");
        check(12345678901234567.0, 17, "12345678901234568");
        check(0.0001, 17, "0.0001");
        check(0.00001, 17, "1.0000000000000001e-05");
        check(1e300, 17, "1.0000000000000001e+300");
        check(999_999_999.9, 9, "1e+09");
        check(f64::NAN, 17, "nan");
        check(f64::NEG_INFINITY, 17, "-inf");
    }

    #[test]
    fn bytes_that_fill_no_unit_are_not_swapped() {
        assert_eq!(swapped(VR::US, Bytes::from_static(&[1, 2, 3])), Bytes::from_static(&[2, 1, 3]));
        assert_eq!(swapped(VR::OB, Bytes::from_static(&[1, 2])), Bytes::from_static(&[1, 2]));
    }
}
