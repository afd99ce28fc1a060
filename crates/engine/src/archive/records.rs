//! The records of a DICOMDIR that tell of one file: its patient, study and series, and the file itself.
//!
//! Files may have anything in their tags, but records are valid: values are brought into the form of their VR or replaced.

use super::keys::{self, Key, Or};
use super::plan::InMedia;
use dataset::{CharacterSet, DataSet, Element, Header, Tag, VR, Value};
use model::tags;

/// Most bytes of sequences in one record. Longer sequences are left out.
const MAX_COPIED_BYTES: usize = 1 << 20;
/// Most sequences in each other.
const MAX_DEPTH: usize = 16;
/// More characters than a UID may have. What is longer is cut, what is only too long is not: it must be that of the file.
const MAX_UID_CHARS: usize = 256;
const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const RELATIONSHIP_TYPE: Tag = Tag(0x0040, 0xA010);

/// What one file adds to a directory.
pub(super) struct Records {
    /// Of its patient, study and series. They count for the first file of each.
    pub(super) parents: [DataSet; 3],
    pub(super) instance: DataSet,
}

/// Makes the records of the file with this header, which has the name `file` in the archive.
pub(super) fn records(header: &Header, file: &str, media: &InMedia) -> Records {
    let data = &header.dataset;
    let [study, series, instance] = media.numbers;
    let class = [(data, tags::SOP_CLASS_UID), (&header.meta, Tag(0x0002, 0x0002))];
    let class = class.iter().find_map(|(data, tag)| clean(VR::UI, &data.text(*tag)?));
    let (kind, keys) = keys::of_instance(class.as_deref().unwrap_or_default());
    let mut instance = record(data, kind, &[keys], instance);
    let text = |tag, vr, text: &str| Element::bytes(tag, vr, text.as_bytes().to_vec());
    instance.put(text(Tag(0x0004, 0x1500), VR::CS, &file.replace('/', "\\")));
    instance.put(text(Tag(0x0004, 0x1510), VR::UI, class.as_deref().unwrap_or_default()));
    let uid = data.text(tags::SOP_INSTANCE_UID).and_then(|uid| clean(VR::UI, &uid));
    instance.put(text(Tag(0x0004, 0x1511), VR::UI, &uid.unwrap_or_default()));
    instance.put(text(Tag(0x0004, 0x1512), VR::UI, header.transfer_syntax.uid()));
    let extended = if media.extended { keys::EXTENDED_SERIES } else { &[] };
    let parents = [
        record(data, "PATIENT", &[keys::PATIENT], 1),
        record(data, "STUDY", &[keys::STUDY], study),
        record(data, "SERIES", &[keys::SERIES, extended], series),
    ];
    Records { parents, instance }
}

/// A record in the character set of the file, or in UTF-8 if that has not all of its letters.
fn record(source: &DataSet, kind: &str, keys: &[&[Key]], number: u32) -> DataSet {
    let all = || keys.iter().copied().flatten();
    let mut draft = Draft::new(source, source.charset());
    all().for_each(|key| draft.add(key, number));
    if draft.is_lossy {
        draft = Draft::new(source, CharacterSet::UTF8);
        all().for_each(|key| draft.add(key, number));
    }
    draft.finish(kind)
}

/// A record that is being made.
struct Draft<'a> {
    source: &'a DataSet,
    charset: CharacterSet,
    out: DataSet,
    is_ascii: bool,
    /// Whether a letter could not be written.
    is_lossy: bool,
    copied_bytes: usize,
}

impl<'a> Draft<'a> {
    fn new(source: &'a DataSet, charset: CharacterSet) -> Self {
        Self { source, charset, out: DataSet::new(), is_ascii: true, is_lossy: false, copied_bytes: 0 }
    }

    fn add(&mut self, key: &Key, number: u32) {
        if key.vr == VR::SQ {
            return self.add_sequence(key);
        }
        let mut sources = std::iter::once(&key.tag).chain(key.others);
        let value = sources.find_map(|tag| cleaned(key.tag, key.vr, &self.source.text(*tag)?));
        let value = match (value, key.or) {
            (Some(value), _) => value,
            (None, Or::Absent) => return,
            (None, Or::Empty) => String::new(),
            (None, Or::Text(text)) => text.to_owned(),
            (None, Or::Number) => number.to_string(),
        };
        let bytes = match key.vr {
            VR::US => value.parse().unwrap_or(0_u16).to_le_bytes().to_vec(),
            VR::UL => value.parse().unwrap_or(0_u32).to_le_bytes().to_vec(),
            _ => self.encode(&value),
        };
        self.out.put(Element::bytes(key.tag, key.vr, bytes));
    }

