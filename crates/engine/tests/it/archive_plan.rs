//! What an archive holds, where, in which order: Orthanc's rules.

use crate::support::{EXPLICIT, File, Lab};
use engine::Ctx;
use engine::archive::{Characters, Layout, Request, plan};
use engine::files;
use model::instance::InstanceIds;
use model::{ErrorKind, Level, OrthancId, Result, tags};
use std::collections::BTreeMap;

fn request(resources: &[(Level, OrthancId)]) -> Request {
    Request { resources: resources.to_vec(), layout: Layout::Folders(Characters::Ascii), transcode: None }
}

impl Lab {
    /// The names in an archive, with the SOP instance UID of each file.
    async fn archive(&self, resources: &[(Level, OrthancId)]) -> Result<Vec<(String, String)>> {
        let plan = plan(&self.eng, &Ctx::default(), &request(resources)).await?;
        let mut found = vec![];
        for (id, name) in plan.files() {
            let instance = self.instance(id).await;
            found.push((name.to_owned(), instance.tags[3].get(tags::SOP_INSTANCE_UID).unwrap().to_owned()));
        }
        Ok(found)
    }

    /// The file names of a series whose instances have these numbers; with each the place of the instance among them, from 1.
    async fn numbered(numbers: &[Option<&str>]) -> Vec<(String, usize)> {
        let lab = Self::new().await;
        let mut series = None;
        for (at, number) in numbers.iter().enumerate() {
            let file = File::new(&format!("1.2.9.{}", at + 1)).series("P1", "1.2.3", "1.2.3.4");
            series = Some(lab.store(number.iter().fold(file, |file, number| file.number(number))).await.series);
        }
        let all = lab.archive(&[(Level::Series, series.unwrap())]).await.unwrap();
        let short = |(name, sop): (String, String)| {
            let name = name.strip_prefix("P1/Unknown Study/CT/").expect("the folder").to_owned();
            (name, sop.rsplit('.').next().unwrap().parse().unwrap())
        };
        all.into_iter().map(short).collect()
    }
}

/// Each line is an answer of Orthanc 1.13 to the same instances.
#[tokio::test]
async fn files_of_a_series_are_called_by_number_or_by_position() {
    for (numbers, expected) in [
        (vec![Some("10"), Some("20"), Some("30")], vec![("CT000010.dcm", 1), ("CT000020.dcm", 2), ("CT000030.dcm", 3)]),
        (vec![Some("30"), Some("10")], vec![("CT000010.dcm", 2), ("CT000030.dcm", 1)]),
        (vec![Some("7")], vec![("CT000007.dcm", 1)]),
        (vec![None], vec![("CT000000.dcm", 1)]),
        (vec![Some("-5"), Some("3")], vec![("CT000000.dcm", 1), ("CT000003.dcm", 2)]),
        // Equal numbers: positions, by the order of the public ids.
        (vec![Some("-5"), Some("-7")], vec![("CT000000.dcm", 2), ("CT000001.dcm", 1)]),
        (vec![Some("0"), None], vec![("CT000000.dcm", 2), ("CT000001.dcm", 1)]),
        (
            vec![Some("1"), Some("1"), Some("2"), Some("3")],
            vec![("CT000000.dcm", 2), ("CT000001.dcm", 1), ("CT000002.dcm", 3), ("CT000003.dcm", 4)],
        ),
        (
            vec![None, Some("2"), Some("3"), Some("5")],
            vec![("CT000000.dcm", 1), ("CT000002.dcm", 2), ("CT000003.dcm", 3), ("CT000005.dcm", 4)],
        ),
        // 32 bits count.
        (vec![Some("300000000000"), Some("3")], vec![("CT000003.dcm", 2), ("CT-647710720.dcm", 1)]),
        (vec![Some("4294967297"), Some("1")], vec![("CT000000.dcm", 2), ("CT000001.dcm", 1)]),
        (
            vec![Some("2147483648"), Some("1"), Some("5000000000")],
            vec![("CT000001.dcm", 2), ("CT705032704.dcm", 3), ("CT-2147483648.dcm", 1)],
        ),
        (vec![Some("1000000"), Some("3")], vec![("CT000003.dcm", 2), ("CT1000000.dcm", 1)]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(name, at)| (name.to_owned(), at)).collect();
        assert_eq!(Lab::numbered(&numbers).await, expected, "{numbers:?}");
    }
}

/// Two patients with two studies, two series each, of two instances, by a short name such as `A112`.
async fn tree(lab: &Lab) -> BTreeMap<String, InstanceIds> {
    let mut ids = BTreeMap::new();
    for patient in ["B", "A"] {
        for study in ["2", "1"] {
            for series in ["2", "1"] {
                for number in ["2", "1"] {
                    let root = if patient == "A" { "1.65" } else { "1.66" };
                    let file = File::new(&format!("{root}.{study}.{series}.{number}"))
                        .series(&format!("P{patient}"), &format!("{root}.{study}"), &format!("{root}.{study}.{series}"))
                        .number(number)
                        .with(tags::PATIENT_NAME, b"PN", &format!("Doe^{patient}"))
                        .with(tags::ACCESSION_NUMBER, b"SH", &format!("A{study}"))
                        .with(tags::STUDY_DESCRIPTION, b"LO", &format!("S{study}"))
                        .with(tags::SERIES_DESCRIPTION, b"LO", &format!("E{series}"));
                    ids.insert(format!("{patient}{study}{series}{number}"), lab.store(file).await);
                }
            }
        }
    }
    ids
}

fn names(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(_, sop)| sop.as_str()).collect()
}

