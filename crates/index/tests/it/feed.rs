//! Pages of the change feed, and the log of exports.

use crate::fixture::*;
use crate::for_each_index;
use model::{ChangeType, ChangesRequest, ErrorKind, Exported, Level, OrthancId};

async fn pages_go_forwards_and_backwards(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await; // 1 to 4
    for _ in 0..3 {
        db.append_change(ChangeType::ModifiedStudy, Level::Study, of.study).await.unwrap(); // 5, 7, 9
        db.append_change(ChangeType::StableSeries, Level::Series, of.series).await.unwrap(); // 6, 8, 10
    }
    use ChangeType::{ModifiedStudy as M, NewPatient as P, StableSeries as S};
    let everything: Vec<i64> = feed(&**db).await.iter().map(|c| c.seq).collect();
    assert_eq!(everything, Vec::from_iter(1..=10));
    for (since, to, limit, kinds, expected, done) in [
        (0, None, 4, vec![], vec![1, 2, 3, 4], false),
        (4, None, 6, vec![], vec![5, 6, 7, 8, 9, 10], true),
        (9, None, 5, vec![], vec![10], true),
        (10, None, 5, vec![], vec![], true),
        (99, None, 5, vec![], vec![], true),
        (0, Some(10), 3, vec![], vec![8, 9, 10], false),
        (0, Some(3), 3, vec![], vec![1, 2, 3], true),
        (0, Some(5), 2, vec![], vec![4, 5], false),
        (4, Some(6), 5, vec![], vec![5, 6], true),
        (0, None, 2, vec![S], vec![6, 8], false),
        (6, None, 2, vec![S], vec![8, 10], true),
        (0, None, 10, vec![S, P], vec![4, 6, 8, 10], true),
        (4, None, 3, vec![S, M, S], vec![5, 6, 7], false),
        (0, Some(9), 2, vec![S, M], vec![8, 9], false),
        (0, Some(8), 9, vec![M], vec![5, 7], true),
        (0, None, 9, vec![ChangeType::StablePatient], vec![], true),
        (0, None, 0, vec![], vec![], false),
        (10, None, 0, vec![], vec![], true),
        (-5, None, 1, vec![], vec![1], false),
    ] {
        let page = db.changes(&ChangesRequest { since, to, limit, kinds: kinds.clone() }).await.unwrap();
        let seqs: Vec<i64> = page.changes.iter().map(|c| c.seq).collect();
        assert_eq!((seqs, page.done), (expected, done), "since {since} to {to:?} limit {limit} {kinds:?}");
        assert_eq!(page.last_seq, 10);
    }
    let line = &feed(&**db).await[5];
    assert_eq!((line.kind, line.level, line.id), (S, Level::Series, of.series));
    assert_eq!((line.date.len(), line.date.as_bytes()[8]), (15, b'T'));
    let last = db.last_change().await.unwrap();
    assert_eq!((last.changes[0].seq, last.last_seq, last.done), (10, 10, true));
}

async fn a_cleared_feed_goes_on(db: &mut Fresh) {
    put(&**db, ["P", "1", "2", "3"]).await;
    db.clear_changes().await.unwrap();
    let page = db.last_change().await.unwrap();
    assert_eq!((page.changes.len(), page.last_seq), (0, 4));
    db.restart();
    put(&**db, ["P", "1", "2", "4"]).await;
    let seqs: Vec<i64> = feed(&**db).await.iter().map(|c| c.seq).collect();
    assert_eq!(seqs, [5]);
    let unknown = db.append_change(ChangeType::ModifiedStudy, Level::Study, OrthancId([1; 20])).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownResource);
    assert_eq!(db.last_change().await.unwrap().last_seq, 5);
}

async fn exports_are_logged(db: &mut Fresh) {
    let export = |n: u8| Exported {
        seq: 0,
        level: Level::Series,
        id: OrthancId([n; 20]),
        remote: "PACS\0".into(),
        date: "20261124T101530".into(),
        patient_id: format!("P{n}"),
        study_uid: "1".into(),
        series_uid: "2".into(),
        sop_uid: String::new(),
    };
    assert!(db.last_export().await.unwrap().exports.is_empty());
    for n in 0..5 {
        db.append_export(export(n)).await.unwrap();
    }
    let page = db.exports(0, 3).await.unwrap();
    assert_eq!((page.exports.len(), page.done), (3, false));
    let next = db.exports(page.exports[2].seq, 3).await.unwrap();
    assert_eq!((next.exports.len(), next.done), (2, true));
    let last = db.last_export().await.unwrap().exports.remove(0);
    assert_eq!(last, next.exports[1]);
    assert_eq!(last, Exported { seq: last.seq, remote: "PACS ".into(), ..export(4) });
    db.clear_exports().await.unwrap();
    assert!(db.exports(0, 10).await.unwrap().exports.is_empty());
    db.append_export(export(9)).await.unwrap();
    assert!(db.last_export().await.unwrap().exports[0].seq > last.seq);
}

for_each_index!(pages_go_forwards_and_backwards, a_cleared_feed_goes_on, exports_are_logged);
