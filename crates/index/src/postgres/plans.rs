//! The plans of statements under the settings of our connections, which make generic ones: at 10^5 instances, nothing large is
//! scanned.

use super::tests::{config, server};
use super::*;
use crate::find_sql::{Dialect, Param, Scope, What, build};
use dataset::Tag;
use model::query::{LabelsRule, OrderAs, OrderBy, OrderKey, Rule, TagConstraint};
use model::tags;

/// 5,000 patients, 10,000 studies, 20,000 series, 100,000 instances and their changes, 300,000 jobs that wait. (One
/// transaction that adds so many jobs to the outbox reads what it removed there again and again: it is left out.)
const FILL: &str = "
    INSERT INTO patient (id, public_id, patient_id, name, last_update, stable_at, is_stable, tags, metadata)
        SELECT v, decode(md5('p' || v) || '00000000', 'hex'), 'P' || v, 'NAME' || v % 83, 0, 0, true, '{}', '{}' FROM generate_series(0, 4999) v;
    INSERT INTO study (id, patient, public_id, study_uid, study_date, accession, patient_tags, patient_id, name, description, last_update,
            update_slot, stable_at, is_stable, modalities, tags, metadata)
        SELECT v, v / 2, decode(md5('s' || v) || '00000000', 'hex'), '1.' || v, 20240101 + v % 1000, 'A' || v, '{}', 'P' || v / 2,
            'NAME' || v % 83, 'CT THORAX', v, v / 256, 0, true, '[\"CT\"]', '{}', '{}' FROM generate_series(0, 9999) v;
    INSERT INTO series (id, study, public_id, series_uid, modality, last_update, stable_at, is_stable, tags, metadata)
        SELECT v, v / 2, decode(md5('e' || v) || '00000000', 'hex'), '2.' || v, 'CT', 0, 0, true, '{}', '{}' FROM generate_series(0, 19999) v;
    INSERT INTO instance (series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes, dicom_stored_bytes, checksum, size_bytes,
            stored_bytes, tags, metadata)
        SELECT v / 5, decode(md5('i' || v) || '00000000', 'hex'), '3.' || v, '', gen_random_uuid(), 1, 1, 1, 0, 1, 1, '{}', '{}'
        FROM generate_series(0, 99999) v;
    INSERT INTO change (seq, type, level, resource, public_id, at) SELECT id, 2, 3, id, public_id, 0 FROM instance;
    INSERT INTO label (label, level, resource) SELECT 'l' || id % 1000, 1, id FROM study;
    INSERT INTO blob_node (node, alive_until) SELECT gen_random_uuid(), now() FROM generate_series(1, 3);
    INSERT INTO blob_intent (prefix, node, settled)
        SELECT decode(left(md5(n.node::text || v), 28), 'hex'), n.node, B'0' FROM generate_series(1, 300) v, blob_node n;
    ALTER TABLE job DISABLE TRIGGER USER;
    INSERT INTO job (id, kind, version, priority, created_at, content, arguments, state)
        SELECT gen_random_uuid(), 'Test', 1, v % 10, 0, '{}', '{}', 'P' FROM generate_series(1, 300000) v;
    ALTER TABLE job ENABLE TRIGGER USER;";

/// Tables that must not be read whole.
const LARGE: [&str; 6] = ["patient", "study", "series", "instance", "change", "job"];

struct Lab(PostgresIndex);

impl Lab {
    async fn run(&self, script: &str) {
        pool::get(&self.0.pool).await.unwrap().batch_execute(script).await.unwrap();
    }

    /// The plan of a statement, as PostgreSQL makes it once for all values.
    async fn plan(&self, statement: &str, params: &[Param]) -> String {
        let types: Vec<_> = params.iter().map(|p| if matches!(p, Param::Int(_)) { "int8" } else { "text" }).collect();
        let value = |p: &Param| match p {
            Param::Int(n) => n.to_string(),
            Param::Text(text) => format!("'{}'", text.replace('\'', "''")),
        };
        let values: Vec<_> = params.iter().map(value).collect();
        let brackets = |list: &[_]| if list.is_empty() { String::new() } else { format!("({})", list.join(", ")) };
        let types: Vec<String> = types.into_iter().map(str::to_owned).collect();
        let client = pool::get(&self.0.pool).await.unwrap();
        client.batch_execute(&format!("PREPARE explained {} AS {statement}", brackets(&types))).await.unwrap();
        let rows = client.query(&format!("EXPLAIN (COSTS OFF) EXECUTE explained {}", brackets(&values)), &[]).await.unwrap();
        client.batch_execute("DEALLOCATE explained").await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
    }

