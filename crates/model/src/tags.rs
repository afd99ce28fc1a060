//! Main DICOM tags: which tags each level keeps in the index (Orthanc book, "Main DICOM tags"), and small tag maps.

use crate::{Error, ErrorKind, Level, Result};
use dataset::Tag;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Values of single tags, decoded to text, in tag order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagMap(Vec<(Tag, String)>);

impl TagMap {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, tag: Tag) -> Option<&str> {
        self.0.binary_search_by_key(&tag, |e| e.0).ok().map(|i| self.0[i].1.as_str())
    }

    /// Sets a value, replacing an older one.
    pub fn put(&mut self, tag: Tag, value: impl Into<String>) {
        match self.0.binary_search_by_key(&tag, |e| e.0) {
            Ok(i) => self.0[i].1 = value.into(),
            Err(i) => self.0.insert(i, (tag, value.into())),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Tag, &str)> {
        self.0.iter().map(|(t, v)| (*t, v.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{"00100010":"DOE^JOHN", …}`: the form that index rows hold.
    pub fn to_json(&self) -> String {
        let map: Map<String, Value> = self.iter().map(|(t, v)| (format!("{:04x}{:04x}", t.0, t.1), Value::from(v))).collect();
        Value::Object(map).to_string()
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// `Database` for anything else.
    pub fn from_json(text: &str) -> Result<Self> {
        let bad = || Error::new(ErrorKind::Database, "the tags of a row are not valid JSON");
        let map: Map<String, Value> = serde_json::from_str(text).map_err(|e| bad().caused_by(e))?;
        let mut tags = Self::new();
        for (key, value) in map {
            let number = u32::from_str_radix(&key, 16).map_err(|_| bad())?;
            tags.put(Tag((number >> 16) as u16, number as u16), value.as_str().ok_or_else(bad)?);
        }
        Ok(tags)
    }
}

impl FromIterator<(Tag, String)> for TagMap {
    fn from_iter<I: IntoIterator<Item = (Tag, String)>>(iter: I) -> Self {
        let mut map = Self::new();
        for (tag, value) in iter {
            map.put(tag, value);
        }
        map
    }
}

pub const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
pub const PATIENT_NAME: Tag = Tag(0x0010, 0x0010);
pub const PATIENT_BIRTH_DATE: Tag = Tag(0x0010, 0x0030);
pub const PATIENT_SEX: Tag = Tag(0x0010, 0x0040);
pub const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000D);
pub const STUDY_DATE: Tag = Tag(0x0008, 0x0020);
pub const STUDY_DESCRIPTION: Tag = Tag(0x0008, 0x1030);
pub const ACCESSION_NUMBER: Tag = Tag(0x0008, 0x0050);
pub const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);
pub const SERIES_NUMBER: Tag = Tag(0x0020, 0x0011);
pub const SERIES_DESCRIPTION: Tag = Tag(0x0008, 0x103E);
pub const MODALITY: Tag = Tag(0x0008, 0x0060);
pub const MODALITIES_IN_STUDY: Tag = Tag(0x0008, 0x0061);
pub const SOP_CLASS_UID: Tag = Tag(0x0008, 0x0016);
pub const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
pub const INSTANCE_NUMBER: Tag = Tag(0x0020, 0x0013);
pub const IMAGE_INDEX: Tag = Tag(0x0054, 0x1330);

const PATIENT: &[Tag] = &[PATIENT_NAME, PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_SEX, Tag(0x0010, 0x1000)];
const STUDY: &[Tag] = &[
    STUDY_DATE,
    Tag(0x0008, 0x0030), // StudyTime
    Tag(0x0020, 0x0010), // StudyID
    STUDY_DESCRIPTION,
    ACCESSION_NUMBER,
    STUDY_INSTANCE_UID,
    Tag(0x0032, 0x1060), // RequestedProcedureDescription
    Tag(0x0008, 0x0080), // InstitutionName
    Tag(0x0032, 0x1032), // RequestingPhysician
    Tag(0x0008, 0x0090), // ReferringPhysicianName
    Tag(0x0008, 0x0201), // TimezoneOffsetFromUTC
];
const SERIES: &[Tag] = &[
    Tag(0x0008, 0x0021), // SeriesDate
    Tag(0x0008, 0x0031), // SeriesTime
    MODALITY,
    Tag(0x0008, 0x0070), // Manufacturer
    Tag(0x0008, 0x1010), // StationName
    SERIES_DESCRIPTION,
    Tag(0x0018, 0x0015), // BodyPartExamined
    Tag(0x0018, 0x0024), // SequenceName
    Tag(0x0018, 0x1030), // ProtocolName
    Tag(0x0020, 0x0011), // SeriesNumber
    Tag(0x0018, 0x1090), // CardiacNumberOfImages
    Tag(0x0020, 0x1002), // ImagesInAcquisition
    Tag(0x0020, 0x0105), // NumberOfTemporalPositions
    Tag(0x0054, 0x0081), // NumberOfSlices
    Tag(0x0054, 0x0101), // NumberOfTimeSlices
    SERIES_INSTANCE_UID,
    Tag(0x0020, 0x0037), // ImageOrientationPatient
    Tag(0x0054, 0x1000), // SeriesType
    Tag(0x0008, 0x1070), // OperatorsName
    Tag(0x0040, 0x0254), // PerformedProcedureStepDescription
    Tag(0x0018, 0x1400), // AcquisitionDeviceProcessingDescription
    Tag(0x0018, 0x0010), // ContrastBolusAgent
    Tag(0x0008, 0x0201), // TimezoneOffsetFromUTC
    Tag(0x0040, 0x0244), // PerformedProcedureStepStartDate
    Tag(0x0040, 0x0245), // PerformedProcedureStepStartTime
    Tag(0x0040, 0x0275), // RequestAttributesSequence
];
const INSTANCE: &[Tag] = &[
    Tag(0x0008, 0x0012), // InstanceCreationDate
    Tag(0x0008, 0x0013), // InstanceCreationTime
    Tag(0x0020, 0x0012), // AcquisitionNumber
    IMAGE_INDEX,
    INSTANCE_NUMBER,
    Tag(0x0028, 0x0008), // NumberOfFrames
    Tag(0x0020, 0x0100), // TemporalPositionIdentifier
    SOP_INSTANCE_UID,
    Tag(0x0020, 0x0032), // ImagePositionPatient
    Tag(0x0020, 0x4000), // ImageComments
    Tag(0x0020, 0x0037), // ImageOrientationPatient
];

/// Which tags the index keeps at each level: Orthanc's defaults and the deployment's `ExtraMainDicomTags`.
#[derive(Clone, Debug)]
pub struct MainTags {
    levels: [Vec<Tag>; 4],
}

impl Default for MainTags {
    fn default() -> Self {
        Self { levels: [PATIENT.to_vec(), STUDY.to_vec(), SERIES.to_vec(), INSTANCE.to_vec()] }
    }
}

impl MainTags {
    /// The tags of one level, in a stable order.
    pub fn of(&self, level: Level) -> &[Tag] {
        &self.levels[level as usize]
    }

    /// Adds a tag of `ExtraMainDicomTags`; naming one twice changes nothing.
    pub fn add(&mut self, level: Level, tag: Tag) {
        let tags = &mut self.levels[level as usize];
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }

    /// The level nearest to `level` from it upwards that keeps `tag`.
    pub fn level_of(&self, level: Level, tag: Tag) -> Option<Level> {
        Level::ALL[..=level as usize].iter().rev().copied().find(|l| self.of(*l).contains(&tag))
    }

    /// `0008,0012;0008,0013;…`: the sorted list that Orthanc writes as metadata `MainDicomTagsSignature`.
    pub fn signature(&self, level: Level) -> String {
        let mut tags = self.of(level).to_vec();
        tags.sort_unstable();
        tags.iter().map(|t| format!("{:04x},{:04x}", t.0, t.1)).collect::<Vec<_>>().join(";")
    }

    /// A short name of the signatures of all levels.
    pub fn digest(&self) -> String {
        use sha1::{Digest, Sha1};
        let all = Level::ALL.map(|level| self.signature(level)).join("|");
        Sha1::digest(all).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds the tags that a signature of a level names.
    ///
    /// # Errors
    /// `BadRequest` for anything but a signature.
    pub fn add_signature(&mut self, level: Level, signature: &str) -> Result<()> {
        for tag in read_signature(signature)? {
            self.add(level, tag);
        }
        Ok(())
    }

    /// Whether a row of a level with this signature (empty: none) has all of these tags that its file has.
    pub fn are_kept(&self, level: Level, signature: &str) -> bool {
        let kept = read_signature(signature).unwrap_or_default();
        self.of(level).iter().all(|tag| kept.contains(tag))
    }
}

/// Whether a signature names a tag.
pub fn is_named(signature: &str, tag: Tag) -> bool {
    signature.contains(&format!("{:04x},{:04x}", tag.0, tag.1))
}

fn read_signature(text: &str) -> Result<BTreeSet<Tag>> {
    let number = |digits: &str| u16::from_str_radix(digits, 16).ok();
    let one = |part: &str| part.split_once(',').and_then(|(group, element)| Some(Tag(number(group)?, number(element)?)));
    let all = text.split(';').filter(|part| !part.is_empty()).map(one);
    all.collect::<Option<_>>()
        .ok_or_else(|| Error::new(ErrorKind::BadRequest, format!("{text:?} is no signature of main DICOM tags")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_says_which_tags_a_row_keeps() {
        let (rows, columns) = (Tag(0x0028, 0x0010), Tag(0x0028, 0x0011));
        let (plain, mut more) = (MainTags::default(), MainTags::default());
        more.add(Level::Instance, rows);
        let (old, new) = (plain.signature(Level::Instance), more.signature(Level::Instance));
        assert!(plain.are_kept(Level::Instance, &new) && more.are_kept(Level::Instance, &new));
        assert!(
            !more.are_kept(Level::Instance, &old)
                && !plain.are_kept(Level::Instance, "")
                && !plain.are_kept(Level::Instance, "x")
        );
        assert!(is_named(&new, rows) && !is_named(&old, rows) && !is_named(&new, columns));
        assert!(plain.digest() != more.digest() && plain.digest() == MainTags::default().digest());
        let mut read = MainTags::default();
        read.add_signature(Level::Instance, &new).unwrap();
        assert_eq!(read.signature(Level::Instance), new);
        for bad in ["0028", "0028,001g", "0028,0010,0011", "0028;0010"] {
            assert!(read.add_signature(Level::Study, bad).is_err(), "{bad}");
        }
    }
}
