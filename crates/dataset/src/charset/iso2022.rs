//! Code extensions (PS3.3 C.12.1.1.2, tables C.12-3 and C.12-4; ISO 2022): escape sequences put graphic sets into the
//! lower (G0) and the upper (G1) half of the byte values.

use encoding_rs::{EUC_JP, EUC_KR, GBK};

use super::{Repertoire as R, decode_plain};

/// What the two halves hold.
#[derive(Clone, Copy)]
pub(super) struct Graphic {
    lower: Lower,
    upper: Upper,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lower {
    Ascii,
    /// JIS X 0208, two bytes.
    Kanji,
    /// JIS X 0212, two bytes.
    SupplementaryKanji,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upper {
    Single(R),
    /// KS X 1001, two bytes.
    Hangul,
    /// GB 2312, two bytes.
    Hanzi,
}

impl Graphic {
    /// What holds before any escape sequence.
    pub(super) fn initial(repertoire: R) -> Self {
        let upper = match repertoire {
            // Their sequences may be missing; what else could the upper half be.
            R::Korean => Upper::Hangul,
            R::SimplifiedChinese => Upper::Hanzi,
            R::JapaneseKanji => Upper::Single(R::Japanese),
            single => Upper::Single(single),
        };
        Self { lower: Lower::Ascii, upper }
    }
}

/// Decodes text with escape sequences. Delimiters bring back the initial sets.
pub(super) fn decode(bytes: &[u8], initial: Graphic) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut now = initial;
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if first == 0x1B {
            let used = escape(&rest[1..], &mut now);
            rest = &rest[1 + used..];
            continue;
        }
        let reset =
            matches!(first, b'\r' | b'\n' | 0x0C | b'\t') || (now.lower == Lower::Ascii && matches!(first, b'\\' | b'^' | b'='));
        if reset || first <= 0x20 {
            out.push(char::from(first));
            rest = &rest[1..];
            if reset {
                now = initial;
            }
            continue;
        }
        let (run, after) = split_run(rest, now.lower);
        decode_run(run, now, &mut out);
        rest = after;
    }
    out
}

/// The bytes up to the next control character, delimiter or change of halves.
fn split_run(bytes: &[u8], lower: Lower) -> (&[u8], &[u8]) {
    let upper = bytes.first().is_some_and(|b| *b >= 0x80);
    let ends =
        |b: &u8| *b <= 0x20 || (*b >= 0x80) != upper || (!upper && lower == Lower::Ascii && matches!(b, b'\\' | b'^' | b'='));
    let n = bytes.iter().skip(1).position(ends).map_or(bytes.len(), |i| i + 1);
    bytes.split_at(n)
}

fn decode_run(run: &[u8], now: Graphic, out: &mut String) {
    let upper = run.first().is_some_and(|b| *b >= 0x80);
    match (upper, now.lower, now.upper) {
        (false, Lower::Ascii, _) => out.extend(run.iter().map(|b| char::from(*b))),
        (false, Lower::Kanji, _) => {
            let euc: Vec<u8> = run.iter().map(|b| b | 0x80).collect();
            out.push_str(&EUC_JP.decode_without_bom_handling(&euc).0);
        }
        (false, Lower::SupplementaryKanji, _) => {
            let euc: Vec<u8> = run.chunks(2).flat_map(|c| std::iter::once(0x8F).chain(c.iter().map(|b| b | 0x80))).collect();
            out.push_str(&EUC_JP.decode_without_bom_handling(&euc).0);
        }
        (true, _, Upper::Hangul) => out.push_str(&EUC_KR.decode_without_bom_handling(run).0),
        (true, _, Upper::Hanzi) => out.push_str(&GBK.decode_without_bom_handling(run).0),
        (true, _, Upper::Single(repertoire)) => out.push_str(&decode_plain(repertoire, run)),
    }
}

/// Follows the escape sequence after ESC; returns how many bytes it has. Of an unknown one the final byte stays.
fn escape(bytes: &[u8], now: &mut Graphic) -> usize {
    let single = |b: u8| {
        Some(match b {
            b'A' => R::Latin1,
            b'B' => R::Latin2,
            b'C' => R::Latin3,
            b'D' => R::Latin4,
            b'F' => R::Greek,
            b'G' => R::Arabic,
            b'H' => R::Hebrew,
            b'L' => R::Cyrillic,
            b'M' => R::Latin5,
            b'T' => R::Thai,
            b'b' => R::Latin9,
            _ => return None,
        })
    };
    match bytes {
        [b'(', b'B' | b'J', ..] => now.lower = Lower::Ascii,
        [b')', b'I', ..] => now.upper = Upper::Single(R::Japanese),
        [b'$', b'B' | b'@', ..] => now.lower = Lower::Kanji,
        [b'$', b'(', b'D', ..] => {
            now.lower = Lower::SupplementaryKanji;
            return 3;
        }
        [b'$', b')', b'C', ..] => {
            now.upper = Upper::Hangul;
            return 3;
        }
        [b'$', b')', b'A', ..] => {
            now.upper = Upper::Hanzi;
            return 3;
        }
        [b'-', b, ..] => now.upper = single(*b).map_or(now.upper, Upper::Single),
        _ => return bytes.iter().take_while(|b| (0x20..0x30).contains(*b)).count(),
    }
    2
}

/// Encodes into a repertoire that needs escape sequences; `None` for the others.
pub(super) fn encode(repertoire: R, text: &str) -> Option<Vec<u8>> {
    let (coder, enter, leave, mask): (_, &[u8], &[u8], u8) = match repertoire {
        R::JapaneseKanji => (EUC_JP, b"\x1B$B", b"\x1B(B", 0x7F),
        R::Korean => (EUC_KR, b"\x1B$)C", b"", 0xFF),
        R::SimplifiedChinese => (GBK, b"\x1B$)A", b"", 0xFF),
        _ => return None,
    };
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut entered = false;
    for c in text.chars() {
        let reset = matches!(c, '\r' | '\n' | '\x0C' | '\t' | '\\' | '^' | '=');
        if c.is_ascii() {
            if entered && !leave.is_empty() {
                out.extend_from_slice(leave);
                entered = false;
            }
            entered &= !reset;
            out.push(c as u8);
            continue;
        }
        let mut buffer = [0; 4];
        let (bytes, _, failed) = coder.encode(c.encode_utf8(&mut buffer));
        if failed || bytes.len() != 2 || bytes.iter().any(|b| *b < 0xA1) {
            if entered {
                out.extend_from_slice(leave);
                entered = leave.is_empty();
            }
            out.push(b'?');
            continue;
        }
        if !entered {
            out.extend_from_slice(enter);
            entered = true;
        }
        out.extend(bytes.iter().map(|b| b & mask));
    }
    if entered {
        out.extend_from_slice(leave);
    }
    Some(out)
}
