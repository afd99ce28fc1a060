//! Synthetic instances, the `n`-th always the same: identifiers, names and dates spread as the benchmark's load generator does.

use dataset::Tag;
use model::instance::{InstanceIds, Origin, Overwrite};
use model::{Attachment, AttachmentId, Compression, ContentType, MetadataKind, NewInstance, OrthancId, TagMap};
use std::collections::BTreeMap;

pub const SERIES: u64 = 2;
pub const PER_SERIES: u64 = 50;
pub const PER_STUDY: u64 = SERIES * PER_SERIES;

const ROOT: &str = "1.2.826.0.1.3680043.10.999.100777";

pub const FAMILY: &[&str] = &[
    "ADAMS", "BAKER", "BECKER", "BERNARD", "BROWN", "CAMPOS", "CARTER", "CLARK", "COHEN", "COSTA", "DAVIS", "DIAZ", "DUBOIS",
    "DUPONT", "EVANS", "FERRARI", "FISCHER", "FOSTER", "GARCIA", "GOMEZ", "GREEN", "HALL", "HANSEN", "HARRIS", "HOFFMANN",
    "IVANOV", "JACKSON", "JANSSEN", "JENSEN", "JOHNSON", "KELLY", "KIM", "KOWALSKI", "LAMBERT", "LARSEN", "LAURENT", "LEE",
    "LEROY", "LOPEZ", "MARTIN", "MEYER", "MILLER", "MOREAU", "MORENO", "MURPHY", "NGUYEN", "NOVAK", "OLSEN", "PARKER", "PATEL",
    "PEETERS", "PEREZ", "PETIT", "QUINN", "RICCI", "ROBERTS", "ROSSI", "RUSSO", "SANCHEZ", "SANTOS", "SCHMIDT", "SILVA", "SIMON",
    "SMITH", "SUZUKI", "TANAKA", "TAYLOR", "THOMAS", "TORRES", "TURNER", "VARGA", "WAGNER", "WALKER", "WANG", "WEBER", "WHITE",
    "WILLEMS", "WILSON", "WRIGHT", "YAMADA", "YOUNG", "ZHANG", "ZIMMER",
];
const GIVEN: &[&str] =
    &["ADA", "ALAN", "ALICE", "ANNA", "BEN", "EMMA", "ERIC", "EVA", "JANE", "JOHN", "MARIE", "MAX", "NINA", "ZOE"];

/// A well-mixed number (SplitMix64).
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

pub fn patient_id(study: u64) -> String {
    format!("P100777-{:08}", study / 2)
}

/// One of 1000 days.
pub fn date(study: u64) -> String {
    let day = mix(study) % 1000;
    format!("{:04}{:02}{:02}", 2023 + day / 336, 1 + day % 336 / 28, 1 + day % 28)
}

/// Of its study, its series and itself.
pub fn uids(n: u64) -> (String, String, String) {
    let (study, series, number) = (n / PER_STUDY, n % PER_STUDY / PER_SERIES, n % PER_SERIES);
    let study_uid = format!("{ROOT}.{}", 10_000_000 + study);
    let series_uid = format!("{study_uid}.{}", 1000 + series);
    let sop_uid = format!("{series_uid}.{}", 100_000 + number);
    (study_uid, series_uid, sop_uid)
}

pub fn ids(n: u64) -> InstanceIds {
    let patient = patient_id(n / PER_STUDY);
    let (study_uid, series_uid, sop_uid) = uids(n);
    InstanceIds {
        patient: OrthancId::patient(&patient),
        study: OrthancId::study(&patient, &study_uid),
        series: OrthancId::series(&patient, &study_uid, &series_uid),
        instance: OrthancId::instance(&patient, &study_uid, &series_uid, &sop_uid),
    }
}

pub fn checksum(n: u64) -> u64 {
    mix(n)
}

