//! Metadata, attachments, labels, protection.

use crate::fixture::*;
use crate::for_each_index;
use model::ports::index::Expect;
use model::{Attachment, ChangeType, ContentType, ErrorKind, Level, MetadataKind, OrthancId};
use std::collections::BTreeSet;

const USER: MetadataKind = MetadataKind(1024);
const NOBODY: OrthancId = OrthancId([7; 20]);

async fn metadata_have_revisions(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    for level in Level::ALL {
        let id = of.at(level);
        let set = async |value: &str, expect| db.set_metadata(level, id, USER, value, expect).await.map_err(|e| e.kind());
        assert_eq!(set("a", Expect::Revision(None)).await, Ok(0));
        assert_eq!(set("b", Expect::Revision(None)).await, Err(ErrorKind::Revision));
        assert_eq!(set("b", Expect::Revision(Some(1))).await, Err(ErrorKind::Revision));
        assert_eq!(set("b", Expect::Revision(Some(0))).await, Ok(1));
        assert_eq!(set("c", Expect::Anything).await, Ok(2));
        let found = get(&**db, level, id).await.unwrap().metadata[&USER].clone();
        assert_eq!((found.value.as_str(), found.revision), ("c", 2));
        let delete = async |expect| db.delete_metadata(level, id, USER, expect).await.map_err(|e| e.kind());
        assert_eq!(delete(Expect::Revision(Some(0))).await, Err(ErrorKind::Revision));
        assert_eq!(delete(Expect::Revision(Some(2))).await, Ok(()));
        assert_eq!(delete(Expect::Anything).await, Err(ErrorKind::InexistentItem));
        assert_eq!(set("d", Expect::Revision(Some(9))).await, Ok(0), "nothing is there");
        let changes = feed(&**db).await.into_iter().filter(|c| c.id == id && c.kind == ChangeType::UpdatedMetadata).count();
        assert_eq!(changes, 5);
    }
    let unknown = db.set_metadata(Level::Study, NOBODY, USER, "x", Expect::Anything).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownResource);
    let unknown = db.delete_metadata(Level::Instance, of.series, USER, Expect::Anything).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownResource, "the level counts");
}

async fn own_metadata_make_no_change(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let before = feed(&**db).await.len();
    db.set_metadata(Level::Study, of.study, MetadataKind::ORIGIN, "x", Expect::Anything).await.unwrap();
    assert_eq!(feed(&**db).await.len(), before);
    let refused = db.set_metadata(Level::Study, of.study, MetadataKind::LAST_UPDATE, "x", Expect::Anything).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadRequest);
}

async fn attachments_have_revisions_and_sizes(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let kind = ContentType(1024);
    for level in Level::ALL {
        let id = of.at(level);
        let first = blob(&**db).await;
        let set = async |blob, bytes, expect| {
            db.set_attachment(level, id, attachment(blob, kind, bytes), expect).await.map_err(|e| e.kind())
        };
        assert_eq!(set(first, 10, Expect::Revision(None)).await, Ok(0));
        assert_consistent(&**db).await;
        assert_eq!(set(blob(&**db).await, 99, Expect::Revision(None)).await, Err(ErrorKind::Revision));
        assert_eq!(set(first, 99, Expect::Anything).await, Err(ErrorKind::Busy), "the name was used");
        let second = blob(&**db).await;
        assert_eq!(set(second, 30, Expect::Revision(Some(0))).await, Ok(1));
        assert_eq!(db.deleted_blobs(10, std::time::Duration::ZERO).await.unwrap(), [first]);
        db.forget_deleted_blobs(&[first]).await.unwrap();
        let found = get(&**db, level, id).await.unwrap();
        let mine = found.attachments.iter().find(|a| a.content_type == kind).unwrap();
        assert_eq!((mine.id, mine.size_bytes, mine.revision), (second, 30, 1));
        assert_consistent(&**db).await;
        let delete = async |expect| db.delete_attachment(level, id, kind, expect).await.map_err(|e| e.kind());
        assert_eq!(delete(Expect::Revision(Some(0))).await, Err(ErrorKind::Revision));
        assert_eq!(delete(Expect::Revision(Some(1))).await, Ok(()));
        assert_eq!(delete(Expect::Anything).await, Err(ErrorKind::InexistentItem));
        db.forget_deleted_blobs(&[second]).await.unwrap();
        let changes = feed(&**db).await.into_iter().filter(|c| c.id == id && c.kind == ChangeType::UpdatedAttachment).count();
        assert_eq!(changes, 3);
        assert_consistent(&**db).await;
    }
    let sizes = db.totals().await.unwrap();
    assert_eq!((sizes.size_bytes, sizes.stored_size_bytes), (1000, 1000));
}

