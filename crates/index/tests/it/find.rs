//! Searching: every rule at every level against `model::matching`, orders, pages, labels, metadata, lookups.

use crate::fixture::*;
use crate::for_each_index;
use dataset::Tag;
use model::matching::matches;
use model::ports::Index;
use model::ports::index::Expect;
use model::query::{LabelsRule, MetadataConstraint, OrderAs, OrderBy, OrderKey, Rule, TagConstraint};
use model::{Fields, FindRequest, Level, MetadataKind, OrthancId, Resource, TagMap, tags};
use std::collections::{BTreeMap, BTreeSet};

const STUDY_TIME: Tag = Tag(0x0008, 0x0030);
const BODY_PART: Tag = Tag(0x0018, 0x0015);
const MANUFACTURER: Tag = Tag(0x0008, 0x0070);
const ACQUISITION: Tag = Tag(0x0020, 0x0012);
const EXTRA: Tag = Tag(0x0019, 0x0010);

fn set<const N: usize>(values: [&str; N]) -> BTreeSet<String> {
    values.map(str::to_owned).into()
}

/// 6 patients, 12 studies, 24 series, 48 instances with telling values.
async fn fill(db: &dyn Index) {
    const NAMES: [&str; 6] = ["Müller^Éva", "MULLER^EVA", "doe^john  jr", "山田^太郎", "O'Neil^[A]*?%_", ""];
    for (p, name) in NAMES.iter().enumerate() {
        for study in 0..2 {
            for series in 0..2 {
                for n in 0..2 {
                    let (patient, st) = (format!("P{p}"), format!("1.{p}.{study}"));
                    let (se, sop) = (format!("2.{p}.{study}.{series}"), format!("3.{p}.{study}.{series}.{n}"));
                    let mut new = instance(db, [&patient, &st, &se, &sop]).await;
                    new.tags[0].put(tags::PATIENT_NAME, *name);
                    new.tags[0].put(tags::PATIENT_SEX, ["F", "M"][p % 2]);
                    new.tags[1].put(tags::STUDY_DATE, format!("2024{:02}1{study}", p + 1));
                    new.tags[1].put(STUDY_TIME, format!("{:02}0000", 12 - p));
                    if p != 3 {
                        new.tags[1].put(tags::ACCESSION_NUMBER, format!("A{p}{study}"));
                        new.tags[1].put(tags::STUDY_DESCRIPTION, format!("Thorax {study} of {p}"));
                    }
                    new.tags[2].put(tags::MODALITY, ["CT", "SR"][series]);
                    new.tags[2].put(BODY_PART, "CHEST ");
                    new.tags[2].put(MANUFACTURER, ["Acme", "acme"][series]);
                    new.tags[3].put(tags::INSTANCE_NUMBER, (n * 10 + 1).to_string());
                    new.tags[3].put(ACQUISITION, format!(" {n}"));
                    if n == 1 {
                        new.tags[2].put(EXTRA, format!("Extra {p}"));
                        new.tags[3].put(EXTRA, "own");
                    } else {
                        new.tags[2].put(EXTRA, format!("Extra {p}"));
                    }
                    put_new(db, new).await;
                }
            }
        }
    }
}

/// The value of a tag at the level nearest to the resource's own.
fn value(resource: &Resource, tag: Tag) -> &str {
    resource.tags.iter().rev().find_map(|t| t.get(tag)).unwrap_or_default()
}

fn ids_of(found: &[Resource]) -> Vec<OrthancId> {
    found.iter().map(|r| r.id).collect()
}

/// The index answers as the rules of `model::matching` do, counts the same, and pages without loss.
async fn check(db: &dyn Index, request: &FindRequest) -> Vec<Resource> {
    let found = db.find(request).await.unwrap();
    let everything = all(db, request.level).await;
    let holds = |resource: &Resource, c: &TagConstraint| {
        if c.tag == tags::MODALITIES_IN_STUDY {
            let study = everything_of(&everything, resource);
            return study.iter().any(|m| matches(&c.rule, m, c.case_sensitive));
        }
        matches(&c.rule, value(resource, c.tag), c.case_sensitive)
    };
    let expected: BTreeSet<_> = everything.iter().filter(|r| request.tags.iter().all(|c| holds(r, c))).map(|r| r.id).collect();
    if request.related_to.is_empty()
        && request.metadata.is_empty()
        && request.labels.is_empty()
        && request.labels_rule != LabelsRule::None
    {
        assert_eq!(ids_of(&found).into_iter().collect::<BTreeSet<_>>(), expected, "{request:?}");
    }
    assert_eq!(db.count(request).await.unwrap(), found.len() as u64, "{request:?}");
    let mut paged = vec![];
    while let page = db.find(&FindRequest { since: paged.len() as u64, limit: 3, ..request.clone() }).await.unwrap()
        && !page.is_empty()
    {
        paged.extend(page);
    }
    assert_eq!(ids_of(&paged), ids_of(&found), "{request:?}");
    found
}