    fn add_sequence(&mut self, key: &Key) {
        let items = match self.source.get(key.tag).map(|e| &e.value) {
            Some(Value::Items(items)) => items.as_slice(),
            _ => &[],
        };
        // PS3.3 F.5, of documents: only what modifies the title.
        let wanted = |item: &&DataSet| {
            key.tag != keys::CONTENT || item.text(RELATIONSHIP_TYPE).is_some_and(|t| t.trim() == "HAS CONCEPT MOD")
        };
        let copied = self.copies(items.iter().filter(wanted), 0).filter(|items| !items.is_empty());
        let items = match (copied, key.or) {
            (Some(items), _) => items,
            (None, Or::Text(meaning)) => vec![unknown_code(meaning)],
            (None, Or::Empty) => vec![],
            (None, Or::Absent | Or::Number) => return,
        };
        self.out.put(Element::items(key.tag, items));
    }

    /// The items in the character set of the record, without private elements; `None` if that is too much.
    fn copies<'i>(&mut self, items: impl Iterator<Item = &'i DataSet>, depth: usize) -> Option<Vec<DataSet>> {
        let mut out = vec![];
        for item in items {
            let mut copy = DataSet::new();
            for element in item.iter().filter(|e| e.tag.0 % 2 == 0 && e.tag.0 > 0x0004 && e.tag != SPECIFIC_CHARACTER_SET) {
                let value = match &element.value {
                    Value::Items(items) if depth < MAX_DEPTH => Value::Items(self.copies(items.iter(), depth + 1)?),
                    Value::Bytes(raw) if !has_letters(element.vr) => Value::Bytes(raw.clone()),
                    Value::Bytes(_) => Value::Bytes(self.encode(&item.text(element.tag)?).into()),
                    Value::Items(_) | Value::Fragments(_) => return None,
                };
                self.copied_bytes += 12 + if let Value::Bytes(raw) = &value { raw.len() } else { 0 };
                if self.copied_bytes > MAX_COPIED_BYTES {
                    return None;
                }
                copy.put(Element { tag: element.tag, vr: element.vr, value });
            }
            self.copied_bytes += 8;
            out.push(copy);
        }
        Some(out)
    }

    fn encode(&mut self, text: &str) -> Vec<u8> {
        let bytes = self.charset.encode(text);
        if !text.is_ascii() {
            self.is_ascii = false;
            let read_back = CharacterSet::from_specific(self.charset.term().as_bytes()).unwrap_or_default();
            self.is_lossy |= read_back.decode(&bytes) != text;
        }
        bytes
    }

    fn finish(mut self, kind: &str) -> DataSet {
        self.out.put(Element::bytes(Tag(0x0004, 0x1430), VR::CS, kind.as_bytes().to_vec()));
        let declared = self.source.get(SPECIFIC_CHARACTER_SET).is_some() && self.charset != CharacterSet::ASCII;
        if declared || !self.is_ascii {
            let term = self.charset.term().as_bytes().to_vec();
            self.out.put(Element::bytes(SPECIFIC_CHARACTER_SET, VR::CS, term));
        }
        self.out
    }
}

/// Whether the character set counts for values (PS3.5 6.1.2.3).
fn has_letters(vr: VR) -> bool {
    matches!(vr, VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT)
}

fn unknown_code(meaning: &str) -> DataSet {
    let meaning = (Tag(0x0008, 0x0104), VR::LO, meaning);
    let code = keys::UNKNOWN_CODE.into_iter().chain([meaning]);
    code.map(|(tag, vr, text)| Element::bytes(tag, vr, text.as_bytes().to_vec())).collect()
}

fn cleaned(tag: Tag, vr: VR, text: &str) -> Option<String> {
    if tag == keys::IMAGE_TYPE {
        let values: Vec<_> = text.split('\\').take(16).map(|value| clean(vr, value).unwrap_or_default()).collect();
        return Some(values.join("\\")).filter(|values| values.contains(|c| c != '\\'));
    }
    clean(vr, text)
}

/// One value in the form of its VR (PS3.5 6.2); `None` if it is empty or cannot be.
fn clean(vr: VR, text: &str) -> Option<String> {
    let value = match vr {
        VR::UI => text.chars().filter(|c| c.is_ascii_graphic() && *c != '\\').take(MAX_UID_CHARS).collect(),
        VR::IS => text.trim().parse::<i32>().ok()?.to_string(),
        VR::US => text.trim().parse::<u16>().ok()?.to_string(),
        VR::UL => text.trim().parse::<u32>().ok()?.to_string(),
        VR::DA => date(text)?,
        VR::TM => time(text)?,
        VR::DT => {
            Some(text.trim()).filter(|t| t.len() <= 26 && t.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b)))?.into()
        }
        VR::CS => letters(text, 16).to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != ' ', "_"),
        VR::SH => letters(text, 16),
        VR::ST => letters(text, 1024),
        VR::PN => text.split('=').take(3).map(|group| letters(group, 64)).collect::<Vec<_>>().join("=").trim_matches('=').into(),
        _ => letters(text, 64),
    };
    (!value.is_empty()).then_some(value)
}

