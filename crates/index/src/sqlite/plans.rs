//! The plan of every query of the port, at 10^5 instances and without statistics: an index is used, nothing large is scanned.

use super::jobs::{self, Which};
use super::open::{self, Durability};
use super::{feed, find, nodes, quota, upkeep};
use crate::find_sql::{Dialect, Scope, What, build};
use dataset::Tag;
use model::query::{LabelsRule, MetadataConstraint, OrderAs, OrderBy, OrderKey, Rule, TagConstraint};
use model::{ChangeType, ChangesRequest, FindRequest, Level, MetadataKind, tags};
use rusqlite::{Connection, params_from_iter};

/// 500 patients, 1000 studies, 2000 series, 100,000 instances and their changes.
const FILL: &str = "
    WITH RECURSIVE n (v) AS (SELECT 0 UNION ALL SELECT v + 1 FROM n WHERE v < 499)
    INSERT INTO patient (id, public_id, patient_id, name, last_update, tags, metadata)
        SELECT v, randomblob(20), 'P' || v, 'NAME' || v % 83, 0, '{}', '{}' FROM n;
    WITH RECURSIVE n (v) AS (SELECT 0 UNION ALL SELECT v + 1 FROM n WHERE v < 999)
    INSERT INTO study (id, patient, public_id, study_uid, study_date, accession, patient_tags, patient_id, name, last_update, tags,
            metadata)
        SELECT v, v / 2, randomblob(20), '1.' || v, 20240101 + v % 28, 'A' || v, '{}', 'P' || v / 2, 'NAME' || v % 83, v, '{}', '{}' FROM n;
    WITH RECURSIVE n (v) AS (SELECT 0 UNION ALL SELECT v + 1 FROM n WHERE v < 1999)
    INSERT INTO series (id, study, public_id, series_uid, modality, last_update, tags, metadata)
        SELECT v, v / 2, randomblob(20), '2.' || v, 'CT', 0, '{}', '{}' FROM n;
    WITH RECURSIVE n (v) AS (SELECT 0 UNION ALL SELECT v + 1 FROM n WHERE v < 99999)
    INSERT INTO instance (id, series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes, dicom_stored_bytes, checksum,
            size_bytes, stored_bytes, tags, metadata)
        SELECT v, v / 50, randomblob(20), '3.' || v, '', randomblob(16), 1, 1, 1, 0, 1, 1, '{}', '{}' FROM n;
    INSERT INTO change (type, level, resource, public_id, at) SELECT 2, 3, id, public_id, 0 FROM instance;
    INSERT INTO label (label, level, resource) SELECT 'l', 1, id FROM study WHERE id < 10;";

struct Index {
    conn: Connection,
    _folder: tempfile::TempDir,
}

impl Index {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let conn = open::writer(&folder.path().join("pleiad.sqlite"), Durability::None).unwrap();
        conn.execute_batch(&format!("BEGIN; {FILL} COMMIT;")).unwrap();
        Self { conn, _folder: folder }
    }

    /// The steps of a statement, tables and subqueries in order.
    fn plan<P: rusqlite::Params>(&self, statement: &str, values: P) -> Vec<String> {
        let mut explained = self.conn.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        explained.query_map(values, |r| r.get(3)).unwrap().map(Result::unwrap).collect()
    }

    /// The plan begins with `first`, reads nothing large without an index, and sorts only if `first` ends in ` sorted`.
    fn assert_plan<P: rusqlite::Params>(&self, statement: &str, values: P, first: &str) {
        let plan = self.plan(statement, values);
        let (first, sorted) = first.strip_suffix(" sorted").map_or((first, false), |f| (f, true));
        assert!(plan[0].starts_with(first), "{first:?} expected\n{statement}\n{plan:#?}");
        for step in &plan {
            let scans = step.starts_with("SCAN") && !step.contains("VIRTUAL TABLE") && !step.contains("CONSTANT ROW");
            assert!(!scans || step.starts_with(first), "{statement}\n{plan:#?}");
        }
        let sorts = plan.iter().any(|s| s.contains("USE TEMP B-TREE FOR ORDER BY"));
        assert_eq!(sorts, sorted, "{statement}\n{plan:#?}");
    }

    fn assert_find(&self, request: &FindRequest, related: &[(Level, i64)], first: &str) {
        for (what, hidden) in [(What::Ids, true), (What::Count, true), (What::Ids, false), (What::Count, false)] {
            let search = build(Dialect::Sqlite, request, Scope { related, among: None, hidden }, what);
            let first = if what == What::Count { first.trim_end_matches(" sorted") } else { first };
            self.assert_plan(&search.sql, params_from_iter(&search.params), first);
        }
    }
}