fn everything_of(everything: &[Resource], resource: &Resource) -> Vec<String> {
    everything.iter().find(|r| r.id == resource.id).map(|r| r.modalities.clone()).unwrap_or_default()
}

/// Files of one PatientID may disagree about the rest: each study keeps, shows, finds and sorts by what its own files say.
async fn studies_keep_their_own_copy_of_the_patient(db: &mut Fresh) {
    const WEIGHT: Tag = Tag(0x0010, 0x1030);
    for (n, name) in ["World", "Foo", "Hello"].into_iter().enumerate() {
        let (study, series, sop) = (format!("1.{n}"), format!("2.{n}"), format!("3.{n}"));
        let mut new = instance(&**db, ["COMMON", &study, &series, &sop]).await;
        new.tags[0].put(tags::PATIENT_NAME, name);
        new.tags[0].put(WEIGHT, name);
        new.tags[1].put(tags::STUDY_DESCRIPTION, name);
        put_new(&**db, new).await;
    }
    let patients = all(&**db, Level::Patient).await;
    assert_eq!(patients.len(), 1);
    assert_eq!(value(&patients[0], tags::PATIENT_NAME), "World", "the first one is the patient's");
    for level in [Level::Study, Level::Series, Level::Instance] {
        for resource in all(&**db, level).await {
            assert_eq!(value(&resource, tags::PATIENT_NAME), value(&resource, tags::STUDY_DESCRIPTION));
        }
        for (tag, case_sensitive) in [(tags::PATIENT_NAME, true), (tags::PATIENT_NAME, false), (WEIGHT, true), (WEIGHT, false)] {
            let rule = Rule::OneOf(vec!["Foo".into(), "Hello".into()]);
            let found = check(&**db, &tagged(level, tag, rule, case_sensitive)).await;
            assert_eq!(found.len(), 2);
        }
        let key = OrderBy { key: OrderKey::Tag(WEIGHT), cast: OrderAs::Text, descending: false };
        let name = OrderBy { key: OrderKey::Tag(tags::PATIENT_NAME), ..key };
        for order in [key, name] {
            let request = FindRequest { order: vec![order], fields: Fields::ALL, ..FindRequest::all(level) };
            let found = db.find(&request).await.unwrap();
            let names: Vec<&str> = found.iter().map(|r| value(r, tags::PATIENT_NAME)).collect();
            assert_eq!(names, ["Foo", "Hello", "World"]);
        }
    }
}

fn tagged(level: Level, tag: Tag, rule: Rule, case_sensitive: bool) -> FindRequest {
    FindRequest { tags: vec![TagConstraint { tag, rule, case_sensitive, or_unkept: None }], ..FindRequest::all(level) }
}

fn single(text: &str) -> Rule {
    Rule::Single(text.into())
}

fn wild(text: &str) -> Rule {
    Rule::Wildcard(text.into())
}

fn range(from: Option<&str>, to: Option<&str>) -> Rule {
    Rule::Range { from: from.map(Into::into), to: to.map(Into::into) }
}