async fn the_dicom_file_can_be_replaced(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let old = get(&**db, Level::Instance, of.instance).await.unwrap().attachments.remove(0);
    let mut new = attachment(blob(&**db).await, ContentType::DICOM, 1000);
    (new.stored_size_bytes, new.stored_md5, new.compression) = (400, Some("ff".repeat(16)), model::Compression::Zlib);
    let revision = db.set_attachment(Level::Instance, of.instance, new.clone(), Expect::Revision(Some(0))).await.unwrap();
    new.revision = 1;
    assert_eq!(revision, 1);
    assert_eq!(get(&**db, Level::Instance, of.instance).await.unwrap().attachments, [new]);
    let statistics = db.resource_statistics(Level::Patient, of.patient).await.unwrap();
    assert_eq!((statistics.dicom_size_bytes, statistics.dicom_stored_size_bytes), (1000, 400));
    assert_eq!(db.deleted_blobs(10, std::time::Duration::ZERO).await.unwrap(), [old.id]);
    let kept = db.delete_attachment(Level::Instance, of.instance, ContentType::DICOM, Expect::Anything).await.unwrap_err();
    assert_eq!(kept.kind(), ErrorKind::BadRequest);
}

async fn md5s_are_noted_for_the_blob_that_they_are_of(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let found = async |level: Level, kind| {
        let all = get(&**db, level, of.at(level)).await.unwrap().attachments;
        all.into_iter().find(|a| a.content_type == kind).unwrap()
    };
    for level in Level::ALL {
        db.set_attachment(level, of.at(level), attachment(blob(&**db).await, ContentType(1024), 5), Expect::Anything)
            .await
            .unwrap();
    }
    let users = Level::ALL.map(|level| (level, ContentType(1024)));
    for (level, kind) in users.into_iter().chain([(Level::Instance, ContentType::DICOM)]) {
        let id = of.at(level);
        let unknown = found(level, kind).await;
        assert_eq!((&unknown.md5, &unknown.stored_md5), (&None, &None));
        assert_eq!(unknown.checksum, !unknown.size_bytes, "also one that is no positive SQL integer");
        let before = (feed(&**db).await, get(&**db, level, id).await.unwrap().metadata);
        let known = Attachment { md5: Some("aa".repeat(16)), stored_md5: Some("bb".repeat(16)), ..unknown.clone() };
        for _ in 0..2 {
            db.note_md5s(level, id, known.clone()).await.unwrap();
            assert_eq!(found(level, kind).await, known);
        }
        assert_eq!((feed(&**db).await, get(&**db, level, id).await.unwrap().metadata), before, "nothing else changed");
        // Another process read what is replaced by now, or is looking for what is gone.
        let replaced = Attachment { id: blob(&**db).await, md5: None, stored_md5: None, ..known.clone() };
        db.set_attachment(level, id, replaced.clone(), Expect::Anything).await.unwrap();
        db.note_md5s(level, id, known.clone()).await.unwrap();
        db.note_md5s(level, NOBODY, Attachment { id: replaced.id, ..known.clone() }).await.unwrap();
        assert_eq!(found(level, kind).await, Attachment { revision: known.revision + 1, ..replaced });
    }
    // A file that is stored without any MD5 stays so.
    let mut none = instance(&**db, ["P", "1", "2", "4"]).await;
    (none.blob.md5, none.blob.stored_md5) = (Some(String::new()), Some(String::new()));
    let expected = none.blob.clone();
    let other = put_new(&**db, none).await;
    assert_eq!(get(&**db, Level::Instance, other.instance).await.unwrap().attachments, [expected]);
    assert_consistent(&**db).await;
}

async fn labels_come_and_go(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let set = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<BTreeSet<_>>();
    for level in Level::ALL {
        db.change_labels(level, of.at(level), &set(&["b", "a"]), &set(&[])).await.unwrap();
        db.change_labels(level, of.at(level), &set(&["a", "c"]), &set(&["b", "zz"])).await.unwrap();
        assert_eq!(get(&**db, level, of.at(level)).await.unwrap().labels, set(&["a", "c"]));
    }
    db.change_labels(Level::Study, of.study, &set(&["é"]), &set(&[])).await.unwrap();
    assert_eq!(db.labels().await.unwrap(), set(&["a", "c", "é"]));
    let unknown = db.change_labels(Level::Study, NOBODY, &set(&["a"]), &set(&[])).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownResource);
}

async fn patients_are_protected(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    for protected in [true, true, false] {
        db.set_protected(of.patient, protected).await.unwrap();
        assert_eq!(get(&**db, Level::Patient, of.patient).await.unwrap().is_protected, protected);
    }
    assert_eq!(db.set_protected(of.study, true).await.unwrap_err().kind(), ErrorKind::UnknownResource);
}

for_each_index!(
    metadata_have_revisions,
    own_metadata_make_no_change,
    attachments_have_revisions_and_sizes,
    the_dicom_file_can_be_replaced,
    md5s_are_noted_for_the_blob_that_they_are_of,
    labels_come_and_go,
    patients_are_protected,
);