    async fn assert_plan(&self, statement: &str, params: &[Param], expected: &str) {
        let plan = self.plan(statement, params).await;
        assert!(plan.contains(expected), "{expected:?} expected\n{statement}\n{plan}");
        for table in LARGE {
            let scan = format!("Seq Scan on {table}");
            let scans = plan.lines().any(|line| line.contains(&scan) && !line.contains(&format!("{scan}_")));
            assert!(!scans, "{statement}\n{plan}");
        }
    }

    async fn assert_find(&self, request: &FindRequest, expected: &str) {
        let search = build(Dialect::Postgres, request, Scope { related: &[], among: None, hidden: true }, What::Ids);
        self.assert_plan(&find::statement(request, &search), &search.params, expected).await;
        let search = build(Dialect::Postgres, request, Scope { related: &[], among: None, hidden: true }, What::Count);
        if request.order.is_empty() && !request.tags.is_empty() {
            self.assert_plan(&search.sql, &search.params, expected).await;
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
    FindRequest { tags: tags.collect(), limit: 100, fields: model::Fields::ALL, ..FindRequest::all(level) }
}

fn is(text: &str) -> Rule {
    Rule::Single(text.into())
}

fn like(text: &str) -> Rule {
    Rule::Wildcard(text.into())
}

async fn searches(lab: &Lab) {
    let day = || Rule::Range { from: Some("20240103".into()), to: Some("20240103".into()) };
    for level in [Level::Study, Level::Series, Level::Instance] {
        for (constraints, index) in [
            (vec![(tags::PATIENT_ID, is("P7"))], "study_patient_id"),
            (vec![(tags::STUDY_INSTANCE_UID, is("1.7"))], "study_study_uid"),
            (vec![(tags::ACCESSION_NUMBER, is("A7"))], "study_accession"),
            (vec![(tags::PATIENT_NAME, like("NAME7*"))], "study_name"),
            (vec![(tags::PATIENT_NAME, like("*AME7*"))], "study_name"),
            (vec![(tags::STUDY_DESCRIPTION, like("*THOR*"))], "study_description"),
            (vec![(tags::STUDY_DATE, day())], "study_study_date"),
            (vec![(tags::STUDY_DATE, day()), (tags::MODALITIES_IN_STUDY, is("CT"))], "study_study_date"),
            (vec![(tags::STUDY_DATE, day()), (tags::PATIENT_ID, is("P7"))], "study_patient_id"),
        ] {
            lab.assert_find(&with(level, &constraints), index).await;
        }
    }
    for (level, tag, rule, index) in [
        (Level::Patient, tags::PATIENT_ID, is("P7"), "patient_patient_id"),
        (Level::Patient, tags::PATIENT_NAME, like("NAME7*"), "patient_name"),
        (Level::Patient, tags::PATIENT_NAME, like("*AME7*"), "patient_name_trgm"),
        (Level::Study, tags::PATIENT_NAME, like("*AME7*"), "study_name_trgm"),
        // Without three letters in a row there is no trigram to look for.
        (Level::Study, tags::PATIENT_NAME, like("*E7*"), "Filter: ((name || ''::text) ~~"),
        (Level::Series, tags::SERIES_INSTANCE_UID, is("2.7"), "series_series_uid"),
        (Level::Instance, tags::SOP_INSTANCE_UID, is("3.7"), "instance_sop_uid"),
    ] {
        lab.assert_find(&with(level, &[(tag, rule)]), index).await;
    }
    for (key, descending, index) in [
        (OrderKey::Tag(tags::STUDY_DATE), true, "study_study_date_down"),
        (OrderKey::Tag(tags::STUDY_DATE), false, "study_study_date"),
        (OrderKey::Tag(tags::PATIENT_NAME), true, "study_name_down"),
        (OrderKey::Metadata(MetadataKind::LAST_UPDATE), true, "study_update_slot"),
    ] {
        let order = vec![OrderBy { key, cast: OrderAs::Text, descending }];
        lab.assert_find(&FindRequest { order, ..with(Level::Study, &[]) }, index).await;
    }
    for (level, index) in Level::ALL.into_iter().zip(["patient_pkey", "study_pkey", "series_pkey", "instance_pkey"]) {
        lab.assert_find(&with(level, &[]), index).await;
    }
    let labelled = FindRequest { labels: vec!["l7".into()], labels_rule: LabelsRule::All, ..with(Level::Study, &[]) };
    lab.assert_find(&labelled, "label_label").await;
    lab.assert_plan(find::LOOKUP, &[Param::Text("1.7".into())], "instance_sop_uid").await;
}

async fn feeds_and_sweeps(lab: &Lab) {
    let some = [ChangeType::StableStudy, ChangeType::NewStudy];
    for (kinds, index) in [(&some[..0], "change_pkey"), (&some[..1], "change_type"), (&some[..2], "change_type")] {
        for to in [None, Some(9)] {
            let (statement, values) = feed::changes_sql(&ChangesRequest { since: 0, to, limit: 10, kinds: kinds.to_vec() });
            lab.assert_plan(&statement, &values.map(Param::Int), index).await;
        }
    }
    lab.assert_plan(upkeep::WORK, &[], "study_unstable").await;
    let due = "SELECT r.id FROM study r WHERE NOT r.is_stable AND r.stable_at <= $1 LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED";
    lab.assert_plan(due, &[Param::Int(1), Param::Int(500)], "study_unstable").await;
    let below = "SELECT r.id FROM instance r WHERE r.series = ANY (ARRAY(SELECT e.id FROM series e WHERE e.study = $1)) LIMIT $2";
    lab.assert_plan(below, &[Param::Int(1), Param::Int(500)], "instance_series").await;
    let victim =
        "SELECT r.public_id FROM patient r WHERE r.deleted = 0 AND NOT r.protected AND r.public_id <> ALL ('{}'::bytea[])
        ORDER BY r.recycle_slot, r.stable_at, r.id LIMIT 1 FOR NO KEY UPDATE";
    lab.assert_plan(victim, &[], "patient_recycling").await;
    lab.assert_plan(&blobs::sweep_sql(), &[], "blob_node_pkey").await;
}

/// The statement inside of `job_claim_1`, under the settings of that function.
async fn claims(lab: &Lab) {
    let claim = include_str!("functions/jobs_1.sql");
    let (settings, body) = claim.split_once("FUNCTION job_claim_1").unwrap().1.split_once("AS $claim$").unwrap();
    let settings: Vec<_> = settings.split(" SET ").skip(1).map(|s| format!("SET {s};")).collect();
    assert_eq!(settings.len(), 3, "{settings:?}");
    for (part, index) in [("j.crashes >= 2", "job_suspect"), ("j.crashes < 2", "job_pending")] {
        let statement = body.split("ARRAY(").find(|s| s.contains(part)).unwrap().split(");").next().unwrap();
        let statement = statement
            .replace("(j.pin IS NULL OR j.pin = a_node)", "(j.pin IS NULL OR j.pin = $1::uuid)")
            .replace("ANY (may)", "ANY ($2::text[])")
            .replace("newer", "$3::int8")
            .replace("a_most", "$4::int8");
        let client = pool::get(&lab.0.pool).await.unwrap();
        client.batch_execute(&settings.join("")).await.unwrap();
        client.batch_execute(&format!("PREPARE claim AS {statement}")).await.unwrap();
        let values = "(gen_random_uuid(), '{Test}', -1, 3)";
        let rows = client.query(&format!("EXPLAIN (COSTS OFF) EXECUTE claim {values}"), &[]).await.unwrap();
        client.batch_execute("DEALLOCATE claim; RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_sort").await.unwrap();
        let plan = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
        assert!(plan.contains(&format!("Index Scan using {index} on job")), "{plan}");
        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{plan}");
    }
}

/// Pages of the list of jobs, in both directions: indexes are read in the order of the page, so that nothing but the page is sorted.
async fn pages(lab: &Lab) {
    let client = pool::get(&lab.0.pool).await.unwrap();
    for newest_first in [true, false] {
        client
            .batch_execute(&format!("PREPARE page (text, text[], int8, int8) AS {}", job_rows::page_sql(newest_first)))
            .await
            .unwrap();
        let execute = format!("EXECUTE page (NULL, '{{P,S}}', {}, 50)", if newest_first { i64::MAX } else { 0 });
        let rows = client.query(&format!("EXPLAIN (COSTS OFF) {execute}"), &[]).await.unwrap();
        let plan = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
        let scan =
            if newest_first { "Index Scan Backward using job_list on job j" } else { "Index Scan using job_list on job j" };
        assert!(plan.contains(scan) && plan.contains("job_pkey") && !plan.contains("Seq Scan on job"), "{plan}");
        // Neither the jobs of one kind and state nor their rows are sorted, whatever the planner believes of their number.
        let inner = plan.lines().position(|line| line.contains(scan)).unwrap();
        assert!(plan.lines().nth(inner - 1).unwrap().trim_start().starts_with("->  Limit"), "{plan}");
        assert_eq!(client.query(&execute, &[]).await.unwrap().len(), 50);
        client.batch_execute("DEALLOCATE page").await.unwrap();
    }
}

#[tokio::test]
async fn plans_read_nothing_large() {
    let Some(server) = server() else { return };
    let lab = Lab(assemble(&config(server)).await.unwrap());
    lab.run(FILL).await;
    lab.run("ANALYZE").await;
    searches(&lab).await;
    feeds_and_sweeps(&lab).await;
    claims(&lab).await;
    pages(&lab).await;
    lab.0.close().await;
}