async fn every_rule_at_every_level(db: &mut Fresh) {
    fill(&**db).await;
    let rules = [
        single("müller^éva"),
        single(" DOE^JOHN JR "),
        single("P2"),
        single("1.2.1"),
        single("20240310"),
        single("CT"),
        single("acme"),
        single("Extra 4"),
        single("own"),
        single("nobody"),
        single(""),
        wild("m*"),
        wild("M?LLER*"),
        wild("*^e*"),
        wild("*^É*"),
        wild("山*"),
        wild("*太*"),
        wild("O'NEIL^[A]*"),
        wild("*[A]*"),
        wild("*%*"),
        wild("?P*"),
        wild("P?"),
        wild("2024*"),
        wild("1.2.*"),
        wild("A?1"),
        wild("*"),
        wild("C*T"),
        range(Some("20240201"), Some("20240415")),
        range(Some("20240315"), None),
        range(None, Some("20240211")),
        range(Some("D"), Some("N")),
        range(Some("Z"), Some("A")),
        Rule::OneOf(vec!["p1".into(), "P4".into(), "nobody".into()]),
        Rule::OneOf(vec!["CT".into(), "MR".into()]),
        Rule::OneOf(vec!["1.0.0".into(), "3.5.1.1.1".into()]),
        Rule::OneOf(vec![]),
        Rule::OneOf(vec![String::new(), "A00".into()]),
    ];
    let tags_of = |level: Level| {
        let all = [
            vec![tags::PATIENT_ID, tags::PATIENT_NAME, tags::PATIENT_SEX],
            vec![tags::STUDY_INSTANCE_UID, tags::STUDY_DATE, STUDY_TIME, tags::ACCESSION_NUMBER, tags::STUDY_DESCRIPTION],
            vec![tags::SERIES_INSTANCE_UID, tags::MODALITY, BODY_PART, MANUFACTURER, EXTRA],
            vec![tags::SOP_INSTANCE_UID, tags::INSTANCE_NUMBER, ACQUISITION],
        ];
        all.into_iter().take(level as usize + 1).flatten().collect::<Vec<_>>()
    };
    for level in Level::ALL {
        for tag in tags_of(level) {
            for rule in &rules {
                for case_sensitive in [false, true] {
                    check_quickly(&**db, &tagged(level, tag, rule.clone(), case_sensitive)).await;
                }
            }
        }
    }
}

/// As [`check`], without paging.
async fn check_quickly(db: &dyn Index, request: &FindRequest) {
    let request = FindRequest { fields: Fields { parent_tags: true, ..Fields::NONE }, ..request.clone() };
    let everything = db.find(&FindRequest { tags: vec![], ..request.clone() }).await.unwrap();
    let c = &request.tags[0];
    let expected: Vec<_> =
        everything.iter().filter(|r| matches(&c.rule, value(r, c.tag), c.case_sensitive)).map(|r| r.id).collect();
    let found = ids_of(&db.find(&request).await.unwrap());
    assert_eq!(found, expected, "{request:?}");
}

async fn rules_are_joined_and_paged(db: &mut Fresh) {
    fill(&**db).await;
    let constraint = |tag, rule| TagConstraint { tag, rule, case_sensitive: false, or_unkept: None };
    for level in Level::ALL.into_iter().skip(1) {
        let found = check(
            &**db,
            &FindRequest {
                tags: vec![
                    constraint(tags::PATIENT_NAME, wild("m*")),
                    constraint(tags::STUDY_DATE, range(Some("20240101"), Some("20240131"))),
                    constraint(tags::STUDY_DESCRIPTION, wild("*thorax*")),
                ],
                ..FindRequest::all(level)
            },
        )
        .await;
        assert_eq!(found.len(), [0, 2, 4, 8][level as usize]);
    }
    check(&**db, &FindRequest::all(Level::Instance)).await;
    check(&**db, &tagged(Level::Study, tags::PATIENT_NAME, wild("*E*"), false)).await;
    check(&**db, &tagged(Level::Study, tags::PATIENT_NAME, wild("*E*"), true)).await;
}

async fn modalities_in_study(db: &mut Fresh) {
    fill(&**db).await;
    let mut other = instance(&**db, ["P0", "1.0.0", "2.mr", "3.mr"]).await;
    other.tags[2].put(tags::MODALITY, "MR");
    put_new(&**db, other).await;
    for (rule, studies) in [
        (single("mr"), 1),
        (single("CT"), 12),
        (single("T"), 0),
        (wild("?R"), 12),
        (Rule::OneOf(vec!["MR".into(), "US".into()]), 1),
    ] {
        let found = check(&**db, &tagged(Level::Study, tags::MODALITIES_IN_STUDY, rule.clone(), false)).await;
        assert_eq!(found.len(), studies, "{rule:?}");
    }
    let series = tagged(Level::Series, tags::MODALITIES_IN_STUDY, single("MR"), false);
    assert_eq!(db.find(&series).await.unwrap().len(), 3, "all series of the study");
    assert_eq!(db.find(&tagged(Level::Study, tags::MODALITIES_IN_STUDY, single("mr"), true)).await.unwrap().len(), 0);
}

