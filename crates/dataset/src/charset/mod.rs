//! Character sets (PS3.3 C.12.1.1.2, PS3.5 6.1): Specific Character Set (0008,0005), Orthanc's names of encodings, decoding
//! and encoding. Code extensions (ISO 2022) are in `iso2022.rs`.

mod iso2022;

use std::borrow::Cow;

use encoding_rs::{EUC_KR, Encoding, GB18030, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7};
use encoding_rs::{ISO_8859_8, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1251};

use iso2022::Graphic;

/// A character repertoire that text starts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repertoire {
    Ascii,
    Utf8,
    Latin1,
    Latin2,
    Latin3,
    Latin4,
    Latin5,
    Latin9,
    Cyrillic,
    Windows1251,
    Arabic,
    Greek,
    Hebrew,
    Thai,
    Japanese,
    Chinese,
    JapaneseKanji,
    Korean,
    SimplifiedChinese,
}

use Repertoire as R;

/// Orthanc's name, the terms of Specific Character Set (first the one to write), by repertoire.
const NAMES: &[(Repertoire, &str, &[&str])] = &[
    (R::Ascii, "Ascii", &["ISO_IR 6", "ISO 2022 IR 6"]),
    (R::Utf8, "Utf8", &["ISO_IR 192"]),
    (R::Latin1, "Latin1", &["ISO_IR 100", "ISO 2022 IR 100"]),
    (R::Latin2, "Latin2", &["ISO_IR 101", "ISO 2022 IR 101"]),
    (R::Latin3, "Latin3", &["ISO_IR 109", "ISO 2022 IR 109"]),
    (R::Latin4, "Latin4", &["ISO_IR 110", "ISO 2022 IR 110"]),
    (R::Latin5, "Latin5", &["ISO_IR 148", "ISO 2022 IR 148"]),
    (R::Latin9, "Latin9", &["ISO_IR 203", "ISO 2022 IR 203"]),
    (R::Cyrillic, "Cyrillic", &["ISO_IR 144", "ISO 2022 IR 144"]),
    (R::Windows1251, "Windows1251", &["ISO_IR 144"]),
    (R::Arabic, "Arabic", &["ISO_IR 127", "ISO 2022 IR 127"]),
    (R::Greek, "Greek", &["ISO_IR 126", "ISO 2022 IR 126"]),
    (R::Hebrew, "Hebrew", &["ISO_IR 138", "ISO 2022 IR 138"]),
    (R::Thai, "Thai", &["ISO_IR 166", "ISO 2022 IR 166"]),
    (R::Japanese, "Japanese", &["ISO_IR 13", "ISO 2022 IR 13"]),
    (R::Chinese, "Chinese", &["GB18030", "GBK"]),
    (R::JapaneseKanji, "JapaneseKanji", &["ISO 2022 IR 87", "ISO 2022 IR 159"]),
    (R::Korean, "Korean", &["ISO 2022 IR 149"]),
    (R::SimplifiedChinese, "SimplifiedChinese", &["ISO 2022 IR 58"]),
];

/// How the bytes of text become characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CharacterSet {
    initial: Repertoire,
    /// Whether escape sequences may switch to other repertoires.
    extended: bool,
}

impl Default for CharacterSet {
    /// The default repertoire of DICOM, ISO-IR 6.
    fn default() -> Self {
        Self::ASCII
    }
}

impl CharacterSet {
    pub const ASCII: Self = Self::plain(R::Ascii);
    pub const UTF8: Self = Self::plain(R::Utf8);
    pub const LATIN1: Self = Self::plain(R::Latin1);

    const fn plain(initial: Repertoire) -> Self {
        Self { initial, extended: matches!(initial, R::JapaneseKanji | R::Korean | R::SimplifiedChinese) }
    }

