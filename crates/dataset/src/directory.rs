//! Basic directories, the file DICOMDIR of media (PS3.3 F, PS3.10 8): a tree of records in one sequence, linked by offsets.
//!
//! A record is encoded once, when it is added. What links it to later ones lies at fixed places in it and is filled in there.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};

use crate::data::{DataSet, Element, Value};
use crate::read::Object;
use crate::syntax::TransferSyntax;
use crate::text;
use crate::write::{WriteError, write_dataset, write_meta};

/// Media Storage Directory Storage.
const SOP_CLASS_UID: &str = "1.2.840.10008.1.3.10";
const FIRST_ROOT: Tag = Tag(0x0004, 0x1200);
const LAST_ROOT: Tag = Tag(0x0004, 0x1202);
const RECORDS: Tag = Tag(0x0004, 0x1220);
const NEXT: Tag = Tag(0x0004, 0x1400);
const LOWER: Tag = Tag(0x0004, 0x1420);
const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);

/// Where the value of [`NEXT`] is in an item: it is the first element, its header takes 8 bytes, as that of the item does.
const NEXT_AT: usize = 16;
/// Where that of [`LOWER`] is: Record In-use Flag, 10 bytes, is between the two.
const LOWER_AT: usize = NEXT_AT + 4 + 10 + 8;

/// A record that was added: its offset in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId(u32);

/// A directory that is being written.
#[derive(Debug)]
pub struct Directory {
    /// The file so far.
    out: Vec<u8>,
    /// Where the values of [`FIRST_ROOT`] and [`LAST_ROOT`] and the length of [`RECORDS`] are.
    first_root_at: usize,
    last_root_at: usize,
    length_at: usize,
    /// The last record below each one; `None` is the root.
    last: BTreeMap<Option<RecordId>, RecordId>,
    /// The character set of the first record with letters beyond ASCII.
    charset: Option<Element>,
}

impl Directory {
    /// A directory without records, whose SOP instance is `uid`. `file_set_id` has up to 16 of `A-Z0-9_`.
    ///
    /// # Errors
    /// `TooLong` if an argument does not fit.
    pub fn new(uid: &str, file_set_id: &str) -> Result<Self, WriteError> {
        let text = |tag, vr, text: &str| Element::bytes(tag, vr, text.as_bytes().to_vec());
        let meta = DataSet::from_iter([text(Tag(2, 2), VR::UI, SOP_CLASS_UID), text(Tag(2, 3), VR::UI, uid)]);
        let transfer_syntax = TransferSyntax::EXPLICIT_LITTLE_ENDIAN;
        let mut out = write_meta(&Object { meta, transfer_syntax: transfer_syntax.clone(), dataset: DataSet::new() })?;
        let mut put = |elements: &[Element]| -> Result<usize, WriteError> {
            write_dataset(&elements.iter().cloned().collect(), &transfer_syntax, &mut out)?;
            Ok(out.len() - 4)
        };
        let first_root_at = put(&[text(Tag(4, 0x1130), VR::CS, file_set_id), number(FIRST_ROOT)])?;
        let last_root_at = put(&[number(LAST_ROOT)])?;
        let consistent = Element::bytes(Tag(4, 0x1212), VR::US, vec![0, 0]);
        let length_at = put(&[consistent, Element::items(RECORDS, vec![])])?;
        Ok(Self { out, first_root_at, last_root_at, length_at, last: BTreeMap::new(), charset: None })
    }

    /// Adds a record as the last one below another, or at the root. `keys` has everything but the links and the flag, and
    /// its Specific Character Set if it needs one.
    ///
    /// # Errors
    /// `TooLong` if the directory would exceed 4 GiB.
    pub fn add(&mut self, below: Option<RecordId>, mut keys: DataSet) -> Result<RecordId, WriteError> {
        let too_long = WriteError::TooLong(RECORDS);
        let at = u32::try_from(self.out.len()).map_err(|_| too_long.clone())?;
        keys.put(number(NEXT));
        keys.put(number(LOWER));
        keys.put(Element::bytes(Tag(4, 0x1410), VR::US, vec![0xFF, 0xFF]));
        self.out.extend_from_slice(b"\xFE\xFF\x00\xE0\x00\x00\x00\x00");
        let written = write_dataset(&keys, &TransferSyntax::EXPLICIT_LITTLE_ENDIAN, &mut self.out);
        let fits = written.and_then(|()| u32::try_from(self.out.len()).map_err(|_| too_long));
        if let Err(error) = fits {
            self.out.truncate(at as usize);
            return Err(error);
        }
        let length = self.out.len() - at as usize - 8;
        self.fill(at as usize + 4, length as u32);
        if self.charset.is_none() && has_letters(&keys) {
            self.charset = keys.remove(SPECIFIC_CHARACTER_SET);
        }
        let record = RecordId(at);
        match (self.last.insert(below, record), below) {
            (Some(earlier), _) => self.fill(earlier.0 as usize + NEXT_AT, at),
            (None, Some(RecordId(parent))) => self.fill(parent as usize + LOWER_AT, at),
            (None, None) => self.fill(self.first_root_at, at),
        }
        if below.is_none() {
            self.fill(self.last_root_at, at);
        }
        Ok(record)
    }

    /// The whole file.
    ///
    /// Each record says in which character set it is, but there are readers (DCMTK's `dcm2xml`) that take no letters beyond
    /// ASCII unless the data set around them has one, too.
    ///
    /// # Errors
    /// `TooLong` if the directory would exceed 4 GiB.
    pub fn finish(mut self) -> Result<Vec<u8>, WriteError> {
        let length = u32::try_from(self.out.len() - self.length_at - 4).map_err(|_| WriteError::TooLong(RECORDS))?;
        self.fill(self.length_at, length);
        let rest = self.charset.take().into_iter().collect();
        write_dataset(&rest, &TransferSyntax::EXPLICIT_LITTLE_ENDIAN, &mut self.out)?;
        Ok(self.out)
    }

