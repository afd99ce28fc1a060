//! What rows repeat of a file: ids, main DICOM tags, and the metadata that follow from the file itself.

use crate::Engine;
use dataset::{DataSet, Header, Value};
use model::instance::InstanceIds;
use model::{AttachmentId, Error, ErrorKind, Level, MainTags, MetadataKind, OrthancId, Reread, Result, TagMap, tags};
use std::collections::BTreeMap;

/// What a file says.
pub(crate) struct Description {
    pub(crate) ids: InstanceIds,
    /// Main DICOM tags by level.
    pub(crate) tags: [TagMap; 4],
    pub(crate) sop_class_uid: String,
    pub(crate) expected_instances: Option<u32>,
    pub(crate) index_in_series: Option<i64>,
    /// By level, `None` for what the file does not have.
    pub(crate) metadata: [BTreeMap<MetadataKind, Option<String>>; 4],
}

/// Which tags rows keep, with the `MainDicomTagsSignature` of each level.
pub(crate) struct Kept {
    pub(crate) tags: MainTags,
    signatures: [String; 4],
}

impl Kept {
    pub(crate) fn new(tags: MainTags) -> Self {
        Self { signatures: Level::ALL.map(|level| tags.signature(level)), tags }
    }
}

/// Describes a file by its header, as the configuration wants rows to be.
///
/// # Errors
/// As [`identify`].
pub(crate) fn describe(eng: &Engine, header: &Header) -> Result<Description> {
    describe_as(eng, header, &eng.kept)
}

/// The same for rows with these tags.
///
/// # Errors
/// As [`identify`].
pub(crate) fn describe_as(eng: &Engine, header: &Header, kept: &Kept) -> Result<Description> {
    let data = &header.dataset;
    let ids = identify(data)?;
    let main = Level::ALL.map(|level| main_tags(kept, data, level));
    let number = |tag| main[Level::Instance as usize].get(tag).and_then(|v| v.trim().parse::<i64>().ok());
    let mut description = Description {
        ids,
        sop_class_uid: data.text(tags::SOP_CLASS_UID).unwrap_or_default(),
        expected_instances: expected_instances(&main[Level::Series as usize]),
        index_in_series: number(tags::INSTANCE_NUMBER).or_else(|| number(tags::IMAGE_INDEX)),
        tags: main,
        metadata: Default::default(),
    };
    description.metadata = metadata(eng, header, kept, &description);
    Ok(description)
}

/// What Orthanc records beside the tags.
fn metadata(
    eng: &Engine,
    header: &Header,
    kept: &Kept,
    description: &Description,
) -> [BTreeMap<MetadataKind, Option<String>>; 4] {
    use MetadataKind as M;
    let mut levels = Level::ALL.map(|level| {
        BTreeMap::from([
            (M::MAIN_DICOM_TAGS_SIGNATURE, Some(kept.signatures[level as usize].clone())),
            (M::MAIN_DICOM_SEQUENCES, main_sequences(eng, kept, &header.dataset, level)),
        ])
    });
    let expected = description.expected_instances.map(|n| n.to_string());
    levels[Level::Series as usize].insert(M::EXPECTED_NUMBER_OF_INSTANCES, expected);
    let pixel = header.pixel.as_ref();
    // Orthanc: files without meta header have none.
    let offset = pixel.and_then(|p| p.offset).filter(|_| !header.meta.is_empty());
    levels[Level::Instance as usize].extend([
        (M::TRANSFER_SYNTAX, Some(header.transfer_syntax.uid().to_owned())),
        (M::SOP_CLASS_UID, Some(description.sop_class_uid.clone()).filter(|uid| !uid.is_empty())),
        (M::INDEX_IN_SERIES, description.index_in_series.map(|i| i.to_string())),
        (M::PIXEL_DATA_OFFSET, offset.map(|o| o.to_string())),
        (M::PIXEL_DATA_VR, pixel.filter(|p| is_unusual(header, p)).map(|p| p.vr.to_string().to_owned())),
    ]);
    levels
}