    /// The character set with a name of Orthanc's option `DefaultEncoding`; upper and lower case are the same.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, n, _)| n.eq_ignore_ascii_case(name)).map(|(r, _, _)| Self::plain(*r))
    }

    /// Orthanc's name of the repertoire that text starts in.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The value of Specific Character Set to write for text that [`CharacterSet::encode`] made.
    pub fn term(self) -> &'static str {
        match self.initial {
            R::JapaneseKanji => r"\ISO 2022 IR 87",
            R::Korean => r"\ISO 2022 IR 149",
            R::SimplifiedChinese => r"\ISO 2022 IR 58",
            _ => self.entry().2.first().copied().unwrap_or_default(),
        }
    }

    fn entry(self) -> &'static (Repertoire, &'static str, &'static [&'static str]) {
        NAMES.iter().find(|(r, _, _)| *r == self.initial).unwrap_or(&NAMES[0])
    }

    /// The character set that a value of Specific Character Set (0008,0005) names; `None` if it names nothing, so that
    /// the surrounding one goes on. Of several the first counts for the start, the others are reached by escape sequences.
    /// Unknown terms are ASCII. Common misspellings (`ISO_IR_100`, `ISO-IR 100`, `ISO 2022-IR 100`) are understood.
    pub fn from_specific(value: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(value);
        let mut terms = text.split('\\').map(|t| t.trim_matches([' ', '\0', '\t']));
        let first = terms.next().unwrap_or_default();
        let second = terms.next();
        if first.is_empty() && second.is_none_or(str::is_empty) {
            return None;
        }
        let initial = if first.is_empty() { R::Ascii } else { repertoire(first).unwrap_or(R::Ascii) };
        let can_extend = !matches!(initial, R::Utf8 | R::Chinese);
        let extended = can_extend && (second.is_some() || Self::plain(initial).extended || first.contains("2022"));
        Some(Self { initial, extended })
    }

    /// Decodes text. Bytes that mean nothing become U+FFFD. Values of several are decoded at once: an escape sequence
    /// ends at `\`, `^`, `=` and line ends (PS3.5 6.1.2.5.3).
    pub fn decode(self, bytes: &[u8]) -> String {
        let simple = self.extended && !bytes.contains(&0x1B) && single_byte_or_ascii(self.initial);
        if bytes.is_ascii() && (!self.extended || simple) {
            // Valid UTF-8 because it is ASCII: no byte is replaced.
            return String::from_utf8_lossy(bytes).into_owned();
        }
        if self.extended && !simple {
            return iso2022::decode(bytes, Graphic::initial(self.initial));
        }
        decode_plain(self.initial, bytes)
    }

    /// Encodes text. Characters that the repertoire lacks become `?`.
    pub fn encode(self, text: &str) -> Vec<u8> {
        if text.is_ascii() || self.initial == R::Utf8 {
            return text.as_bytes().to_vec();
        }
        iso2022::encode(self.initial, text).unwrap_or_else(|| encode_plain(self.initial, text))
    }
}

fn repertoire(term: &str) -> Option<Repertoire> {
    let term = term.to_ascii_uppercase().replace(['_', '-'], " ");
    NAMES.iter().find(|(_, _, terms)| terms.iter().any(|t| t.replace('_', " ") == term)).map(|(r, _, _)| *r)
}

fn single_byte_or_ascii(repertoire: Repertoire) -> bool {
    !matches!(repertoire, R::JapaneseKanji | R::Korean | R::SimplifiedChinese)
}

/// A coder of the WHATWG Encoding Standard; `None` for what it lacks.
fn coder(repertoire: Repertoire) -> Option<&'static Encoding> {
    Some(match repertoire {
        R::Ascii | R::Latin1 | R::Latin5 => return None,
        R::Utf8 => UTF_8,
        R::Latin2 => ISO_8859_2,
        R::Latin3 => ISO_8859_3,
        R::Latin4 => ISO_8859_4,
        R::Latin9 => ISO_8859_15,
        R::Cyrillic => ISO_8859_5,
        R::Windows1251 => WINDOWS_1251,
        R::Arabic => ISO_8859_6,
        R::Greek => ISO_8859_7,
        R::Hebrew => ISO_8859_8,
        R::Thai => WINDOWS_874,
        R::Japanese | R::JapaneseKanji => SHIFT_JIS,
        R::Chinese | R::SimplifiedChinese => GB18030,
        R::Korean => EUC_KR,
    })
}