async fn related_resources(db: &mut Fresh) {
    fill(&**db).await;
    let of = ids(["P1", "1.1.0", "2.1.0.1", "3.1.0.1.1"]);
    let number = async |level, related: &[(Level, OrthancId)]| {
        let request = FindRequest { related_to: related.to_vec(), ..FindRequest::all(level) };
        check(&**db, &request).await.len()
    };
    for above in Level::ALL {
        let below = [[1, 2, 4, 8], [1, 1, 2, 4], [1, 1, 1, 2], [1, 1, 1, 1]][above as usize];
        for level in Level::ALL {
            assert_eq!(number(level, &[(above, of.at(above))]).await, below[level as usize], "{level:?} related to {above:?}");
        }
    }
    assert_eq!(number(Level::Series, &[(Level::Patient, of.patient), (Level::Instance, of.instance)]).await, 1);
    let stranger = ids(["P2", "1.2.0", "", ""]);
    assert_eq!(number(Level::Series, &[(Level::Patient, stranger.patient), (Level::Instance, of.instance)]).await, 0);
    assert_eq!(number(Level::Series, &[(Level::Study, OrthancId::patient("nobody"))]).await, 0);
    assert_eq!(number(Level::Study, &[(Level::Study, of.study), (Level::Study, stranger.study)]).await, 0);
    // A filter holds for the resource itself, too.
    let mut request = FindRequest::one(Level::Study, of.study, Fields::NONE);
    request.tags = tagged(Level::Study, tags::PATIENT_ID, single("P2"), false).tags;
    assert!(db.find(&request).await.unwrap().is_empty());
    request.tags.clear();
    request.since = 1;
    assert!(db.find(&request).await.unwrap().is_empty());
}

async fn orders(db: &mut Fresh) {
    fill(&**db).await;
    let by = |key, cast, descending| OrderBy { key, cast, descending };
    let sorted = async |level, order: Vec<OrderBy>| {
        check(&**db, &FindRequest { order, fields: Fields::ALL, ..FindRequest::all(level) }).await
    };
    let dates = |found: &[Resource]| found.iter().map(|r| value(r, tags::STUDY_DATE).to_owned()).collect::<Vec<_>>();
    for descending in [false, true] {
        for level in [Level::Study, Level::Series] {
            let found = sorted(level, vec![by(OrderKey::Tag(tags::STUDY_DATE), OrderAs::Text, descending)]).await;
            let mut expected = dates(&found);
            expected.sort();
            if descending {
                expected.reverse();
            }
            assert_eq!(dates(&found), expected);
        }
    }
    // 1 before 11 as text and as a number; " 0" before " 1".
    let key = vec![
        by(OrderKey::Tag(tags::INSTANCE_NUMBER), OrderAs::Integer, true),
        by(OrderKey::Tag(ACQUISITION), OrderAs::Float, false),
        by(OrderKey::Tag(tags::SOP_INSTANCE_UID), OrderAs::Text, false),
    ];
    let found = sorted(Level::Instance, key).await;
    let numbers: Vec<_> = found.iter().map(|r| value(r, tags::INSTANCE_NUMBER)).collect();
    assert_eq!((numbers[..24].to_vec(), numbers[24..].to_vec()), (vec!["11"; 24], vec!["1"; 24]));
    // Absent values last, by creation.
    for descending in [false, true] {
        for cast in [OrderAs::Text, OrderAs::Integer, OrderAs::Float] {
            for tag in [tags::ACCESSION_NUMBER, tags::STUDY_DESCRIPTION] {
                let found = sorted(Level::Study, vec![by(OrderKey::Tag(tag), cast, descending)]).await;
                assert_eq!(dates(&found)[10..], ["20240410".to_owned(), "20240411".to_owned()]);
            }
        }
    }
    // Ties keep the order of creation in both directions.
    let plain = ids_of(&all(&**db, Level::Series).await);
    for descending in [false, true] {
        let found = sorted(Level::Series, vec![by(OrderKey::Tag(BODY_PART), OrderAs::Text, descending)]).await;
        assert_eq!(ids_of(&found), plain);
    }
    let user = MetadataKind(1024);
    let study = ids(["P3", "1.3.0", "", ""]).study;
    db.set_metadata(Level::Study, study, user, "10", Expect::Anything).await.unwrap();
    let other = ids(["P4", "1.4.0", "", ""]).study;
    db.set_metadata(Level::Study, other, user, "9", Expect::Anything).await.unwrap();
    let first_two =
        async |cast| ids_of(&sorted(Level::Study, vec![by(OrderKey::Metadata(user), cast, false)]).await)[..2].to_vec();
    assert_eq!(first_two(OrderAs::Text).await, [study, other]);
    assert_eq!(first_two(OrderAs::Integer).await, [other, study]);
    let updated = vec![by(OrderKey::Metadata(MetadataKind::LAST_UPDATE), OrderAs::Text, true)];
    for level in Level::ALL {
        let found = sorted(level, updated.clone()).await;
        assert!(!found.is_empty());
    }
}