/// The ids are those of Orthanc, so the order is.
#[tokio::test]
async fn folders_are_in_the_order_of_ids_and_nothing_is_there_twice() {
    let lab = Lab::new().await;
    let ids = tree(&lab).await;
    let at = |name: &str, level: Level| (level, ids[name].at(level));
    let study = lab.archive(&[at("A111", Level::Study)]).await.unwrap();
    let expected = [
        ("PA - Doe^A/A1 - S1/CT - E2/CT000001.dcm", "1.65.1.2.1"),
        ("PA - Doe^A/A1 - S1/CT - E2/CT000002.dcm", "1.65.1.2.2"),
        ("PA - Doe^A/A1 - S1/CT - E1/CT000001.dcm", "1.65.1.1.1"),
        ("PA - Doe^A/A1 - S1/CT - E1/CT000002.dcm", "1.65.1.1.2"),
    ];
    assert_eq!(study, expected.map(|(name, sop)| (name.to_owned(), sop.to_owned())));
    let patients = lab.archive(&[at("B111", Level::Patient), at("A111", Level::Patient)]).await.unwrap();
    assert_eq!(patients[..4], study);
    let series: Vec<_> = names(&patients).into_iter().step_by(2).map(|sop| sop.strip_suffix(".1").unwrap()).collect();
    let expected = ["1.65.1.2", "1.65.1.1", "1.65.2.1", "1.65.2.2", "1.66.2.1", "1.66.2.2", "1.66.1.2", "1.66.1.1"];
    assert_eq!((series.as_slice(), patients.len()), (&expected[..], 16));
    // What lies in another resource is not there again, whatever comes first.
    for resources in [
        vec![at("A111", Level::Study), at("A111", Level::Study)],
        vec![at("A111", Level::Series), at("A112", Level::Series), at("A111", Level::Study)],
        vec![at("A111", Level::Instance), at("A111", Level::Study)],
        vec![at("A111", Level::Study), at("A121", Level::Instance), at("A121", Level::Instance)],
    ] {
        assert_eq!(lab.archive(&resources).await.unwrap(), study);
    }
    let both = lab.archive(&[at("A211", Level::Instance), at("A111", Level::Study)]).await.unwrap();
    assert_eq!((&both[..4], names(&both[4..])), (&study[..], vec!["1.65.2.1.1"]));
}

#[tokio::test]
async fn named_instances_keep_their_order_and_number() {
    let lab = Lab::new().await;
    let ids = tree(&lab).await;
    let instance = |name: &str| (Level::Instance, ids[name].instance);
    let named = ["B112", "A112", "B111", "A221", "B122", "A111", "B212"].map(instance);
    let found = lab.archive(&named).await.unwrap();
    let expected = ["1.65.1.1.2", "1.65.1.1.1", "1.65.2.2.1", "1.66.2.1.2", "1.66.1.2.2", "1.66.1.1.2", "1.66.1.1.1"];
    assert_eq!(names(&found), expected);
    let twice = lab.archive(&[instance("A111"), instance("A112"), instance("A111")]).await.unwrap();
    let folder = "PA - Doe^A/A1 - S1/CT - E1";
    let expected = ["CT000001.dcm", "CT000002.dcm", "CT000001.dcm-2"].map(|name| format!("{folder}/{name}"));
    assert_eq!(twice.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
    assert!(lab.archive(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn folders_of_the_same_name_get_a_number() {
    let lab = Lab::new().await;
    let mut patients = vec![];
    for (n, patient) in ["P?", "P/", "P ? "].into_iter().enumerate() {
        for series in ["1", "2"] {
            let sop = format!("1.{n}.{series}");
            let file = File::new(&sop).series(patient, &format!("1.5.{n}"), &format!("1.6.{n}.{series}"));
            patients.push((Level::Patient, lab.store(file).await.patient));
        }
    }
    let found = lab.archive(&patients).await.unwrap();
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["P", "P-2", "P-3"].map(|p| ["CT", "CT-2"].map(|s| format!("{p}/Unknown Study/{s}/CT000000.dcm")));
    assert_eq!(names, expected.concat());
}

#[tokio::test]
async fn unknown_resources_and_syntaxes_are_refused() {
    let lab = Lab::new().await;
    let ids = lab.store(File::new("1.2")).await;
    let nobody = OrthancId::patient("nobody");
    for level in Level::ALL {
        let error = lab.archive(&[(Level::Study, ids.study), (level, nobody)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownResource);
        assert!(error.message().contains(&nobody.to_string()));
    }
    let transcode = |syntax: &str| Request { transcode: Some(syntax.to_owned()), ..request(&[(Level::Study, ids.study)]) };
    let plan = async |syntax: &str| plan(&lab.eng, &Ctx::default(), &transcode(syntax)).await.map(|p| p.instances());
    assert_eq!(plan(EXPLICIT).await.unwrap(), 1);
    let error = plan("1.2.840.10008.1.2.4.70").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotImplemented);
    assert!(error.message().contains(&ids.instance.to_string()), "{}", error.message());
    for bad in ["nope", "", "1.2.840.10008.1.20", "1.2.840.10008.1.2.x"] {
        let error = plan(bad).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::OutOfRange, format!("Unknown transfer syntax: {bad}").as_str()));
    }
}

#[tokio::test]
async fn levels_are_found_in_order() {
    let lab = Lab::new().await;
    let ids = lab.store(File::new("1.2")).await;
    let all = [ids.series, ids.patient, ids.instance, ids.study, ids.patient];
    let found = files::levels(&lab.eng, &Ctx::default(), &all).await.unwrap();
    let levels = [Level::Series, Level::Patient, Level::Instance, Level::Study, Level::Patient];
    assert_eq!(found, levels.into_iter().zip(all).collect::<Vec<_>>());
    let error = files::levels(&lab.eng, &Ctx::default(), &[ids.series, OrthancId::patient("x")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownResource);
}