fn with(level: Level, constraints: &[(Tag, Rule)]) -> FindRequest {
    let tags = constraints.iter().map(|(tag, rule)| TagConstraint {
        tag: *tag,
        rule: rule.clone(),
        case_sensitive: false,
        or_unkept: None,
    });
    FindRequest { tags: tags.collect(), limit: 100, ..FindRequest::all(level) }
}

fn is(text: &str) -> Rule {
    Rule::Single(text.into())
}

fn like(text: &str) -> Rule {
    Rule::Wildcard(text.into())
}

#[test]
fn searches_use_their_best_index() {
    let index = Index::new();
    let day = || Rule::Range { from: Some("20240103".into()), to: Some("20240104".into()) };
    let name = |pattern: &str| (tags::PATIENT_NAME, like(pattern));
    for level in [Level::Study, Level::Series, Level::Instance] {
        // The driver's own order is that of the answer only at its own level, for one value.
        let sorted = |plan: &str| format!("{plan} sorted");
        let exact = |plan: &str| if level == Level::Study { plan.to_owned() } else { format!("{plan} sorted") };
        for (constraints, first) in [
            (vec![(tags::PATIENT_ID, is("P7"))], exact("SEARCH st USING COVERING INDEX study_patient_id (patient_id=?)")),
            (vec![(tags::STUDY_INSTANCE_UID, is("1.7"))], exact("SEARCH st USING COVERING INDEX study_study_uid (study_uid=?)")),
            (vec![(tags::ACCESSION_NUMBER, is("A7"))], exact("SEARCH st USING COVERING INDEX study_accession (accession=?)")),
            (vec![name("NAME7*")], sorted("SEARCH st USING COVERING INDEX study_name (name>? AND name<?)")),
            (
                vec![(tags::STUDY_DATE, day())],
                sorted("SEARCH st USING COVERING INDEX study_study_date (study_date>? AND study_date<?)"),
            ),
            (vec![name("*AME7*")], sorted("SCAN st USING COVERING INDEX study_name")),
            (
                vec![name("*AME7*"), (tags::STUDY_DATE, day()), (tags::PATIENT_SEX, is("F"))],
                sorted("SEARCH st USING INDEX study_study_date (study_date>? AND study_date<?)"),
            ),
            (
                vec![(tags::STUDY_DATE, day()), (tags::PATIENT_ID, is("P7")), name("N*")],
                exact("SEARCH st USING INDEX study_patient_id (patient_id=?)"),
            ),
            (
                vec![(tags::STUDY_DATE, day()), (tags::MODALITIES_IN_STUDY, is("CT"))],
                sorted("SEARCH st USING INDEX study_study_date (study_date>? AND study_date<?)"),
            ),
            (
                vec![(tags::STUDY_INSTANCE_UID, Rule::OneOf(vec!["1.1".into(), "1.2".into()]))],
                sorted("SEARCH st USING COVERING INDEX study_study_uid (study_uid=?)"),
            ),
        ] {
            index.assert_find(&with(level, &constraints), &[], &first);
        }
    }
    for (level, tag, text, first) in [
        (Level::Patient, tags::PATIENT_ID, "P7", "SEARCH p USING COVERING INDEX patient_patient_id (patient_id=?)"),
        (Level::Patient, tags::PATIENT_NAME, "NAME7", "SEARCH p USING COVERING INDEX patient_name (name=?)"),
        (Level::Series, tags::SERIES_INSTANCE_UID, "2.7", "SEARCH se USING COVERING INDEX series_series_uid (series_uid=?)"),
        (Level::Series, tags::MODALITY, "CT", "SEARCH se USING COVERING INDEX series_modality (modality=?)"),
        (Level::Instance, tags::SOP_INSTANCE_UID, "3.7", "SEARCH i USING "),
        (
            Level::Instance,
            tags::SERIES_INSTANCE_UID,
            "2.7",
            "SEARCH se USING COVERING INDEX series_series_uid (series_uid=?) sorted",
        ),
    ] {
        index.assert_find(&with(level, &[(tag, is(text))]), &[], first);
    }
    // Case-sensitive: the index narrows, the value decides.
    let mut exact = with(Level::Study, &[name("Name7*")]);
    exact.tags[0].case_sensitive = true;
    index.assert_find(&exact, &[], "SEARCH st USING INDEX study_name (name>? AND name<?) sorted");
}