async fn metadata_constraints(db: &mut Fresh) {
    fill(&**db).await;
    let user = MetadataKind(1024);
    let study = ids(["P3", "1.3.0", "", ""]).study;
    db.set_metadata(Level::Study, study, user, "Reading Room", Expect::Anything).await.unwrap();
    db.set_metadata(Level::Study, study, user, "Reading room", Expect::Anything).await.unwrap();
    for (kind, rule, case_sensitive, expected) in [
        (user, single("READING ROOM"), false, 1),
        (user, single("READING ROOM"), true, 0),
        (user, single("Reading room"), true, 1),
        (user, wild("read*"), false, 1),
        (MetadataKind(1025), wild("read*"), false, 0),
        (MetadataKind::LAST_UPDATE, wild("20*T*"), false, 12),
        (MetadataKind::LAST_UPDATE, range(Some("2999"), None), false, 0),
        (MetadataKind::MAIN_DICOM_TAGS_SIGNATURE, single("st"), true, 12),
    ] {
        let metadata = vec![MetadataConstraint { kind, rule: rule.clone(), case_sensitive }];
        let found = check(&**db, &FindRequest { metadata, ..FindRequest::all(Level::Study) }).await;
        assert_eq!(found.len(), expected, "{kind:?} {rule:?}");
    }
}

async fn label_constraints(db: &mut Fresh) {
    fill(&**db).await;
    let none = BTreeSet::new();
    let study = |p: usize| ids([&format!("P{p}"), &format!("1.{p}.0"), "", ""]).study;
    for (p, labels) in [(0, set(["a"])), (1, set(["a", "b"])), (2, set(["b", "c"]))] {
        db.change_labels(Level::Study, study(p), &labels, &none).await.unwrap();
    }
    for (labels, rule, expected) in [
        (vec!["a"], LabelsRule::All, 2),
        (vec!["a", "b"], LabelsRule::All, 1),
        (vec!["a", "c"], LabelsRule::All, 0),
        (vec!["a"], LabelsRule::Any, 2),
        (vec!["a", "b"], LabelsRule::Any, 3),
        (vec!["z"], LabelsRule::Any, 0),
        (vec!["a"], LabelsRule::None, 10),
        (vec!["a", "c"], LabelsRule::None, 9),
        (vec![], LabelsRule::Any, 12),
        (vec![], LabelsRule::None, 9),
    ] {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        let request = FindRequest { labels, labels_rule: rule, ..FindRequest::all(Level::Study) };
        assert_eq!(check(&**db, &request).await.len(), expected, "{request:?}");
        let named = FindRequest { tags: tagged(Level::Study, tags::PATIENT_ID, single("p1"), false).tags, ..request };
        check(&**db, &named).await;
    }
    let series = FindRequest { labels: vec!["a".into()], ..FindRequest::all(Level::Series) };
    assert_eq!(check(&**db, &series).await.len(), 0, "labels are not inherited");
}

