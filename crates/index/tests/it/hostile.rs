//! Values from outside that try to break SQL, JSON, patterns or sizes.

use crate::fixture::*;
use crate::for_each_index;
use dataset::Tag;
use model::ports::index::Expect;
use model::query::{Rule, TagConstraint};
use model::{ErrorKind, Fields, FindRequest, Level, MetadataKind, tags};
use std::collections::BTreeSet;

const VALUES: [&str; 14] = [
    "A\0B",
    "\0\0",
    "'; DROP TABLE study; --",
    "\"quoted\" \\ back\\slash",
    "50%_off",
    "[a-z]*",
    "a*b?c",
    "]][[",
    "{\"0\":1}",
    "\u{1}\u{7f}\u{ffff}",
    "ß straße ŉ",
    "\u{10FFFF}*",
    "  padded \t value \r\n ",
    "ＦＵＬＬ　ＷＩＤＴＨ",
];

async fn values_come_back_and_are_found(db: &mut Fresh) {
    let long = "é1".repeat(50_000);
    let values: Vec<&str> = VALUES.iter().copied().chain([long.as_str()]).collect();
    for (n, value) in values.iter().enumerate() {
        let path = [&format!("{value}{n}"), &format!("1.{n}"), "2", "3"].map(|s: &str| s.to_owned());
        let mut new = instance(&**db, [&path[0], &path[1], &path[2], &path[3]]).await;
        new.tags[0].put(tags::PATIENT_NAME, *value);
        new.tags[1].put(tags::STUDY_DESCRIPTION, *value);
        new.tags[2].put(Tag(0x0008, 0x0070), *value);
        new.tags[2].put(tags::MODALITY, *value);
        new.sop_class_uid = (*value).into();
        new.transfer_syntax_uid = (*value).into();
        new.blob.md5 = Some((*value).into());
        new.metadata[3].insert(MetadataKind(1024), (*value).into());
        let of = put_new(&**db, new).await;
        let clean = value.replace('\0', " ");
        db.set_metadata(Level::Study, of.study, MetadataKind(1025), value, Expect::Anything).await.unwrap();
        let labels: BTreeSet<String> = [value.to_string()].into();
        db.change_labels(Level::Study, of.study, &labels, &BTreeSet::new()).await.unwrap();
        let study = get(&**db, Level::Study, of.study).await.unwrap();
        assert_eq!(study.tags[0].get(tags::PATIENT_NAME), Some(clean.as_str()));
        assert_eq!(study.metadata[&MetadataKind(1025)].value, clean);
        assert_eq!(study.labels, [clean.clone()].into());
        let labelled = FindRequest { labels: vec![value.to_string()], ..FindRequest::all(Level::Study) };
        assert_eq!(db.find(&labelled).await.unwrap().len(), 1, "{value:?}");
        let instance = get(&**db, Level::Instance, of.instance).await.unwrap();
        assert_eq!(instance.metadata[&MetadataKind(1024)].value, clean);
    }
    // Each value as a query of every kind answers as the rules say. (U+0000 in a query counts as the space that it became.)
    for value in values.iter().map(|v| v.replace('\0', " ")) {
        let rules = [
            Rule::Single(value.to_string()),
            Rule::Wildcard(value.to_string()),
            Rule::Wildcard(format!("{value}*")),
            Rule::Wildcard(format!("*{value}")),
            Rule::OneOf(vec![value.to_string(), "x".into()]),
            Rule::Range { from: Some(value.to_string()), to: Some(value.to_string()) },
        ];
        for rule in rules {
            for tag in [tags::PATIENT_NAME, tags::STUDY_DESCRIPTION, Tag(0x0008, 0x0070)] {
                for case_sensitive in [false, true] {
                    compare(&**db, TagConstraint { tag, rule: rule.clone(), case_sensitive, or_unkept: None }).await;
                }
            }
        }
    }
}

/// The index against `model::matching`, on what it says the values are.
async fn compare(db: &dyn model::ports::Index, constraint: TagConstraint) {
    let request = FindRequest { fields: Fields { parent_tags: true, ..Fields::NONE }, ..FindRequest::all(Level::Series) };
    let everything = db.find(&request).await.unwrap();
    let value = |r: &model::Resource| r.tags.iter().find_map(|t| t.get(constraint.tag)).unwrap_or_default().to_owned();
    let expected: Vec<_> = everything
        .iter()
        .filter(|r| model::matching::matches(&constraint.rule, &value(r), constraint.case_sensitive))
        .map(|r| r.id)
        .collect();
    let found = db.find(&FindRequest { tags: vec![constraint.clone()], ..request }).await;
    if constraint.case_sensitive && matches!(&constraint.rule, Rule::Wildcard(p) if p.len() > 4096) {
        assert_eq!(found.unwrap_err().kind(), ErrorKind::OutOfRange);
        return;
    }
    let found = found.unwrap();
    assert_eq!(found.iter().map(|r| r.id).collect::<Vec<_>>(), expected, "{constraint:.200?}");
}

async fn patterns_end(db: &mut Fresh) {
    let mut new = instance(&**db, ["P", "1", "2", "3"]).await;
    new.tags[0].put(tags::PATIENT_NAME, "a".repeat(10_000));
    put_new(&**db, new).await;
    for case_sensitive in [false, true] {
        let rule = Rule::Wildcard("*a".repeat(120) + "b");
        let tags = vec![TagConstraint { tag: tags::PATIENT_NAME, rule, case_sensitive, or_unkept: None }];
        assert!(db.find(&FindRequest { tags, ..FindRequest::all(Level::Study) }).await.unwrap().is_empty());
    }
}

async fn requests_may_be_extreme(db: &mut Fresh) {
    put(&**db, ["P", "1", "2", "3"]).await;
    let request = FindRequest { since: u64::MAX, limit: u64::MAX, ..FindRequest::all(Level::Study) };
    assert!(db.find(&request).await.unwrap().is_empty());
    let many: Vec<String> = (0..50_000).map(|n| format!("1.{n}")).chain(["1".into()]).collect();
    let tags =
        vec![TagConstraint { tag: tags::STUDY_INSTANCE_UID, rule: Rule::OneOf(many), case_sensitive: false, or_unkept: None }];
    assert_eq!(db.find(&FindRequest { tags, ..FindRequest::all(Level::Study) }).await.unwrap().len(), 1);
    assert_eq!(db.lookup_identifier(&"9".repeat(100_000)).await.unwrap(), []);
}

for_each_index!(values_come_back_and_are_found, patterns_end, requests_may_be_extreme);