    fn fill(&mut self, at: usize, value: u32) {
        self.out[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// Whether any text is not ASCII.
fn has_letters(data: &DataSet) -> bool {
    data.iter().any(|element| match &element.value {
        Value::Bytes(raw) => text::is_text(element.vr) && !raw.is_ascii(),
        Value::Items(items) => items.iter().any(has_letters),
        Value::Fragments(_) => false,
    })
}

/// An element for a number that is filled in later.
fn number(tag: Tag) -> Element {
    Element { tag, vr: VR::UL, value: Value::Bytes(vec![0; 4].into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{ReadOptions, read_object};

    const TYPE: Tag = Tag(0x0004, 0x1430);

    fn keys(kind: &str, name: &str) -> DataSet {
        [
            Element::bytes(TYPE, VR::CS, kind.as_bytes().to_vec()),
            Element::bytes(Tag(0x0010, 0x0010), VR::PN, name.as_bytes().to_vec()),
        ]
        .into_iter()
        .collect()
    }

    fn u32_of(data: &DataSet, tag: Tag) -> usize {
        data.text(tag).unwrap().parse().unwrap()
    }

    /// Follows the links from an offset: `a(b,c)`.
    fn tree(file: &[u8], mut at: usize) -> String {
        let mut texts = vec![];
        while at != 0 {
            assert_eq!(file[at..at + 4], [0xFE, 0xFF, 0x00, 0xE0], "an item at {at}");
            let length = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap()) as usize;
            let options = ReadOptions::default();
            let syntax = TransferSyntax::EXPLICIT_LITTLE_ENDIAN;
            let item = crate::read::read_tail(file[at + 8..at + 8 + length].to_vec().into(), &syntax, &options).unwrap();
            assert_eq!(u32_of(&item, Tag(4, 0x1410)), 0xFFFF);
            let below = tree(file, u32_of(&item, LOWER));
            let name = item.text(Tag(0x0010, 0x0010)).unwrap();
            texts.push(if below.is_empty() { name } else { format!("{name}({below})") });
            at = u32_of(&item, NEXT);
        }
        texts.join(",")
    }

    #[test]
    fn records_are_linked_by_their_offsets() {
        let mut directory = Directory::new("1.2.3", "TEST").unwrap();
        let a = directory.add(None, keys("PATIENT", "a")).unwrap();
        let b = directory.add(Some(a), keys("STUDY", "odd")).unwrap();
        directory.add(Some(b), keys("SERIES", "c")).unwrap();
        let d = directory.add(None, keys("PATIENT", "d")).unwrap();
        // In any order.
        directory.add(Some(a), keys("STUDY", "e")).unwrap();
        directory.add(Some(d), keys("STUDY", "f")).unwrap();
        directory.add(Some(b), keys("SERIES", "g")).unwrap();
        let file = directory.finish().unwrap();
        assert!(!file.windows(4).any(|w| w == [8, 0, 5, 0]), "no character set where all is ASCII");
        let object = read_object(file.clone().into(), &ReadOptions::default()).unwrap();
        assert_eq!(object.meta.text(Tag(2, 2)).unwrap(), SOP_CLASS_UID);
        assert_eq!(object.meta.text(Tag(2, 3)).unwrap(), "1.2.3");
        assert_eq!(object.dataset.text(Tag(4, 0x1130)).unwrap(), "TEST");
        let Value::Items(items) = &object.dataset.get(RECORDS).unwrap().value else { panic!("a sequence") };
        assert_eq!(items.len(), 7);
        assert_eq!(tree(&file, u32_of(&object.dataset, FIRST_ROOT)), "a(odd(c,g),e),d(f)");
        assert_eq!(tree(&file, u32_of(&object.dataset, LAST_ROOT)), "d(f)");
    }

    #[test]
    fn a_directory_may_be_empty() {
        let file = Directory::new("1.2.3", "").unwrap().finish().unwrap();
        let object = read_object(file.into(), &ReadOptions::default()).unwrap();
        assert_eq!(u32_of(&object.dataset, FIRST_ROOT), 0);
        assert!(matches!(&object.dataset.get(RECORDS).unwrap().value, Value::Items(items) if items.is_empty()));
    }

    #[test]
    fn letters_are_announced_around_the_records() {
        let mut directory = Directory::new("1.2.3", "TEST").unwrap();
        for (term, name) in [("ISO_IR 101", &b"Doe"[..]), ("ISO_IR 100", b"M\xFCller"), ("ISO_IR 192", "Ω".as_bytes())] {
            let mut record = keys("PATIENT", "");
            record.put(Element::bytes(SPECIFIC_CHARACTER_SET, VR::CS, term.as_bytes().to_vec()));
            record.put(Element::bytes(Tag(0x0010, 0x0010), VR::PN, name.to_vec()));
            directory.add(None, record).unwrap();
        }
        let object = read_object(directory.finish().unwrap().into(), &ReadOptions::default()).unwrap();
        assert_eq!(object.dataset.text(SPECIFIC_CHARACTER_SET).unwrap(), "ISO_IR 100");
        let Value::Items(items) = &object.dataset.get(RECORDS).unwrap().value else { panic!("a sequence") };
        let names: Vec<String> = items.iter().map(|item| item.text(Tag(0x0010, 0x0010)).unwrap()).collect();
        assert_eq!(names, ["Doe", "Müller", "Ω"]);
    }
}