impl Description {
    /// What rows of these levels are to repeat. `blob`: the file that was described.
    pub(crate) fn into_reread(self, blob: AttachmentId, levels: Vec<Level>) -> Reread {
        Reread {
            ids: self.ids,
            blob,
            levels,
            tags: self.tags,
            sop_class_uid: self.sop_class_uid,
            expected_instances: self.expected_instances,
            index_in_series: self.index_in_series,
            metadata: self.metadata,
        }
    }
}

/// The public ids of a data set (Orthanc book, "Orthanc identifiers"): blanks around the DICOM identifiers do not count.
///
/// # Errors
/// `BadDicom` if a UID is missing or empty; a missing PatientID is the empty one.
pub fn identify(data: &DataSet) -> Result<InstanceIds> {
    let text = |tag| data.text(tag).map(|t| t.trim().to_owned()).unwrap_or_default();
    let uid = |tag, name: &str| {
        let uid = text(tag);
        if uid.is_empty() { Err(Error::new(ErrorKind::BadDicom, format!("the data set has no {name}"))) } else { Ok(uid) }
    };
    let patient = text(tags::PATIENT_ID);
    let study = uid(tags::STUDY_INSTANCE_UID, "StudyInstanceUID")?;
    let series = uid(tags::SERIES_INSTANCE_UID, "SeriesInstanceUID")?;
    let sop = uid(tags::SOP_INSTANCE_UID, "SOPInstanceUID")?;
    Ok(InstanceIds {
        patient: OrthancId::patient(&patient),
        study: OrthancId::study(&patient, &study),
        series: OrthancId::series(&patient, &study, &series),
        instance: OrthancId::instance(&patient, &study, &series, &sop),
    })
}

fn main_tags(kept: &Kept, data: &DataSet, level: Level) -> TagMap {
    let wanted = kept.tags.of(level);
    wanted.iter().filter_map(|tag| data.text(*tag).map(|text| (*tag, text.trim().to_owned()))).collect()
}

/// Whether native pixel data has another VR than its depth suggests (PS3.5 A.2): Orthanc records that as `PixelDataVR`.
fn is_unusual(header: &Header, pixel: &dataset::PixelElement) -> bool {
    let bits = header.dataset.text(dataset::Tag(0x0028, 0x0100)).and_then(|t| t.trim().parse::<u32>().ok()).unwrap_or(16);
    let expected = if bits > 8 || !header.transfer_syntax.is_explicit() { dataset::VR::OW } else { dataset::VR::OB };
    pixel.length.is_some() && !header.transfer_syntax.is_encapsulated() && pixel.vr != expected
}

/// The sequences among the main DICOM tags of a level, as Orthanc keeps them: its full JSON in a member.
fn main_sequences(eng: &Engine, kept: &Kept, data: &DataSet, level: Level) -> Option<String> {
    let mut found = DataSet::new();
    for tag in kept.tags.of(level) {
        if let Some(element) = data.get(*tag).filter(|e| matches!(e.value, Value::Items(_))) {
            found.put(element.clone());
        }
    }
    if found.is_empty() {
        return None;
    }
    let options = dataset::json::JsonOptions::default();
    let full = dataset::json::orthanc(&found, dataset::json::Format::Full, &options, &eng.config.dictionary);
    Some(serde_json::json!({ "Sequences": full, "Version": 1 }).to_string())
}

/// How many instances a series should have (Orthanc: `ExpectedNumberOfInstances`): `NumberOfSlices` and
/// `NumberOfTimeSlices` for PET, `ImagesInAcquisition` and `NumberOfTemporalPositions` for MR, or `CardiacNumberOfImages`.
fn expected_instances(series: &TagMap) -> Option<u32> {
    let number = |group, element| series.get(dataset::Tag(group, element)).and_then(|v| v.trim().parse::<u32>().ok());
    let product = |a: Option<u32>, b: Option<u32>| a.and_then(|a| b.and_then(|b| a.checked_mul(b)));
    product(number(0x0054, 0x0081), number(0x0054, 0x0101))
        .or_else(|| product(number(0x0020, 0x1002), number(0x0020, 0x0105)))
        .or_else(|| number(0x0018, 0x1090))
        .filter(|n| *n > 0)
}
