//! Names and VRs of tags: the standard's (PS3.6), those of known makers, and those that the configuration adds.

mod private;
mod retired;

use std::borrow::Cow;
use std::collections::HashMap;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use thiserror::Error;

use crate::data::DataSet;

const STANDARD: StandardDataDictionary = StandardDataDictionary;
const OTHER_PATIENT_IDS: Tag = Tag(0x0010, 0x1000);
const RETIRED: &str = "RETIRED_";

/// Tags by number and by name. Private ones belong to a private creator (PS3.5 7.8): `(gggg,xxee)` matches in any block.
#[derive(Clone, Debug)]
pub struct Dictionary {
    /// Whether the private attributes of known makers are in it.
    makers: bool,
    added: HashMap<(Tag, Option<String>), Entry>,
    by_name: HashMap<String, Tag>,
}

#[derive(Clone, Debug)]
struct Entry {
    vr: VR,
    name: String,
}

/// Why an entry was not added (Orthanc: option `Dictionary`).
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DictionaryError {
    #[error("no tag: {0:?}")]
    Tag(String),
    #[error("no value representation: {0:?}")]
    Vr(String),
    #[error("{tag} has no possible multiplicity: {min} to {max}")]
    Multiplicity { tag: Tag, min: u32, max: u32 },
    #[error("{0} has a private creator, but its group is not odd and at least 0009")]
    NotPrivate(Tag),
    #[error("{tag} is there already, named {name:?}")]
    Twice { tag: Tag, name: String },
}

impl Dictionary {
    /// The dictionary of the standard, with the private attributes of known makers.
    pub fn standard() -> Self {
        Self { makers: true, added: HashMap::new(), by_name: HashMap::new() }
    }

    /// The same without private attributes (Orthanc: `LoadPrivateDictionary` false).
    #[must_use]
    pub fn without_makers(self) -> Self {
        Self { makers: false, ..self }
    }

    /// Adds an entry of Orthanc's option `Dictionary`; `max` 0 is unlimited, an empty `creator` is none.
    ///
    /// # Errors
    /// If one of the values is impossible, or the tag was added before.
    pub fn add(&mut self, tag: &str, vr: &str, name: &str, min: u32, max: u32, creator: &str) -> Result<(), DictionaryError> {
        let tag_number = parse_number(tag).ok_or_else(|| DictionaryError::Tag(tag.to_owned()))?;
        let vr = vr.parse().map_err(|_| DictionaryError::Vr(vr.to_owned()))?;
        if min < 1 || (max != 0 && max < min) {
            return Err(DictionaryError::Multiplicity { tag: tag_number, min, max });
        }
        let private = tag_number.0 % 2 == 1 && tag_number.0 >= 9 && tag_number.0 != 0xFFFF;
        let creator = (!creator.is_empty()).then(|| creator.to_owned());
        if creator.is_some() && !private {
            return Err(DictionaryError::NotPrivate(tag_number));
        }
        let key = (if creator.is_some() { without_block(tag_number) } else { tag_number }, creator);
        if let Some(there) = self.added.get(&key) {
            return Err(DictionaryError::Twice { tag: tag_number, name: there.name.clone() });
        }
        self.by_name.insert(name.to_owned(), tag_number);
        self.added.insert(key, Entry { vr, name: name.to_owned() });
        Ok(())
    }

    /// The name of a tag as Orthanc shows it, `RETIRED_` before retired ones included; `None` if it is unknown.
    pub fn name(&self, tag: Tag, creator: Option<&str>) -> Option<String> {
        self.shown_name(tag, creator).map(Cow::into_owned)
    }

    /// The name of a tag of which only the number is known: that of [`Self::name`], or the only one that was added for it, whoever the
    /// private creator is.
    pub fn name_of_number(&self, tag: Tag) -> Option<String> {
        let added = || {
            let mut names = self.by_name.iter().filter(|(_, named)| **named == tag);
            names.next().filter(|_| names.next().is_none()).map(|(name, _)| name.clone())
        };
        self.name(tag, None).or_else(added)
    }