async fn fields_are_loaded_as_asked(db: &mut Fresh) {
    fill(&**db).await;
    let id = ids(["P0", "1.0.0", "2.0.0.0", ""]).series;
    let bare = db.find(&FindRequest::one(Level::Series, id, Fields::NONE)).await.unwrap().remove(0);
    assert_eq!(bare.tags[..2], [TagMap::new(), TagMap::new()]);
    assert_eq!(value(&bare, tags::MODALITY), "CT");
    assert!(bare.children.is_empty() && bare.metadata.is_empty() && bare.attachments.is_empty());
    assert_eq!((bare.counts.instances, bare.size_bytes), (2, 2000));
    let full = get(&**db, Level::Series, id).await.unwrap();
    assert_eq!(value(&full, tags::PATIENT_NAME), "Müller^Éva");
    assert_eq!(value(&full, tags::STUDY_DESCRIPTION), "Thorax 0 of 0");
    assert_eq!((full.children.len(), full.metadata.len()), (2, 2));
}

async fn identifiers_are_looked_up(db: &mut Fresh) {
    fill(&**db).await;
    let of = ids(["P1", "1.1.0", "2.1.0.1", "3.1.0.1.1"]);
    for (text, expected) in [
        ("p1", vec![(Level::Patient, of.patient)]),
        ("1.1.0 ", vec![(Level::Study, of.study)]),
        ("a10", vec![(Level::Study, of.study)]),
        ("2.1.0.1", vec![(Level::Series, of.series)]),
        ("3.1.0.1.1", vec![(Level::Instance, of.instance)]),
        ("nobody", vec![]),
        ("", vec![]),
        ("P*", vec![]),
    ] {
        assert_eq!(db.lookup_identifier(text).await.unwrap(), expected, "{text}");
    }
    assert_eq!(db.level_of(OrthancId::patient("nobody")).await.unwrap(), None);
    // A text may be an identifier of several levels.
    put(&**db, ["X", "X", "X", "X"]).await;
    let levels: Vec<_> = db.lookup_identifier("x").await.unwrap().into_iter().map(|(l, _)| l).collect();
    assert_eq!(levels, Level::ALL);
}

/// A set of resources of one level with what is below them, each once, in the order of creation.
async fn among_a_set(db: &mut Fresh) {
    fill(&**db).await;
    let everything: Vec<Vec<Resource>> =
        vec![all(&**db, Level::Patient).await, all(&**db, Level::Study).await, all(&**db, Level::Series).await, {
            all(&**db, Level::Instance).await
        }];
    for level in Level::ALL {
        for above in &Level::ALL[..=level as usize] {
            let mut chosen: Vec<_> = everything[*above as usize].iter().rev().step_by(3).map(|r| r.id).collect();
            let expected = everything[level as usize].iter().filter(|r| chosen.contains(&r.lineage[*above as usize].unwrap()));
            let expected = ids_of(&expected.cloned().collect::<Vec<_>>());
            chosen.extend([chosen[0], OrthancId::patient("nobody")]);
            let request = FindRequest { among: Some((*above, chosen.clone())), ..FindRequest::all(level) };
            assert_eq!(ids_of(&db.find(&request).await.unwrap()), expected, "{above:?} {level:?}");
            assert_eq!(db.count(&request).await.unwrap(), expected.len() as u64);
            // Together with other conditions, all must hold.
            let one = everything[level as usize].iter().find(|r| r.id == expected[0]).unwrap();
            let study = (Level::Patient, one.lineage[0].unwrap());
            let narrower = FindRequest { related_to: vec![study], ..request.clone() };
            let below = everything[level as usize].iter().filter(|r| r.lineage[0] == one.lineage[0]);
            let below: Vec<_> =
                ids_of(&below.cloned().collect::<Vec<_>>()).into_iter().filter(|i| expected.contains(i)).collect();
            assert_eq!(ids_of(&db.find(&narrower).await.unwrap()), below);
            let of_patient = TagConstraint {
                tag: tags::PATIENT_ID,
                rule: Rule::Single(one.tags[0].get(tags::PATIENT_ID).unwrap().into()),
                case_sensitive: false,
                or_unkept: None,
            };
            let tagged = FindRequest { tags: vec![of_patient], ..request };
            assert_eq!(ids_of(&db.find(&tagged).await.unwrap()), below);
        }
        let nothing = FindRequest { among: Some((Level::Patient, vec![])), ..FindRequest::all(level) };
        assert_eq!((db.find(&nothing).await.unwrap().len(), db.count(&nothing).await.unwrap()), (0, 0));
    }
    let many = everything[3].iter().cycle().take(20_000).map(|r| r.id).collect();
    let request = FindRequest { among: Some((Level::Instance, many)), ..FindRequest::all(Level::Instance) };
    assert_eq!(db.find(&request).await.unwrap().len(), 48);
}