/// Text of one value. A separator becomes a blank, so that what differs still does.
fn letters(text: &str, max: usize) -> String {
    let kept = text.chars().map(|c| if c == '\\' { ' ' } else { c }).filter(|c| !c.is_control());
    kept.skip_while(|c| *c == ' ').take(max).collect::<String>().trim_end().to_owned()
}

/// `YYYYMMDD`, also from the `YYYY.MM.DD` of old files.
fn date(text: &str) -> Option<String> {
    let text = text.trim();
    let digits: String = if text.len() == 10 { text.replace('.', "") } else { text.to_owned() };
    let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u8>().ok();
    let is_date = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
    (is_date && (1..=12).contains(&part(4..6)?) && (1..=31).contains(&part(6..8)?)).then_some(digits)
}

/// `HHMMSS.FFFFFF` or the beginning of it, also from the `HH:MM:SS` of old files.
fn time(text: &str) -> Option<String> {
    let digits = text.trim().replace(':', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, "0"));
    let numeric = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let in_range = |at: usize, most: u8| whole.get(at..at + 2).is_none_or(|t| t.parse().is_ok_and(|n: u8| n <= most));
    let form = matches!(whole.len(), 2 | 4 | 6) && (whole.len() == 6 || whole.len() == digits.len());
    let valid = form && numeric(whole) && numeric(fraction) && (1..=6).contains(&fraction.len());
    (valid && in_range(0, 23) && in_range(2, 59) && in_range(4, 60)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::{Directory, ReadOptions, TransferSyntax, read_object};
    use model::OrthancId;

    fn media() -> InMedia {
        let parents = [OrthancId::patient("P"), OrthancId::patient("S"), OrthancId::patient("T")];
        InMedia { extended: true, parents, numbers: [2, 3, 4] }
    }

    fn header(dataset: DataSet) -> Header {
        let transfer_syntax = TransferSyntax::EXPLICIT_LITTLE_ENDIAN;
        Header { meta: DataSet::new(), transfer_syntax, dataset, dataset_offset: 0, pixel: None }
    }

    fn check(vr: VR, text: &str, expected: Option<&str>) {
        assert_eq!(clean(vr, text).as_deref(), expected, "{vr:?} {text:?}");
    }

    #[test]
    fn values_get_the_form_of_their_vr() {
        check(VR::DA, "20260102", Some("20260102"));
        check(VR::DA, "1994.11.05", Some("19941105"));
        for bad in ["", "garbage", "20261302", "20260132", "2026010", "202601021", "20260102-", "é0260102", "+1260102"] {
            check(VR::DA, bad, None);
        }
        for good in ["10", "1011", "101112", "101112.5", "235960.000000"] {
            check(VR::TM, good, Some(good));
        }
        check(VR::TM, "11:20:00", Some("112000"));
        for bad in ["", "1", "101", "24", "1060", "101161", "1011.5", "101112.", "101112.1234567", "-1", "10é", "ééé", "+1"] {
            check(VR::TM, bad, None);
        }
        check(VR::IS, " 12 ", Some("12"));
        for bad in ["", "1.5", "99999999999", "1\\2"] {
            check(VR::IS, bad, None);
        }
        check(VR::CS, "c-d\\é", Some("C_D _"));
        check(VR::SH, &"ż".repeat(20), Some(&"ż".repeat(16)));
        check(VR::LO, " a\\b\u{1}\n ", Some("a b"));
        check(VR::PN, "A^B=C=D=E", Some("A^B=C=D"));
        check(VR::PN, "===", None);
        check(VR::UI, "1.2.3\0 ", Some("1.2.3"));
        check(VR::DT, "20260102101112.5+0100", Some("20260102101112.5+0100"));
        check(VR::DT, "tomorrow", None);
    }

    #[test]
    fn a_file_without_any_tags_has_records() {
        let found = records(&header(DataSet::new()), "IMAGES/IM7", &media());
        let text = |record: &DataSet, group, element| record.text(Tag(group, element)).unwrap();
        let [patient, study, series] = &found.parents;
        assert_eq!(text(patient, 0x0010, 0x0020), "UNKNOWN");
        assert_eq!(text(study, 0x0008, 0x0020), "19000101");
        assert_eq!(text(study, 0x0020, 0x0010), "2");
        assert_eq!((text(series, 0x0020, 0x0011), text(series, 0x0008, 0x0060)), ("3".into(), "OT".into()));
        assert_eq!(text(&found.instance, 0x0020, 0x0013), "4");
        assert_eq!(text(&found.instance, 0x0004, 0x1500), "IMAGES\\IM7");
        assert_eq!(text(&found.instance, 0x0004, 0x1430), "IMAGE");
    }

    /// Numbers that look random, and are the same each time.
    fn noise() -> impl FnMut() -> u32 {
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        }
    }

    /// Any bytes in any key, in any VR, below any depth of sequences: the directory can be read and has all its records.
    #[test]
    fn garbage_makes_a_readable_directory() {
        let mut next = noise();
        let tags: Vec<Tag> = ["2", "5", "88.11", "88.59", "104.1", "11.1", "481.3", "4.2", "66.1", "90.1"]
            .iter()
            .flat_map(|class| keys::of_instance(&format!("1.2.840.10008.5.1.4.1.1.{class}")).1)
            .chain(keys::PATIENT.iter().chain(keys::STUDY).chain(keys::SERIES).chain(keys::EXTENDED_SERIES))
            .flat_map(|key| std::iter::once(key.tag).chain(key.others.iter().copied()))
            .collect();
        let vrs = [VR::LO, VR::PN, VR::UN, VR::US, VR::UI, VR::CS, VR::DA, VR::OB, VR::AT, VR::FD, VR::SQ];
        let sets = ["", "ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 87", "GB18030", "ISO_IR 13", "?", "\\\\\\"];
        let mut directory = Directory::new("1.2", "TEST").unwrap();
        let mut count = 0;
        for round in 0..400 {
            let mut data = DataSet::new();
            let set = sets[next() as usize % sets.len()];
            data.put(Element::bytes(SPECIFIC_CHARACTER_SET, VR::CS, set.as_bytes().to_vec()));
            for tag in &tags {
                let vr = vrs[next() as usize % vrs.len()];
                let length = [0, 1, 7, 70, 3000, 70_000][next() as usize % if round % 50 == 0 { 6 } else { 4 }];
                let bytes: Vec<u8> = (0..length).map(|_| [next() as u8, b'\\', 0x1B, b'='][next() as usize % 4]).collect();
                let mut element = Element::bytes(*tag, vr, bytes);
                if vr == VR::SQ || next().is_multiple_of(8) {
                    element.vr = VR::LO;
                    for _ in 0..next() % 40 {
                        element = Element::items(
                            *tag,
                            vec![[element].into_iter().collect(); 1 + usize::from(next().is_multiple_of(16))],
                        );
                    }
                }
                data.put(element);
            }
            let class = ["2", "88.11", "88.59", "104.1", "11.1", "481.3", "4.2", "66.1", "90.1"][next() as usize % 9];
            let class = format!("1.2.840.10008.5.1.4.1.1.{class}").into_bytes();
            data.put(Element::bytes(tags::SOP_CLASS_UID, VR::UI, class));
            let Records { parents: [patient, study, series], instance } = records(&header(data), "IMAGES/IM0", &media());
            let patient = directory.add(None, patient).unwrap();
            let study = directory.add(Some(patient), study).unwrap();
            let series = directory.add(Some(study), series).unwrap();
            directory.add(Some(series), instance).unwrap();
            count += 4;
        }
        let read = read_object(directory.finish().unwrap().into(), &ReadOptions::default()).unwrap();
        let Some(Value::Items(items)) = read.dataset.get(Tag(4, 0x1220)).map(|e| &e.value) else { panic!("no records") };
        assert_eq!(items.len(), count);
        for item in items {
            for element in item.iter().filter(|e| e.vr == VR::LO || e.vr == VR::SH) {
                let text = item.text(element.tag).unwrap();
                assert!(text.chars().count() <= 64 && !text.contains(['\\', '\u{1B}', '\0']), "{text:?}");
            }
        }
    }

    #[test]
    fn a_sequence_that_is_too_large_is_left_out() {
        let item: DataSet = [Element::bytes(Tag(0x0008, 0x0104), VR::LO, vec![b'a'; 60_000])].into_iter().collect();
        let class = Element::bytes(tags::SOP_CLASS_UID, VR::UI, b"1.2.840.10008.5.1.4.1.1.88.59".to_vec());
        let data =
            |items: usize| [class.clone(), Element::items(Tag(0x0040, 0xA043), vec![item.clone(); items])].into_iter().collect();
        let meaning = |items: usize| {
            let found = records(&header(data(items)), "IMAGES/IM0", &media()).instance;
            match found.get(Tag(0x0040, 0xA043)).map(|e| e.value.clone()) {
                Some(Value::Items(items)) => items[0].text(Tag(0x0008, 0x0104)).unwrap().len(),
                _ => 0,
            }
        };
        assert_eq!((meaning(1), meaning(20)), (60_000, "Unknown".len()));
    }
}