pub fn instance(n: u64, blob: AttachmentId) -> NewInstance {
    let (study, series, number) = (n / PER_STUDY, n % PER_STUDY / PER_SERIES, n % PER_SERIES);
    let patient = patient_id(study);
    let (study_uid, series_uid, sop_uid) = uids(n);
    let p = mix(study / 2 + 1_000_000_007);
    let name = format!("{}^{}", FAMILY[(p % FAMILY.len() as u64) as usize], GIVEN[((p >> 20) % GIVEN.len() as u64) as usize]);
    let map = |values: &[(u16, u16, &str)]| -> TagMap { values.iter().map(|(g, e, v)| (Tag(*g, *e), v.to_string())).collect() };
    let accession = format!("A100777{:07}", study % 10_000_000);
    let number = (number + 1).to_string();
    let own = [
        map(&[(0x10, 0x10, &name), (0x10, 0x20, &patient), (0x10, 0x30, "19700101"), (0x10, 0x40, "O")]),
        map(&[
            (0x08, 0x20, &date(study)),
            (0x08, 0x30, "101530"),
            (0x08, 0x50, &accession),
            (0x08, 0x80, "Benchmark Hospital"),
            (0x08, 0x90, "REFERRING^DOCTOR"),
            (0x08, 0x1030, "CT THORAX"),
            (0x20, 0x0d, &study_uid),
            (0x20, 0x10, "1"),
        ]),
        map(&[
            (0x08, 0x21, "20240115"),
            (0x08, 0x60, "CT"),
            (0x08, 0x70, "Acme"),
            (0x08, 0x1010, "CT1"),
            (0x08, 0x103e, "AXIAL"),
            (0x18, 0x15, "CHEST"),
            (0x20, 0x0e, &series_uid),
            (0x20, 0x11, &(series + 1).to_string()),
            (0x20, 0x37, "1\\0\\0\\0\\1\\0"),
        ]),
        map(&[
            (0x08, 0x12, "20240115"),
            (0x08, 0x13, "101530.000"),
            (0x08, 0x18, &sop_uid),
            (0x20, 0x12, "1"),
            (0x20, 0x13, &number),
            (0x20, 0x32, "-250\\-250\\-300.00"),
            (0x20, 0x37, "1\\0\\0\\0\\1\\0"),
        ]),
    ];
    NewInstance {
        ids: ids(n),
        tags: own,
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".into(),
        expected_instances: None,
        index_in_series: number.parse().ok(),
        metadata: metadata(&number),
        origin: Origin::default(),
        blob: Attachment {
            id: blob,
            content_type: ContentType::DICOM,
            compression: Compression::None,
            size_bytes: 11_000,
            stored_size_bytes: 11_000,
            checksum: checksum(n),
            md5: None,
            stored_md5: None,
            revision: 0,
        },
        pixel_offset: Some(2800),
        tail_offset: None,
        overwrite: Overwrite::Never,
    }
}

/// What the engine records of an upload through REST.
fn metadata(number: &str) -> [BTreeMap<MetadataKind, String>; 4] {
    use MetadataKind as M;
    let signature = (0..11).map(|n| format!("0008,00{n:02x}")).collect::<Vec<_>>().join(";");
    let parent = || BTreeMap::from([(M::MAIN_DICOM_TAGS_SIGNATURE, signature.clone())]);
    let mut own = parent();
    for (kind, value) in [
        (M::INDEX_IN_SERIES, number),
        (M::RECEPTION_DATE, "20261124T101530"),
        (M::ORIGIN, "RestApi"),
        (M::TRANSFER_SYNTAX, "1.2.840.10008.1.2.1"),
        (M::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2"),
        (M::REMOTE_IP, "127.0.0.1"),
        (M::CALLED_AET, "localhost:8042"),
        (M::PIXEL_DATA_OFFSET, "2800"),
        (M::PIXEL_DATA_VR, "OW"),
    ] {
        own.insert(kind, value.to_owned());
    }
    [parent(), parent(), parent(), own]
}