fn decode_plain(repertoire: Repertoire, bytes: &[u8]) -> String {
    match coder(repertoire) {
        Some(coder) => match coder.decode_without_bom_handling(bytes).0 {
            Cow::Owned(text) => text,
            Cow::Borrowed(text) => text.to_owned(),
        },
        // Bytes above 0x7F are no ASCII; Latin 1 is what they most likely are, and loses nothing.
        None if repertoire == R::Latin5 => bytes.iter().map(|b| latin5(*b)).collect(),
        None => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

/// ISO 8859-9 is Latin 1 with six letters changed.
fn latin5(byte: u8) -> char {
    match byte {
        0xD0 => 'Ğ',
        0xDD => 'İ',
        0xDE => 'Ş',
        0xF0 => 'ğ',
        0xFD => 'ı',
        0xFE => 'ş',
        other => char::from(other),
    }
}

fn encode_plain(repertoire: Repertoire, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match (coder(repertoire), u8::try_from(u32::from(c))) {
            (_, Ok(b)) if b < 0x80 => out.push(b),
            (Some(coder), _) => {
                let mut buffer = [0; 4];
                let (bytes, _, failed) = coder.encode(c.encode_utf8(&mut buffer));
                if failed { out.push(b'?') } else { out.extend_from_slice(&bytes) }
            }
            (None, _) if repertoire == R::Ascii => out.push(b'?'),
            (None, _) => out.push((0x80..=0xFF).find(|b| decode_single(repertoire, *b) == c).unwrap_or(b'?')),
        }
    }
    out
}

fn decode_single(repertoire: Repertoire, byte: u8) -> char {
    if repertoire == R::Latin5 { latin5(byte) } else { char::from(byte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(specific: &str, bytes: &[u8], expected: &str) {
        let charset = CharacterSet::from_specific(specific.as_bytes()).unwrap_or_default();
        assert_eq!(charset.decode(bytes), expected, "{specific}");
    }

    /// The examples of PS3.5 annexes H, I, J and K, byte by byte.
    #[test]
    fn names_of_the_standards_examples() {
        check(
            r"\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        );
        check(
            r"ISO 2022 IR 13\ISO 2022 IR 87",
            b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J=\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        );
        check(
            r"\ISO 2022 IR 149",
            b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF",
            "Hong^Gildong=洪^吉洞=홍^길동",
        );
        check("ISO_IR 192", "Wang^XiaoDong=王^小東=".as_bytes(), "Wang^XiaoDong=王^小東=");
        check("GB18030", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB=", "Wang^XiaoDong=王^小东=");
        check(r"\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB=", "Zhang^XiaoDong=张^小东=");
        check("ISO_IR 100", b"Buc^J\xE9r\xF4me", "Buc^Jérôme");
        check("ISO_IR 144", b"\xBB\xEE\xDA\xE1", "Люкс");
    }

    #[test]
    fn escape_sequences_switch_the_upper_half_and_end_at_delimiters() {
        check(r"ISO 2022 IR 100\ISO 2022 IR 144", b"\xE9\x1B-L\xD2^\xE9", "éв^é");
        check(r"ISO 2022 IR 6\ISO 2022 IR 126", b"\x1B-F\xC4\xE9\\\x1B-F\xC4", "Δι\\Δ");
        check(r"\ISO 2022 IR 159", b"\x1B$(D\x30\x21\x1B(B!", "丂!");
        check(r"ISO 2022 IR 6\ISO 2022 IR 100", b"a\x1B", "a");
        check(r"ISO 2022 IR 6\ISO 2022 IR 100", b"a\x1B%Gb", "aGb");
    }

    #[test]
    fn single_byte_repertoires() {
        check("ISO_IR 101", b"\xA3", "Ł");
        check("ISO_IR 109", b"\xA1", "Ħ");
        check("ISO_IR 110", b"\xA2", "ĸ");
        check("ISO_IR 148", b"\xD0\xF0\xFD\xE9", "Ğğıé");
        check("ISO_IR 203", b"\xA4", "€");
        check("ISO_IR 127", b"\xC7", "ا");
        check("ISO_IR 126", b"\xC4", "Δ");
        check("ISO_IR 138", b"\xE0", "א");
        check("ISO_IR 166", b"\xA1", "ก");
        check("ISO_IR 13", b"\xB1A", "ｱA");
        check("GBK", b"\xCD\xF5", "王");
    }

    #[test]
    fn terms_are_forgiving_and_unknown_ones_lose_nothing() {
        for term in ["ISO_IR 101", "ISO_IR_101", "ISO-IR 101", "iso_ir 101", " ISO_IR 101 \0", "ISO 2022 IR 101"] {
            check(term, b"\xA3", "Ł");
        }
        check("ISO_IR 999", b"\xE9", "é");
        check("ISO_IR 192", b"a\xFFb", "a\u{FFFD}b");
        assert_eq!(CharacterSet::from_specific(b""), None);
        assert_eq!(CharacterSet::from_specific(b" \0"), None);
    }

    #[test]
    fn orthanc_names_are_understood_and_text_survives() {
        let text = [
            ("Ascii", "plain"),
            ("Utf8", "é王"),
            ("Latin1", "é"),
            ("Latin2", "Łódź"),
            ("Latin3", "Ħ"),
            ("Latin4", "ĸ"),
            ("Latin5", "Ğüşİ"),
            ("Cyrillic", "Привет"),
            ("Windows1251", "Привет"),
            ("Arabic", "اب"),
            ("Greek", "Δι"),
            ("Hebrew", "אב"),
            ("Thai", "กข"),
            ("Japanese", "ｱｲ"),
            ("Chinese", "王小东"),
            ("JapaneseKanji", "Yamada^山田=a太b"),
            ("Korean", "홍^길동=a"),
            ("SimplifiedChinese", "张^小东\\王"),
        ];
        for (name, text) in text {
            let charset = CharacterSet::parse(&name.to_uppercase()).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(charset.name(), name);
            let bytes = charset.encode(text);
            assert_eq!(charset.decode(&bytes), text, "{name}");
            let again = CharacterSet::from_specific(charset.term().as_bytes()).unwrap_or_default();
            if name != "Windows1251" {
                assert_eq!(again.decode(&bytes), text, "{name} by its term");
            }
        }
        assert_eq!(CharacterSet::parse("Klingon"), None);
        assert_eq!(CharacterSet::LATIN1.encode("a王é"), b"a?\xE9");
        assert_eq!(CharacterSet::ASCII.encode("é"), b"?");
        assert_eq!(CharacterSet::parse("Korean").map(|c| c.encode("홍é")), Some(b"\x1B$)C\xC8\xAB?".to_vec()));
    }
}
