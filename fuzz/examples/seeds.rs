//! Writes the seeds of the targets `reader` and `json`: `seeds FOLDER`. All are made by hand here, byte by byte, so that also
//! what no writer makes is among them.

use std::io::Write;
use std::path::Path;
use std::{env, fs, io};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const OPEN: u32 = u32::MAX;
const ITEM: u16 = 0xE000;
const ITEM_END: u16 = 0xE00D;
const SEQUENCE_END: u16 = 0xE0DD;

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "seeds/dicom".to_owned());
    let seeds = [layouts(), sequences(), pixels(), texts(), numbers(), unknown(), wrong(), short()].concat();
    fs::create_dir_all(&folder)?;
    for (name, bytes) in &seeds {
        fs::write(Path::new(&folder).join(name), bytes)?;
    }
    println!("{} seeds, {} bytes", seeds.len(), seeds.iter().map(|(_, b)| b.len()).sum::<usize>());
    Ok(())
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// How elements are written.
#[derive(Clone, Copy)]
enum Layout {
    Explicit,
    Implicit,
    Big,
}
use Layout::{Big, Explicit, Implicit};

impl Layout {
    fn u16(self, n: u16) -> [u8; 2] {
        if matches!(self, Big) { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u32(self, n: u32) -> [u8; 4] {
        if matches!(self, Big) { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    /// An element with whatever length.
    fn head(self, tag: u32, vr: &str, length: u32) -> Vec<u8> {
        let mut out = [self.u16((tag >> 16) as u16), self.u16(tag as u16)].concat();
        match self {
            Implicit => out.extend(self.u32(length)),
            _ if "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS??".contains(vr) => {
                out.extend(vr.as_bytes());
                out.extend(self.u16(length as u16));
            }
            _ => {
                out.extend(vr.as_bytes());
                out.extend([0, 0]);
                out.extend(self.u32(length));
            }
        }
        out
    }

    fn element(self, tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
        [self.head(tag, vr, value.len() as u32), value.to_vec()].concat()
    }

    fn item(self, element: u16, length: u32, value: &[u8]) -> Vec<u8> {
        [&self.u16(0xFFFE)[..], &self.u16(element), &self.u32(length), value].concat()
    }

    /// A sequence with one item, both of defined length.
    fn defined(self, tag: u32, value: &[u8]) -> Vec<u8> {
        self.element(tag, "SQ", &self.item(ITEM, value.len() as u32, value))
    }

    /// A sequence with one item, both of undefined length.
    fn undefined(self, tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
        let (end, stop) = (self.item(ITEM_END, 0, &[]), self.item(SEQUENCE_END, 0, &[]));
        [self.head(tag, vr, OPEN), self.item(ITEM, OPEN, value), end, stop].concat()
    }
}

/// Preamble, meta information and a data set.
fn file(syntax: &str, data: &[u8]) -> Vec<u8> {
    let mut uid = syntax.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    let group = [Explicit.element(0x0002_0001, "OB", &[0, 1]), Explicit.element(0x0002_0010, "UI", &uid)].concat();
    let length = Explicit.element(0x0002_0000, "UL", &(group.len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), length, group, data.to_vec()].concat()
}

/// A small data set with some of everything.
fn usual(l: Layout) -> Vec<u8> {
    let referenced = [l.element(0x0008_1150, "UI", b"1.2.3\0"), l.element(0x0008_1155, "UI", b"1.4\0")].concat();
    [
        l.element(0x0008_0005, "CS", b"ISO_IR 100"),
        l.element(0x0008_0016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        l.element(0x0008_0018, "UI", b"1.2.3.4\0"),
        l.element(0x0008_0060, "CS", b"CT"),
        l.defined(0x0008_1140, &referenced),
        l.element(0x0009_0010, "LO", b"SIEMENS CT VA0  COAD"),
        l.element(0x0009_1010, "UN", b"ab"),
        l.element(0x0010_0010, "PN", b"Doe^J\xF6rg "),
        l.element(0x0010_0020, "LO", b"4711"),
        l.element(0x0020_0013, "IS", b"7 "),
        l.element(0x0028_0010, "US", &l.u16(2)),
        l.element(0x0028_0103, "US", &l.u16(1)),
        l.element(0x0028_0106, "SS", &l.u16(0xFFFE)),
        l.element(0x0028_1050, "DS", b"40\\-1.5e2 "),
        l.undefined(0x0040_0275, "SQ", &l.element(0x0040_0007, "LO", b"x ")),
    ]
    .concat()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn layouts() -> Seeds {
    let explicit = file(EXPLICIT, &usual(Explicit));
    let meta_only = explicit[..explicit.len() - usual(Explicit).len()].to_vec();
    let mut wrong_group_length = explicit.clone();
    wrong_group_length[140] = 3;
    let no_syntax = [vec![0; 128], b"DICM".to_vec(), Explicit.element(0x0002_0001, "OB", &[0, 1])].concat();
    let implicit_meta = [vec![0; 128], b"DICM".to_vec(), Implicit.element(0x0002_0010, "UI", b"1.2.840.10008.1.2\0")].concat();
    vec![
        ("implicit", file(IMPLICIT, &usual(Implicit))),
        ("big-endian", file(BIG_ENDIAN, &usual(Big))),
        ("deflated", file(DEFLATED, &deflate(&usual(Explicit)))),
        ("deflated-pixels", file(DEFLATED, &deflate(&[usual(Explicit), native(Explicit, "OW")].concat()))),
        ("deflated-cut", file(DEFLATED, &deflate(&usual(Explicit))[..90])),
        ("deflated-damaged", file(DEFLATED, &[0xFF; 20])),
        ("deflated-bomb", file(DEFLATED, &deflate(&Explicit.element(0x0008_2111, "ST", &[b' '; 60_000])))),
        ("no-preamble", explicit[132..].to_vec()),
        ("magic-first", explicit[128..].to_vec()),
        ("no-meta-explicit", usual(Explicit)),
        ("no-meta-implicit", usual(Implicit)),
        ("no-meta-big-endian", usual(Big)),
        ("group-length-first", [Implicit.element(0x0008_0000, "UL", &[200, 0, 0, 0]), usual(Implicit)].concat()),
        ("meta-only", meta_only),
        ("meta-wrong-length", wrong_group_length),
        ("meta-no-syntax", [no_syntax, usual(Implicit)].concat()),
        ("meta-implicit", [implicit_meta, usual(Implicit)].concat()),
        ("labelled-explicit", file(EXPLICIT, &usual(Implicit))),
        ("labelled-implicit", file(IMPLICIT, &usual(Explicit))),
        ("labelled-big-endian", file(BIG_ENDIAN, &usual(Explicit))),
        ("private-syntax", file("1.2.840.113619.5.2", &usual(Implicit))),
        ("unknown-syntax", file("1.2.3", &[usual(Explicit), encapsulated(&[])].concat())),
        ("explicit", explicit),
    ]
}

fn nested(depth: usize, defined: bool) -> Vec<u8> {
    (0..depth).fold(Explicit.element(0x0008_0060, "CS", b"CT"), |inner, _| {
        if defined { Explicit.defined(0x0040_A730, &inner) } else { Explicit.undefined(0x0040_A730, "SQ", &inner) }
    })
}

fn sequences() -> Seeds {
    let e = Explicit;
    let (end, stop) = (e.item(ITEM_END, 0, &[]), e.item(SEQUENCE_END, 0, &[]));
    let code = e.element(0x0008_0100, "SH", b"T-1 ");
    let head = |length| e.head(0x0040_A730, "SQ", length);
    vec![
        ("nested-20", file(EXPLICIT, &nested(20, true))),
        ("nested-20-open", file(EXPLICIT, &nested(20, false))),
        ("nested-300-open", file(EXPLICIT, &nested(300, false))),
        ("empty", file(EXPLICIT, &[head(0), head(OPEN), stop.clone(), e.defined(0x0040_A731, &[])].concat())),
        ("no-item-end", file(EXPLICIT, &[head(OPEN), e.item(ITEM, OPEN, &code), stop.clone()].concat())),
        ("no-sequence-end", file(EXPLICIT, &[head(OPEN), e.item(ITEM, OPEN, &code), end.clone()].concat())),
        ("extra-ends", file(EXPLICIT, &[e.defined(0x0040_A730, &code), end.clone(), stop.clone(), usual(e)].concat())),
        ("item-too-long", file(EXPLICIT, &[head(20), e.item(ITEM, 99, &code), e.element(0x0040_A993, "UI", b"1 ")].concat())),
        ("end-inside", file(EXPLICIT, &[head(36), e.item(ITEM, 12, &code), end, stop].concat())),
        ("no-item", file(EXPLICIT, &[head(12), code.clone()].concat())),
        ("lonely-item", file(EXPLICIT, &e.item(ITEM, 4, b"abcd"))),
        ("implicit-open", file(IMPLICIT, &Implicit.undefined(0x0040_A730, "SQ", &Implicit.element(0x0008_0100, "SH", b"T-1 ")))),
        ("implicit-private-open", file(IMPLICIT, &Implicit.undefined(0x0009_1001, "", &usual(Implicit)))),
        ("big-endian-open", file(BIG_ENDIAN, &Big.undefined(0x0040_A730, "SQ", &Big.element(0x0028_0010, "US", &[0, 9])))),
    ]
}

fn native(l: Layout, vr: &str) -> Vec<u8> {
    l.element(0x7FE0_0010, vr, &[1, 2, 3, 4, 5, 6, 7, 8])
}

/// Pixel data with the given offset table and two fragments.
fn encapsulated(table: &[u8]) -> Vec<u8> {
    let e = Explicit;
    let items = [e.item(ITEM, table.len() as u32, table), e.item(ITEM, 4, b"\xFF\xD8\xFF\xD9"), e.item(ITEM, 2, b"ab")];
    [e.head(0x7FE0_0010, "OB", OPEN), items.concat(), e.item(SEQUENCE_END, 0, &[])].concat()
}

fn pixels() -> Seeds {
    let tail = Explicit.element(0xFFFC_FFFC, "OB", &[0, 0]);
    let signature = Explicit.defined(0xFFFA_FFFA, &Explicit.element(0x0400_0005, "US", &[1, 0]));
    let table = [0, 0, 0, 0, 12, 0, 0, 0];
    let float = Explicit.element(0x7FE0_0008, "OF", &[0, 0, 0x80, 0x3F]);
    let double = Explicit.element(0x7FE0_0009, "OD", &[0; 8]);
    let icon = Explicit.undefined(0x0088_0200, "SQ", &encapsulated(&[]));
    let jpeg = [usual(Explicit), encapsulated(&table), tail.clone()].concat();
    vec![
        ("native", file(EXPLICIT, &[usual(Explicit), native(Explicit, "OW")].concat())),
        ("native-tail", file(EXPLICIT, &[usual(Explicit), native(Explicit, "OB"), signature, tail.clone()].concat())),
        (
            "native-implicit",
            file(IMPLICIT, &[usual(Implicit), native(Implicit, "OW"), Implicit.element(0xFFFC_FFFC, "OB", &[0, 0])].concat()),
        ),
        ("native-big-endian", file(BIG_ENDIAN, &[usual(Big), native(Big, "OW")].concat())),
        ("native-empty", file(EXPLICIT, &Explicit.element(0x7FE0_0010, "OW", &[]))),
        ("native-cut", file(EXPLICIT, &Explicit.head(0x7FE0_0010, "OW", 5000))),
        ("native-4-gib", file(EXPLICIT, &Explicit.head(0x7FE0_0010, "OW", 0xFFFF_FFFE))),
        ("float", file(EXPLICIT, &[float, tail.clone()].concat())),
        ("double", file(EXPLICIT, &double)),
        ("jpeg", file(JPEG, &jpeg)),
        ("jpeg-no-table", file(JPEG, &[usual(Explicit), encapsulated(&[])].concat())),
        ("jpeg-cut", file(JPEG, &jpeg[..jpeg.len() - 30])),
        (
            "jpeg-damaged",
            file(JPEG, &[Explicit.head(0x7FE0_0010, "OB", OPEN), Explicit.item(ITEM, 0, &[]), vec![7; 20]].concat()),
        ),
        ("jpeg-native", file(JPEG, &native(Explicit, "OB"))),
        (
            "implicit-encapsulated",
            file(IMPLICIT, &[&Implicit.head(0x7FE0_0010, "", OPEN)[..], &encapsulated(&[])[12..]].concat()),
        ),
        ("icon", file(EXPLICIT, &icon)),
        ("trailing-zeros", file(EXPLICIT, &[usual(Explicit), vec![0; 50]].concat())),
    ]
}

fn named(charset: &[u8], name: &[u8]) -> Vec<u8> {
    let e = Explicit;
    let text = e.element(0x0020_4000, "LT", name);
    let item = e.defined(
        0x0008_1140,
        &[e.element(0x0008_0005, "CS", b"ISO_IR 192"), e.element(0x0010_0010, "PN", "Ä".as_bytes())].concat(),
    );
    file(EXPLICIT, &[e.element(0x0008_0005, "CS", charset), item, e.element(0x0010_0010, "PN", name), text].concat())
}

fn texts() -> Seeds {
    vec![
        ("text-ascii", named(b"ISO_IR 6", b"Doe^\xE4\xF6 ")),
        ("text-none", named(b"", b"Doe^\xE4\xF6 ")),
        ("text-utf-8", named(b"ISO_IR 192", "Wang^XiaoDong=王^小東=ワン".as_bytes())),
        ("text-utf-8-broken", named(b"ISO_IR 192", b"\xFF\xC3\xC3\xA4\xE7\x8E")),
        ("text-gb18030", named(b"GB18030", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB")),
        ("text-gbk", named(b"GBK", b"\xCD\xF5\x81\x30")),
        ("text-latin5", named(b"ISO_IR 148", b"\xC7a\xF0lar\x85")),
        ("text-thai", named(b"ISO_IR 166", b"\xA1\xA2^\x80\xDB")),
        ("text-cyrillic", named(b"ISO_IR_144", b"\xBB\xEE")),
        ("text-greek", named(b"ISO_IR 126", b"\xC4\xE9")),
        ("text-hebrew", named(b"ISO_IR 138", b"\xF9\xF8")),
        ("text-arabic", named(b"ISO_IR 127", b"\xE2\xC8")),
        ("text-latin9", named(b"ISO_IR 203", b"\xA4\xBD")),
        ("text-japanese", named(b"ISO_IR 13", b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3\\~ ")),
        ("text-kanji", named(b"\\ISO 2022 IR 87", b"Yamada=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d\x1B(B\t")),
        ("text-kanji-13", named(b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\xD4\xCF=\x1B$B;3\x1B(J^\x1B$BB\x1B(J")),
        ("text-kanji-159", named(b"\\ISO 2022 IR 87\\ISO 2022 IR 159", b"\x1B$(D\x22\x2F\x1B(B\x1B$(D\x22")),
        ("text-korean", named(b"\\ISO 2022 IR 149", b"Hong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\r\n\x1B$)C\xC8")),
        ("text-chinese-58", named(b"\\ISO 2022 IR 58", b"\x1B$)A\xD5\xC5^\x1B$)A\xB6\xAB ")),
        ("text-mixed", named(b"ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 126", b"\xC4\x1B-L\xBB\\\xC4\x1B-F\xC4\x1BXY")),
        ("text-unknown", named(b"ISO_IR 999", b"Doe\xE4")),
    ]
}

fn numbers() -> Seeds {
    let e = Explicit;
    let nan = f32::NAN.to_le_bytes();
    let all = [
        e.element(0x0018_6050, "UL", &[1, 2, 3, 4, 5]),
        e.element(0x0018_9073, "FD", &0.1_f64.to_le_bytes()),
        e.element(0x0018_9074, "FD", &[f64::INFINITY.to_le_bytes(), (-1e-300_f64).to_le_bytes()].concat()),
        e.element(0x0020_0013, "IS", b"12\\x\\\\99999999999999999999 "),
        e.element(0x0020_0032, "DS", b"1\\-2.50\\abc\\1e400\\+3 "),
        e.element(0x0020_9165, "AT", &[8, 0, 0x18, 0, 1]),
        e.element(0x0028_0106, "SS", &[0xFF, 0xFF, 1, 0]),
        e.element(0x0028_9001, "UL", &[]),
        e.element(0x0066_0016, "OF", &[nan, 1.5_f32.to_le_bytes()].concat()),
        e.element(0x0066_0129, "OL", &[1, 0, 0, 0]),
        e.element(0x0070_0022, "FL", &[0.1_f32.to_le_bytes(), 1e20_f32.to_le_bytes(), 1e-7_f32.to_le_bytes()].concat()),
        e.element(0x0072_0076, "OD", &[0; 9]),
        e.element(0x0072_0082, "SV", &[0xFF; 8]),
        e.element(0x0072_0083, "UV", &[0xFF; 8]),
        e.element(0x7FE0_0001, "OV", &[1, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let long: Vec<u8> = (0..400_u16).flat_map(u16::to_le_bytes).collect();
    let lut = |l: Layout| [l.element(0x0028_0103, "US", &l.u16(1)), l.element(0x0028_3006, "OW", &[1, 2, 3, 4])].concat();
    vec![
        ("numbers", file(EXPLICIT, &all.concat())),
        (
            "numbers-many",
            file(EXPLICIT, &[e.element(0x0028_3006, "US", &long), e.element(0x0010_4000, "LT", &[b'x'; 300])].concat()),
        ),
        ("lut-implicit", file(IMPLICIT, &lut(Implicit))),
        ("lut-big-endian", file(BIG_ENDIAN, &lut(Big))),
        (
            "padding-implicit",
            file(
                IMPLICIT,
                &[Implicit.element(0x0028_0103, "US", &[1, 0]), Implicit.element(0x0028_0120, "US", &[0xFF, 0xFF])].concat(),
            ),
        ),
    ]
}

fn unknown() -> Seeds {
    let e = Explicit;
    let implicit_item = Implicit.item(ITEM, 12, &Implicit.element(0x0008_0100, "SH", b"T-1 "));
    let items = Implicit.undefined(0x0040_A730, "", &Implicit.element(0x0008_0100, "SH", b"T-1 "));
    let un_open = [&e.head(0x0040_A730, "UN", OPEN)[..], &items[8..]].concat();
    let creator = e.element(0x0029_0010, "LO", b"SIEMENS CSA HEADER");
    let vendor = [
        e.element(0x0029_1008, "CS", b"IMAGE NUM 4 "),
        e.element(0x0029_1009, "UN", b"20260101"),
        e.element(0x0029_1010, "OB", &[1, 2]),
    ];
    let repeating =
        [e.element(0x5010_0005, "US", &[1, 0]), e.element(0x6002_0010, "US", &[1, 0]), e.element(0x6002_3000, "OW", &[1, 2])];
    vec![
        ("un-open", file(EXPLICIT, &un_open)),
        ("un-open-explicit", file(EXPLICIT, &e.undefined(0x0040_A730, "UN", &e.element(0x0008_0100, "SH", b"T-1 ")))),
        ("un-sequence", file(EXPLICIT, &e.element(0x0040_A730, "UN", &implicit_item))),
        (
            "un-text",
            file(EXPLICIT, &[e.element(0x0010_0010, "UN", b"Doe^\xE4 "), e.element(0x0028_0010, "UN", &[2, 0])].concat()),
        ),
        (
            "un-private-creator",
            file(EXPLICIT, &[e.element(0x0029_0010, "UN", b"SIEMENS CSA HEADER"), vendor[1].clone()].concat()),
        ),
        ("vendor", file(EXPLICIT, &[creator, vendor.concat()].concat())),
        ("vr-future", file(EXPLICIT, &[e.element(0x0008_0018, "ZZ", b"1.2 "), e.element(0x0008_0060, "CS", b"CT")].concat())),
        ("vr-future-short", file(EXPLICIT, b"\x08\0\x18\0QQ\x04\x001.2 \x08\0\x60\0CS\x02\0CT")),
        ("vr-marks", file(EXPLICIT, &[e.element(0x0008_0018, "??", b"1.2 "), e.element(0x0008_0060, "CS", b"CT")].concat())),
        (
            "vr-none",
            file(EXPLICIT, &[e.element(0x0008_0018, "UI", b"1.2\0"), Implicit.element(0x0008_0060, "CS", b"CT")].concat()),
        ),
        ("repeating", file(EXPLICIT, &repeating.concat())),
        (
            "group-lengths",
            file(
                EXPLICIT,
                &[
                    e.element(0x0008_0000, "UL", &[12, 0, 0, 0]),
                    e.element(0x0008_0060, "CS", b"CT"),
                    e.element(0x0009_0000, "UL", &[0; 4]),
                ]
                .concat(),
            ),
        ),
    ]
}

fn wrong() -> Seeds {
    let e = Explicit;
    let unsorted =
        [e.element(0x0010_0020, "LO", b"2 "), e.element(0x0008_0060, "CS", b"CT"), e.element(0x0010_0020, "LO", b"1 ")];
    let odd = [e.element(0x0008_0018, "UI", b"1.2"), e.element(0x0010_0010, "PN", b"A^B"), e.element(0x0042_0011, "OB", b"x")];
    let zeros = [vec![0; 8 * 40], e.element(0x0008_0060, "CS", b"CT")].concat();
    vec![
        ("unsorted", file(EXPLICIT, &unsorted.concat())),
        ("odd", file(EXPLICIT, &odd.concat())),
        ("zero-tags", file(EXPLICIT, &zeros)),
        ("too-long", file(EXPLICIT, &[usual(e), e.head(0x0042_0011, "OB", 0xFFFF_FFFE)].concat())),
        ("undefined-text", file(EXPLICIT, &e.head(0x0040_A160, "UT", OPEN))),
        ("cut-header", file(EXPLICIT, &usual(e)[..usual(e).len() - 21])),
        ("cut-value", file(EXPLICIT, &usual(e)[..60])),
        ("no-dicom", b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>no such file</body></html>".repeat(2)),
    ]
}

fn short() -> Seeds {
    vec![("nothing", vec![]), ("magic", [vec![0; 128], b"DICM".to_vec()].concat()), ("bytes-7", vec![8, 0, 5, 0, b'C', b'S', 2])]
}