#[test]
fn relations_labels_and_orders_use_an_index() {
    let index = Index::new();
    let all = |level| FindRequest { limit: 50, ..FindRequest::all(level) };
    for (level, related, first) in [
        (Level::Instance, (Level::Study, 7), "SEARCH st USING INTEGER PRIMARY KEY (rowid=?) sorted"),
        (Level::Instance, (Level::Series, 7), "SEARCH se USING INTEGER PRIMARY KEY (rowid=?) sorted"),
        (Level::Series, (Level::Patient, 7), "SEARCH p USING INTEGER PRIMARY KEY (rowid=?) sorted"),
        (Level::Study, (Level::Instance, 7), "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"),
    ] {
        let plan = build(Dialect::Sqlite, &all(level), Scope { related: &[related], among: None, hidden: true }, What::Ids);
        let steps = index.plan(&plan.sql, params_from_iter(&plan.params));
        assert!(steps[0].starts_with(first.trim_end_matches(" sorted")), "{steps:#?}");
        assert!(steps.iter().all(|s| !s.starts_with("SCAN")), "{steps:#?}");
    }
    for (level, among, first) in [
        (Level::Instance, Level::Study, "SEARCH st USING INTEGER PRIMARY KEY (rowid=?)"),
        (Level::Instance, Level::Instance, "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"),
        (Level::Series, Level::Series, "SEARCH se USING INTEGER PRIMARY KEY (rowid=?)"),
    ] {
        for what in [What::Ids, What::Count] {
            let scope = Scope { related: &[], among: Some((among, &[7, 8])), hidden: true };
            let plan = build(Dialect::Sqlite, &all(level), scope, what);
            let steps = index.plan(&plan.sql, params_from_iter(&plan.params));
            assert!(steps[0].starts_with(first), "{steps:#?}");
            let only_the_list = |s: &String| !s.starts_with("SCAN") || s.starts_with("SCAN json_each");
            assert!(steps.iter().all(only_the_list), "{steps:#?}");
        }
    }
    let labelled = FindRequest { labels: vec!["l".into(), "m".into()], ..all(Level::Study) };
    index.assert_find(&labelled, &[], "SEARCH dl USING PRIMARY KEY (label=? AND level=?)");
    let any = FindRequest { labels_rule: LabelsRule::Any, ..labelled };
    index.assert_find(&any, &[], "SCAN st");
    let by = |key, descending| vec![OrderBy { key, cast: OrderAs::Text, descending }];
    for descending in [false, true] {
        for (key, first) in [
            (OrderKey::Tag(tags::STUDY_DATE), "SCAN st USING COVERING INDEX study_study_date"),
            (OrderKey::Tag(tags::PATIENT_NAME), "SCAN st USING COVERING INDEX study_name"),
            (OrderKey::Metadata(MetadataKind::LAST_UPDATE), "SCAN st USING COVERING INDEX study_last_update"),
        ] {
            let request = FindRequest { order: by(key, descending), ..all(Level::Study) };
            let search = build(Dialect::Sqlite, &request, Scope { related: &[], among: None, hidden: true }, What::Ids);
            index.assert_plan(&search.sql, params_from_iter(&search.params), first);
        }
    }
    // Weak conditions are checked on the way through the order; a strong one drives, and its few answers are sorted.
    let mut weak = with(Level::Study, &[(tags::PATIENT_SEX, is("F")), (tags::STUDY_DESCRIPTION, like("*THORAX*"))]);
    weak.order = by(OrderKey::Tag(tags::STUDY_DATE), true);
    let search = build(Dialect::Sqlite, &weak, Scope { related: &[], among: None, hidden: true }, What::Ids);
    index.assert_plan(&search.sql, params_from_iter(&search.params), "SCAN st USING INDEX study_study_date");
    weak.tags.extend(with(Level::Study, &[(tags::PATIENT_ID, is("P7"))]).tags);
    let search = build(Dialect::Sqlite, &weak, Scope { related: &[], among: None, hidden: true }, What::Ids);
    index.assert_plan(
        &search.sql,
        params_from_iter(&search.params),
        "SEARCH st USING INDEX study_patient_id (patient_id=?) sorted",
    );
    // Pages of everything, and conditions without an index, go by the primary key and stop when the page is full.
    for level in Level::ALL {
        let first = ["SCAN p", "SCAN st", "SCAN se", "SCAN i"][level as usize];
        let mut request = all(level);
        index.assert_find(&request, &[], first);
        request.metadata = vec![MetadataConstraint { kind: MetadataKind(1024), rule: is("x"), case_sensitive: false }];
        index.assert_find(&request, &[], first);
    }
}