    pub(crate) fn shown_name(&self, tag: Tag, creator: Option<&str>) -> Option<Cow<'_, str>> {
        if let Some(entry) = self.added(tag, creator) {
            return Some(Cow::Borrowed(&entry.name));
        }
        let private = tag.0 % 2 == 1;
        Some(Cow::Borrowed(match tag {
            Tag(_, 0) if private => "PrivateGroupLength",
            Tag(4.., 0) => "GenericGroupLength",
            Tag(_, 0x10..=0xFF) if private => "PrivateCreator",
            _ if private => self.maker(tag, creator)?.name,
            _ => {
                let entry = STANDARD.by_tag(tag)?;
                // Orthanc has always shown this one under its old name.
                if retired::is_retired(entry.tag.inner()) && tag != OTHER_PATIENT_IDS {
                    return Some(Cow::Owned(format!("{RETIRED}{}", entry.alias)));
                }
                entry.alias
            }
        }))
    }

    fn maker(&self, tag: Tag, creator: Option<&str>) -> Option<&'static private::Private> {
        if self.makers { private::find(tag, creator?) } else { None }
    }

    /// The VR of a tag; where the standard leaves a choice, the one that is right without more knowledge.
    pub fn vr(&self, tag: Tag, creator: Option<&str>) -> Option<VR> {
        self.virtual_vr(tag, creator).map(|vr| resolved(vr, false))
    }

    /// Whether a tag has a name without regard to private creators.
    pub fn is_known(&self, tag: Tag) -> bool {
        tag.1 == 0 || self.added(tag, None).is_some() || STANDARD.by_tag(tag).is_some()
    }

    /// The VR of an implicit element of a data set; `signed` if Pixel Representation says so.
    pub(crate) fn implicit_vr(&self, tag: Tag, data: &DataSet, signed: bool) -> VR {
        let has_creators = tag.0 % 2 == 1 && (self.makers || !self.added.is_empty());
        let creator = if has_creators { data.private_creator_of(tag) } else { None };
        self.virtual_vr(tag, creator.as_deref()).map_or(VR::UN, |vr| resolved(vr, signed))
    }

    fn virtual_vr(&self, tag: Tag, creator: Option<&str>) -> Option<VirtualVr> {
        if let Some(entry) = self.added(tag, creator) {
            return Some(VirtualVr::Exact(entry.vr));
        }
        match tag {
            Tag(_, 0) => Some(VirtualVr::Exact(VR::UL)),
            Tag(group, 0x10..=0xFF) if group % 2 == 1 => Some(VirtualVr::Exact(VR::LO)),
            Tag(group, _) if group % 2 == 1 => self.maker(tag, creator).map(|e| VirtualVr::Exact(e.vr)),
            _ => STANDARD.by_tag(tag).map(|e| e.vr()),
        }
    }

    fn added(&self, tag: Tag, creator: Option<&str>) -> Option<&Entry> {
        if self.added.is_empty() {
            return None;
        }
        let owned = creator.and_then(|c| self.added.get(&(without_block(tag), Some(c.to_owned()))));
        owned.or_else(|| self.added.get(&(tag, None)))
    }

    /// The tag that a text names: a keyword, with or without `RETIRED_`, `gggg,eeee`, `gggg-eeee` or `ggggeeee`.
    pub fn parse_tag(&self, text: &str) -> Option<Tag> {
        let named = || self.by_name.get(text).copied();
        let standard = || STANDARD.by_name(text.strip_prefix(RETIRED).unwrap_or(text)).map(|e| e.tag());
        parse_number(text).or_else(named).or_else(standard)
    }
}

fn parse_number(text: &str) -> Option<Tag> {
    let (group, element) = match text.len() {
        9 if matches!(text.as_bytes()[4], b',' | b'-') => (text.get(..4)?, text.get(5..)?),
        8 => (text.get(..4)?, text.get(4..)?),
        _ => return None,
    };
    let number = |t: &str| if t.bytes().all(|b| b.is_ascii_hexdigit()) { u16::from_str_radix(t, 16).ok() } else { None };
    Some(Tag(number(group)?, number(element)?))
}

impl Default for Dictionary {
    fn default() -> Self {
        Self::standard()
    }
}

fn without_block(tag: Tag) -> Tag {
    Tag(tag.0, tag.1 & 0x00FF)
}