/// Three instances: one whose row says that it keeps `Rows`, with and without a value; one whose row does not say so.
async fn tags_that_some_rows_do_not_keep(db: &mut Fresh) {
    let rows = dataset::Tag(0x0028, 0x0010);
    let kept =
        |level: Level| BTreeMap::from([(MetadataKind::MAIN_DICOM_TAGS_SIGNATURE, format!("0010,0020;0028,0010;{level:?}"))]);
    for (path, has) in [(["P", "1", "2", "3"], true), (["P", "1", "2", "4"], false)] {
        let mut new = instance(&**db, path).await;
        new.metadata = Level::ALL.map(kept);
        if has {
            Level::ALL.iter().for_each(|level| new.tags[*level as usize].put(rows, "512"));
        }
        put_new(&**db, new).await;
    }
    put(&**db, ["P", "5", "6", "7"]).await;
    let found = async |level, or_unkept| {
        let tags = vec![TagConstraint { tag: rows, rule: single("512"), case_sensitive: false, or_unkept }];
        let request = FindRequest { tags, ..FindRequest::all(level) };
        let found = db.find(&request).await.unwrap().len() as u64;
        assert_eq!(db.count(&request).await.unwrap(), found);
        found
    };
    // A patient is described once, by its first instance; each study has its own copy, and every series here says something.
    for (level, certain, possible) in
        [(Level::Patient, 1, 1), (Level::Study, 1, 2), (Level::Series, 1, 2), (Level::Instance, 2, 3)]
    {
        assert_eq!((found(level, None).await, found(level, Some(level)).await), (certain, possible), "{level:?}");
    }
    assert_eq!(found(Level::Study, Some(Level::Patient)).await, 2, "the copy of the other study lacks it");
    let fields = Fields { parent_metadata: true, metadata: true, ..Fields::NONE };
    for one in db.find(&FindRequest { fields, ..FindRequest::all(Level::Instance) }).await.unwrap() {
        let signature = |level| one.metadata_at(level, MetadataKind::MAIN_DICOM_TAGS_SIGNATURE).unwrap();
        let other = one.id == OrthancId::instance("P", "5", "6", "7");
        let expected = if other { "se".to_owned() } else { kept(Level::Series).into_values().next().unwrap() };
        assert_eq!(signature(Level::Series), expected);
        assert_eq!(signature(Level::Patient), kept(Level::Patient).into_values().next().unwrap());
        assert_eq!(signature(Level::Instance).contains("0028,0010"), !other);
    }
    let study = db.find(&FindRequest { limit: 1, ..FindRequest::all(Level::Study) }).await.unwrap().remove(0);
    assert!(study.parent_metadata.iter().all(BTreeMap::is_empty), "only if it is asked for");
}

async fn a_walk_sees_everything_once(db: &mut Fresh) {
    let all = async |db: &Fresh, level| {
        let (mut seen, mut after) = (vec![], 0);
        loop {
            let page = db.walk(level, after, 2).await.unwrap();
            let Some((last, _)) = page.last() else { return seen };
            assert!(page.len() <= 2 && *last > after);
            after = *last;
            seen.extend(page.into_iter().map(|(_, id)| id));
        }
    };
    assert_eq!(all(db, Level::Study).await, []);
    fill(&**db).await;
    for level in Level::ALL {
        assert_eq!(all(db, level).await, ids_of(&db.find(&FindRequest::all(level)).await.unwrap()), "{level:?}");
    }
    let studies = all(db, Level::Study).await;
    db.delete(Level::Study, studies[1]).await.unwrap();
    let (left, instances) = (all(db, Level::Study).await, all(db, Level::Instance).await);
    assert_eq!((left.len() + 1, left.contains(&studies[1])), (studies.len(), false));
    assert_eq!(instances, ids_of(&db.find(&FindRequest::all(Level::Instance)).await.unwrap()));
}

for_each_index!(
    tags_that_some_rows_do_not_keep,
    a_walk_sees_everything_once,
    every_rule_at_every_level,
    rules_are_joined_and_paged,
    studies_keep_their_own_copy_of_the_patient,
    modalities_in_study,
    related_resources,
    among_a_set,
    orders,
    metadata_constraints,
    label_constraints,
    fields_are_loaded_as_asked,
    identifiers_are_looked_up,
);