#[test]
fn other_reads_use_an_index() {
    let index = Index::new();
    for (level, statement) in find::LOOKUPS {
        let plan = index.plan(statement, ["x"]);
        assert!(plan[0].starts_with("SEARCH") && plan[0].contains("INDEX"), "{level:?} {plan:#?}");
        assert!(plan.iter().all(|s| !s.starts_with("SCAN")), "{plan:#?}");
    }
    for level in [Level::Patient, Level::Study, Level::Series] {
        let table = super::rows::table(level);
        let first = format!("SEARCH {table} USING INDEX {table}_stable_at (stable_at>? AND stable_at<?)");
        index.assert_plan(&upkeep::due_sql(level), [1, 1], &first);
    }
    index.assert_plan(quota::VICTIM, [[0_u8; 20]], "SCAN patient USING INDEX patient_recycling");
    let new = [ChangeType::StableStudy, ChangeType::NewStudy];
    for (kinds, step) in [
        (&new[..0], "SEARCH change USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (&new[..1], "SEARCH change USING INDEX change_type (type=? AND rowid>? AND rowid<?)"),
        (&new[..2], "SEARCH change USING INDEX change_type (type=? AND rowid>? AND rowid<?)"),
    ] {
        for to in [None, Some(9)] {
            let request = ChangesRequest { since: 0, to, limit: 10, kinds: kinds.to_vec() };
            let (statement, values) = feed::changes_sql(&request, "");
            let plan = index.plan(&statement, params_from_iter(values));
            let reads: Vec<_> = plan.iter().filter(|s| s.contains(" change")).collect();
            assert_eq!(reads, vec![step; kinds.len().max(1)], "{plan:#?}");
        }
    }
    // Each label is one jump.
    let plan = index.plan("SELECT min(label) FROM label WHERE label > ?1", ["l"]);
    assert_eq!(plan, ["SEARCH label USING PRIMARY KEY (label>?)"]);
}

#[test]
fn jobs_are_read_in_the_order_of_their_indexes() {
    let index = Index::new();
    for (which, first) in [
        (Which::Next(1), "SCAN job USING INDEX job_pending"),
        (Which::Suspect, "SCAN job USING INDEX job_suspect"),
        (Which::Row(1), "SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"),
    ] {
        index.assert_plan(&jobs::claim_sql(which), (&[0_u8; 16], "[]", 0, 1), first);
    }
    for newest_first in [false, true] {
        let range = if newest_first { "rowid<?" } else { "rowid>?" };
        let page = format!("SEARCH job USING COVERING INDEX job_list (kind=? AND state=? AND {range})");
        index.assert_plan(super::job_rows::page_sql(newest_first), ("k", "P", 0, 1), &page);
    }
    index.assert_plan(jobs::SURPLUS[0], [1, 1], "SEARCH job USING COVERING INDEX job_done (done_seq<?)");
    // Reads the newest outputs, in order, up to the limit.
    let outputs = index.plan(jobs::SURPLUS[1], [1, 1]);
    assert!(outputs.iter().all(|s| !s.contains("TEMP B-TREE")), "{outputs:#?}");
    assert_eq!(outputs[0], "SEARCH o USING COVERING INDEX job_output_used (used_seq<?)");
    index.assert_plan(nodes::ORPHANS, [1], "SCAN j USING INDEX job_running");
}