/// The VR where the standard leaves a choice (PS3.5 A.1).
fn resolved(vr: VirtualVr, signed: bool) -> VR {
    match vr {
        VirtualVr::Exact(vr) => vr,
        VirtualVr::Xs if signed => VR::SS,
        VirtualVr::Xs => VR::US,
        _ => VR::OW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(tag: (u16, u16), creator: Option<&str>) -> Option<String> {
        Dictionary::standard().name(Tag(tag.0, tag.1), creator)
    }

    #[test]
    fn names_are_orthancs() {
        let cases = [
            ((0x0010, 0x0010), Some("PatientName")),
            ((0x0000, 0x0000), Some("CommandGroupLength")),
            ((0x0002, 0x0000), Some("FileMetaInformationGroupLength")),
            ((0x0008, 0x0000), Some("GenericGroupLength")),
            ((0x0009, 0x0000), Some("PrivateGroupLength")),
            ((0x0009, 0x0010), Some("PrivateCreator")),
            ((0x0009, 0x1001), None),
            ((0x0010, 0x1000), Some("OtherPatientIDs")),
            ((0x0032, 0x4000), Some("RETIRED_StudyComments")),
            ((0x5002, 0x3000), Some("RETIRED_CurveData")),
            ((0x6002, 0x3000), Some("OverlayData")),
            ((0x0020, 0x3105), Some("RETIRED_SourceImageIDs")),
            ((0x7777, 0x7776), None),
        ];
        for (tag, expected) in cases {
            assert_eq!(name(tag, None).as_deref(), expected, "{tag:?}");
        }
        assert_eq!(name((0x2005, 0x11B0), Some("Philips MR Imaging DD 001")).as_deref(), Some("DiffusionDirectionRL"));
        assert_eq!(name((0x2005, 0x11B0), Some("Somebody")), None);
        let bare = Dictionary::standard().without_makers();
        assert_eq!(bare.name(Tag(0x2005, 0x11B0), Some("Philips MR Imaging DD 001")), None);
    }

    #[test]
    fn tags_are_parsed_from_names_and_numbers() {
        let mut dictionary = Dictionary::standard();
        dictionary.add("0014,1020", "DA", "ValidationExpiryDate", 1, 1, "").expect("it is new");
        let cases = [
            ("PatientName", Some((0x0010, 0x0010))),
            ("0010,0010", Some((0x0010, 0x0010))),
            ("0010-0010", Some((0x0010, 0x0010))),
            ("7fe00010", Some((0x7FE0, 0x0010))),
            ("7FE00010", Some((0x7FE0, 0x0010))),
            ("RETIRED_StudyComments", Some((0x0032, 0x4000))),
            ("StudyComments", Some((0x0032, 0x4000))),
            ("ValidationExpiryDate", Some((0x0014, 0x1020))),
            ("0010;0010", None),
            ("+010,0010", None),
            ("€00,0010", None),
            ("nope", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(dictionary.parse_tag(text), expected.map(|(g, e)| Tag(g, e)), "{text:?}");
        }
    }

    #[test]
    fn impossible_entries_are_refused() {
        let mut dictionary = Dictionary::standard();
        let mut add = |tag, vr, min, max, creator| dictionary.add(tag, vr, "Name", min, max, creator);
        assert!(matches!(add("x", "LO", 1, 1, ""), Err(DictionaryError::Tag(_))));
        assert!(matches!(add("0014,1020", "XX", 1, 1, ""), Err(DictionaryError::Vr(_))));
        assert!(matches!(add("0014,1020", "LO", 0, 1, ""), Err(DictionaryError::Multiplicity { .. })));
        assert!(matches!(add("0014,1020", "LO", 2, 1, ""), Err(DictionaryError::Multiplicity { .. })));
        assert!(matches!(add("0014,1020", "LO", 1, 1, "Me"), Err(DictionaryError::NotPrivate(_))));
        assert_eq!(add("4321,1012", "LO", 1, 0, "Me"), Ok(()));
        assert_eq!(add("4321,1012", "LO", 1, 0, "You"), Ok(()));
        assert!(matches!(add("4321,2212", "LO", 1, 1, "Me"), Err(DictionaryError::Twice { .. })));
    }

    #[test]
    fn a_number_has_the_name_that_was_added_whoever_the_creator_is() {
        let mut dictionary = Dictionary::standard();
        for (tag, name, creator) in [("0009,1001", "Mine", "Me"), ("0009,1002", "First", "Me"), ("0009,1002", "Second", "You")] {
            dictionary.add(tag, "LO", name, 1, 1, creator).expect("it is new");
        }
        for (element, expected) in [(0x1001, Some("Mine")), (0x1002, None), (0x1003, None)] {
            assert_eq!(dictionary.name_of_number(Tag(0x0009, element)).as_deref(), expected);
        }
        assert_eq!(dictionary.name_of_number(Tag(0x0010, 0x0010)).as_deref(), Some("PatientName"));
    }

    #[test]
    fn value_representations_come_from_the_nearest_dictionary() {
        let mut dictionary = Dictionary::standard();
        dictionary.add("0010,0010", "LO", "Renamed", 1, 1, "").expect("it is new");
        assert_eq!(dictionary.vr(Tag(0x0010, 0x0010), None), Some(VR::LO));
        assert_eq!(dictionary.vr(Tag(0x6010, 0x3000), None), Some(VR::OW));
        assert_eq!(dictionary.vr(Tag(0x0028, 0x0106), None), Some(VR::US));
        assert_eq!(dictionary.vr(Tag(0x0009, 0x0000), None), Some(VR::UL));
        assert_eq!(dictionary.vr(Tag(0x0009, 0x1001), None), None);
    }
}
