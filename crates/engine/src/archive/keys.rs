//! Which keys the records of a DICOMDIR have (PS3.3 F.5), by level and SOP class.
//!
//! What a reader cannot do without and a file lacks is made up here, as DCMTK's `dcmgpdir` does with `--invent`.

use dataset::{Tag, VR};
use model::tags;

/// One key of a record.
pub(super) struct Key {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    /// Where to look if it is absent or no value of its VR.
    pub(super) others: &'static [Tag],
    pub(super) or: Or,
}

/// What a record has if a file has no valid value.
#[derive(Clone, Copy)]
pub(super) enum Or {
    /// Nothing (types 1C and 3).
    Absent,
    /// No value (type 2).
    Empty,
    /// This text; in a sequence, the code that means it (type 1).
    Text(&'static str),
    /// The number of the resource within its parent, from 1 (type 1).
    Number,
}

const fn key(tag: Tag, vr: VR, or: Or) -> Key {
    Key { tag, vr, others: &[], or }
}

const fn date(tag: Tag, others: &'static [Tag]) -> Key {
    Key { tag, vr: VR::DA, others, or: Or::Text("19000101") }
}

const fn time(tag: Tag, others: &'static [Tag]) -> Key {
    Key { tag, vr: VR::TM, others, or: Or::Text("000000") }
}

const INSTANCE_DATE: Tag = Tag(0x0008, 0x0012);
const INSTANCE_TIME: Tag = Tag(0x0008, 0x0013);
const SERIES_DATE: Tag = Tag(0x0008, 0x0021);
const SERIES_TIME: Tag = Tag(0x0008, 0x0031);
const ACQUISITION_DATE: Tag = Tag(0x0008, 0x0022);
const ACQUISITION_TIME: Tag = Tag(0x0008, 0x0032);
const CONTENT_DATE: Tag = Tag(0x0008, 0x0023);
const CONTENT_TIME: Tag = Tag(0x0008, 0x0033);
const STUDY_TIME: Tag = Tag(0x0008, 0x0030);
const STUDY_ID: Tag = Tag(0x0020, 0x0010);
const CONCEPT_NAME: Tag = Tag(0x0040, 0xA043);
pub(super) const CONTENT: Tag = Tag(0x0040, 0xA730);
pub(super) const IMAGE_TYPE: Tag = Tag(0x0008, 0x0008);
/// "Unknown" in SNOMED CT, but for its meaning: what a document without a title is.
pub(super) const UNKNOWN_CODE: [(Tag, VR, &str); 2] =
    [(Tag(0x0008, 0x0100), VR::SH, "261665006"), (Tag(0x0008, 0x0102), VR::SH, "SCT")];

/// PS3.3 F.5.1. A patient without an id is one patient (Orthanc: the ids of resources), so one name is enough.
pub(super) const PATIENT: &[Key] =
    &[key(tags::PATIENT_NAME, VR::PN, Or::Empty), key(tags::PATIENT_ID, VR::LO, Or::Text("UNKNOWN"))];

/// PS3.3 F.5.2.
pub(super) const STUDY: &[Key] = &[
    date(tags::STUDY_DATE, &[SERIES_DATE, ACQUISITION_DATE, CONTENT_DATE, INSTANCE_DATE]),
    time(STUDY_TIME, &[SERIES_TIME, ACQUISITION_TIME, CONTENT_TIME, INSTANCE_TIME]),
    key(tags::ACCESSION_NUMBER, VR::SH, Or::Empty),
    key(tags::STUDY_DESCRIPTION, VR::LO, Or::Empty),
    key(tags::STUDY_INSTANCE_UID, VR::UI, Or::Absent),
    key(STUDY_ID, VR::SH, Or::Number),
];

/// PS3.3 F.5.3.
pub(super) const SERIES: &[Key] = &[
    key(tags::MODALITY, VR::CS, Or::Text("OT")),
    key(tags::SERIES_INSTANCE_UID, VR::UI, Or::Absent),
    key(tags::SERIES_NUMBER, VR::IS, Or::Number),
];

/// What `extended` adds to a series (Orthanc: the same tag, and no other).
pub(super) const EXTENDED_SERIES: &[Key] = &[key(tags::SERIES_DESCRIPTION, VR::LO, Or::Absent)];

const NUMBER: Key = key(tags::INSTANCE_NUMBER, VR::IS, Or::Number);
const DATE: Key = date(CONTENT_DATE, &[INSTANCE_DATE, ACQUISITION_DATE, SERIES_DATE, tags::STUDY_DATE]);
const TIME: Key = time(CONTENT_TIME, &[INSTANCE_TIME, ACQUISITION_TIME, SERIES_TIME, STUDY_TIME]);
const LABEL: Key = key(Tag(0x0070, 0x0080), VR::CS, Or::Text("UNKNOWN"));
const DESCRIPTION: Key = key(Tag(0x0070, 0x0081), VR::LO, Or::Empty);
const CREATOR: Key = key(Tag(0x0070, 0x0084), VR::PN, Or::Empty);
const TITLE: Key = key(CONCEPT_NAME, VR::SQ, Or::Text("Unknown"));
const MODIFIERS: Key = key(CONTENT, VR::SQ, Or::Absent);

const IMAGE: &[Key] = &[NUMBER];
const DATED: &[Key] = &[NUMBER, DATE, TIME];
const LABELLED: &[Key] = &[NUMBER, DATE, TIME, LABEL, DESCRIPTION, CREATOR];
const RT_DOSE: &[Key] = &[NUMBER, key(Tag(0x3004, 0x000A), VR::CS, Or::Text("PLAN"))];
const RT_STRUCTURE_SET: &[Key] = &[
    NUMBER,
    key(Tag(0x3006, 0x0002), VR::SH, Or::Text("UNKNOWN")), // StructureSetLabel
    key(Tag(0x3006, 0x0008), VR::DA, Or::Empty),
    key(Tag(0x3006, 0x0009), VR::TM, Or::Empty),
];
const RT_PLAN: &[Key] = &[
    NUMBER,
    key(Tag(0x300A, 0x0002), VR::SH, Or::Text("UNKNOWN")), // RTPlanLabel
    key(Tag(0x300A, 0x0006), VR::DA, Or::Empty),
    key(Tag(0x300A, 0x0007), VR::TM, Or::Empty),
];
const RT_TREAT_RECORD: &[Key] =
    &[NUMBER, key(Tag(0x3008, 0x0250), VR::DA, Or::Empty), key(Tag(0x3008, 0x0251), VR::TM, Or::Empty)];
const PRESENTATION: &[Key] = &[
    NUMBER,
    date(Tag(0x0070, 0x0082), &[CONTENT_DATE, INSTANCE_DATE, SERIES_DATE, tags::STUDY_DATE]),
    time(Tag(0x0070, 0x0083), &[CONTENT_TIME, INSTANCE_TIME, SERIES_TIME, STUDY_TIME]),
    LABEL,
    DESCRIPTION,
    CREATOR,
    key(Tag(0x0008, 0x1115), VR::SQ, Or::Absent), // ReferencedSeriesSequence
    key(Tag(0x0070, 0x0402), VR::SQ, Or::Absent), // BlendingSequence
];
const SR_DOCUMENT: &[Key] = &[
    NUMBER,
    DATE,
    TIME,
    key(Tag(0x0040, 0xA491), VR::CS, Or::Text("PARTIAL")), // CompletionFlag
    key(Tag(0x0040, 0xA493), VR::CS, Or::Text("UNVERIFIED")), // VerificationFlag
    key(Tag(0x0040, 0xA030), VR::DT, Or::Absent),          // VerificationDateTime
    TITLE,
    MODIFIERS,
];
const KEY_OBJECT_DOC: &[Key] = &[NUMBER, DATE, TIME, TITLE, MODIFIERS];
const SPECTROSCOPY: &[Key] = &[
    NUMBER,
    DATE,
    TIME,
    key(IMAGE_TYPE, VR::CS, Or::Text("ORIGINAL")),
    key(Tag(0x0008, 0x9092), VR::SQ, Or::Absent),    // ReferencedImageEvidenceSequence
    key(Tag(0x0028, 0x0008), VR::IS, Or::Text("1")), // NumberOfFrames
    key(Tag(0x0028, 0x0010), VR::US, Or::Text("1")), // Rows
    key(Tag(0x0028, 0x0011), VR::US, Or::Text("1")), // Columns
    key(Tag(0x0028, 0x9001), VR::UL, Or::Text("1")), // DataPointRows
    key(Tag(0x0028, 0x9002), VR::UL, Or::Text("1")), // DataPointColumns
];
const ENCAP_DOC: &[Key] = &[
    NUMBER,
    key(CONTENT_DATE, VR::DA, Or::Empty),
    key(CONTENT_TIME, VR::TM, Or::Empty),
    key(Tag(0x0042, 0x0010), VR::ST, Or::Empty),  // DocumentTitle
    key(Tag(0x0040, 0xE001), VR::ST, Or::Absent), // HL7InstanceIdentifier
    key(CONCEPT_NAME, VR::SQ, Or::Empty),
    key(Tag(0x0042, 0x0012), VR::LO, Or::Text("application/octet-stream")), // MIMETypeOfEncapsulatedDocument
];
const SURFACE_SCAN: &[Key] = &[DATE, TIME];
const ASSESSMENT: &[Key] =
    &[NUMBER, date(INSTANCE_DATE, &[CONTENT_DATE, SERIES_DATE, tags::STUDY_DATE]), key(INSTANCE_TIME, VR::TM, Or::Empty)];
const RADIOTHERAPY: &[Key] = &[
    NUMBER,
    key(Tag(0x3010, 0x0033), VR::SH, Or::Absent), // UserContentLabel
    key(Tag(0x3010, 0x0034), VR::LO, Or::Absent), // UserContentLongLabel
    DESCRIPTION,
    CREATOR,
];

/// The type of the record of an instance and its keys, by SOP class (PS3.3 F.4). Images, and whatever is not known, are `IMAGE`.
pub(super) fn of_instance(sop_class: &str) -> (&'static str, &'static [Key]) {
    match sop_class.strip_prefix("1.2.840.10008.5.1.4.") {
        Some("34.7" | "34.10") => ("PLAN", &[]),
        Some(class) => class.strip_prefix("1.1.").map_or(("IMAGE", IMAGE), of_composite),
        None => ("IMAGE", IMAGE),
    }
}

/// PS3.4 B.5: the classes below 1.2.840.10008.5.1.4.1.1.
fn of_composite(class: &str) -> (&'static str, &'static [Key]) {
    match class {
        "481.2" => ("RT DOSE", RT_DOSE),
        "481.3" => ("RT STRUCTURE SET", RT_STRUCTURE_SET),
        "481.5" | "481.8" => ("RT PLAN", RT_PLAN),
        "481.4" | "481.6" | "481.7" | "481.9" => ("RT TREAT RECORD", RT_TREAT_RECORD),
        "481.23" | "481.24" => ("IMAGE", IMAGE),
        "66" => ("RAW DATA", DATED),
        "66.1" | "66.3" => ("REGISTRATION", LABELLED),
        "66.2" => ("FIDUCIAL", LABELLED),
        "66.5" => ("SURFACE", LABELLED),
        "66.6" => ("TRACT", LABELLED),
        "67" => ("VALUE MAP", LABELLED),
        "68.1" | "68.2" => ("SURFACE SCAN", SURFACE_SCAN),
        "4.2" => ("SPECTROSCOPY", SPECTROSCOPY),
        "77.1.5.3" => ("STEREOMETRIC", &[]),
        "78.6" | "79.1" => ("SR DOCUMENT", SR_DOCUMENT),
        "78.1" | "78.2" | "78.3" | "78.4" | "78.5" | "78.7" | "78.8" | "80.1" => ("MEASUREMENT", LABELLED),
        "88.59" => ("KEY OBJECT DOC", KEY_OBJECT_DOC),
        "90.1" => ("ASSESSMENT", ASSESSMENT),
        "91.1" => ("ANNOTATION", LABELLED),
        "131" => ("PRESENTATION", PRESENTATION),
        _ => match class.split_once('.') {
            Some(("11", _)) => ("PRESENTATION", PRESENTATION),
            Some(("9", waveform)) if waveform.contains('.') => ("WAVEFORM", DATED),
            Some(("88", _)) => ("SR DOCUMENT", SR_DOCUMENT),
            Some(("104", _)) => ("ENCAP DOC", ENCAP_DOC),
            Some(("481", number)) if number.len() > 1 => ("RADIOTHERAPY", RADIOTHERAPY),
            _ => ("IMAGE", IMAGE),
        },
    }
}
