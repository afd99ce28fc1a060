//! Fresh indexes, synthetic instances, and the recount.

use model::instance::{InstanceIds, Origin, Overwrite};
use model::ports::Index;
use model::{
    Attachment, AttachmentId, Change, ChangesRequest, Compression, ContentType, Fields, FindRequest, Level, MetadataKind,
    NewInstance, OrthancId, Resource, StoreStatus, TagMap, Totals, tags,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

/// One index on a database of its own.
pub struct Fresh {
    index: Option<Arc<dyn Index>>,
    alone: bool,
    open: Box<dyn Fn() -> Arc<dyn Index> + Send + Sync>,
    /// Makes the database see that the process is gone.
    end: Box<dyn Fn() + Send + Sync>,
}

impl Fresh {
    /// For tasks.
    pub fn shared(&self) -> Arc<dyn Index> {
        self.index.clone().expect("open")
    }

    /// Whether one process has the database for itself.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Opens the database again as another process would, after this one ended without closing.
    pub fn restart(&mut self) {
        self.index = None;
        (self.end)();
        self.index = Some((self.open)());
    }
}

impl std::ops::Deref for Fresh {
    type Target = dyn Index;

    fn deref(&self) -> &Self::Target {
        &**self.index.as_ref().expect("open")
    }
}

/// A new SQLite file.
pub fn sqlite() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let options =
        index::sqlite::Options { stable_age: Duration::from_secs(3600), readers: 3, ..index::sqlite::Options::default() };
    let open = move || index::sqlite::open(&folder.path().join("pleiad.sqlite"), options).unwrap();
    Fresh { index: Some(open()), alone: true, open: Box::new(open), end: Box::new(|| {}) }
}

/// A new schema on the server of `tests/with-postgres`. Without it the tests fail where they must run, and say that they are skipped
/// elsewhere.
pub async fn postgres() -> Option<Fresh> {
    let Ok(uri) = std::env::var("PLEIAD_TEST_POSTGRES") else {
        let must = ["CI", "PLEIAD_REQUIRE_POSTGRES"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(!must, "PLEIAD_TEST_POSTGRES is not set: run tests/with-postgres");
        eprintln!("SKIPPED: PLEIAD_TEST_POSTGRES is not set (run tests/with-postgres)");
        return None;
    };
    let schema = format!("t_{}", AttachmentId::random().0.simple());
    let expire = format!("UPDATE {schema}.blob_node SET alive_until = now() - interval '1 hour'");
    let config = index::postgres::PostgresConfig {
        server: index::postgres::Server::Uri(uri.clone()),
        schema,
        connections: 8,
        application_name: String::new(),
        retries: 0,
        retry_interval: Duration::ZERO,
        stable_age: Duration::from_secs(3600),
    };
    let open = move || block_on(index::postgres::open(&config)).unwrap();
    let end = move || {
        block_on(async {
            let (client, connection) = tokio_postgres::connect(&uri, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&expire).await.unwrap();
        });
    };
    Some(Fresh { index: Some(open()), alone: false, open: Box::new(open), end: Box::new(end) })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// The identifiers of an instance: patient, study, series, SOP instance.
pub type Path<'a> = [&'a str; 4];

pub fn ids([patient, study, series, sop]: Path<'_>) -> InstanceIds {
    InstanceIds {
        patient: OrthancId::patient(patient),
        study: OrthancId::study(patient, study),
        series: OrthancId::series(patient, study, series),
        instance: OrthancId::instance(patient, study, series, sop),
    }
}

/// A CT instance of 1000 bytes. Its blob is reserved.
pub async fn instance(db: &dyn Index, path: Path<'_>) -> NewInstance {
    instance_with(blob(db).await, path)
}

/// The same with a blob of the caller's.
pub fn instance_with(blob: AttachmentId, path: Path<'_>) -> NewInstance {
    let [patient, study, series, sop] = path;
    let mut own: [TagMap; 4] = Default::default();
    own[0].put(tags::PATIENT_ID, patient);
    own[0].put(tags::PATIENT_NAME, format!("DOE^{patient}"));
    own[1].put(tags::STUDY_INSTANCE_UID, study);
    own[2].put(tags::SERIES_INSTANCE_UID, series);
    own[2].put(tags::MODALITY, "CT");
    own[3].put(tags::SOP_INSTANCE_UID, sop);
    let metadata = |text: &str| BTreeMap::from([(MetadataKind::MAIN_DICOM_TAGS_SIGNATURE, text.to_owned())]);
    NewInstance {
        ids: ids(path),
        tags: own,
        sop_class_uid: CT.into(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".into(),
        expected_instances: None,
        index_in_series: None,
        metadata: [metadata("p"), metadata("st"), metadata("se"), metadata("i")],
        origin: Origin::default(),
        blob: attachment(blob, ContentType::DICOM, 1000),
        pixel_offset: Some(700),
        tail_offset: None,
        overwrite: Overwrite::Never,
    }
}

/// An uncompressed attachment whose MD5s nobody has asked for.
pub fn attachment(id: AttachmentId, content_type: ContentType, bytes: u64) -> Attachment {
    Attachment {
        id,
        content_type,
        compression: Compression::None,
        size_bytes: bytes,
        stored_size_bytes: bytes,
        checksum: !bytes,
        md5: None,
        stored_md5: None,
        revision: 0,
    }
}

/// One reserved name.
pub async fn blob(db: &dyn Index) -> AttachmentId {
    db.reserve_blobs(1).await.unwrap().0[0]
}

/// Stores a plain instance that is not there yet.
pub async fn put(db: &dyn Index, path: Path<'_>) -> InstanceIds {
    let new = instance(db, path).await;
    put_new(db, new).await
}

/// Stores an instance that is not there yet.
pub async fn put_new(db: &dyn Index, new: NewInstance) -> InstanceIds {
    let stored = db.store_instance(new).await.unwrap();
    assert_eq!((stored.status, stored.keeps_blob), (StoreStatus::Success, true));
    stored.ids
}

/// One resource with everything.
pub async fn get(db: &dyn Index, level: Level, id: OrthancId) -> Option<Resource> {
    db.find(&FindRequest::one(level, id, Fields::ALL)).await.unwrap().pop()
}

/// All resources of a level with everything.
pub async fn all(db: &dyn Index, level: Level) -> Vec<Resource> {
    db.find(&FindRequest { fields: Fields::ALL, ..FindRequest::all(level) }).await.unwrap()
}

/// The whole feed.
pub async fn feed(db: &dyn Index) -> Vec<Change> {
    db.changes(&ChangesRequest { limit: u32::MAX, ..Default::default() }).await.unwrap().changes
}

/// Every counter, sum and list against what is really there.
pub async fn assert_consistent(db: &dyn Index) {
    let levels = [
        all(db, Level::Patient).await,
        all(db, Level::Study).await,
        all(db, Level::Series).await,
        all(db, Level::Instance).await,
    ];
    let instances = &levels[3];
    let totals = db.totals().await.unwrap();
    let sum = |f: fn(&Resource) -> u64, at: usize| levels[at].iter().map(f).sum::<u64>();
    // The sizes of parents contain all below: patients contain everything.
    let expected = Totals {
        patients: levels[0].len() as u64,
        studies: levels[1].len() as u64,
        series: levels[2].len() as u64,
        instances: instances.len() as u64,
        stored_size_bytes: sum(|r| r.stored_size_bytes, 0),
        size_bytes: sum(|r| r.size_bytes, 0),
    };
    assert_eq!(totals, expected, "global totals");
    for (at, level) in Level::ALL.into_iter().enumerate() {
        assert_eq!(db.count(&FindRequest::all(level)).await.unwrap(), levels[at].len() as u64);
        for resource in &levels[at] {
            assert_resource(db, &levels, resource).await;
        }
    }
    for change in feed(db).await {
        assert!(levels[change.level as usize].iter().any(|r| r.id == change.id), "a change of a missing resource: {change:?}");
    }
}

async fn assert_resource(db: &dyn Index, levels: &[Vec<Resource>; 4], resource: &Resource) {
    let at = resource.level as usize;
    let below = |l: usize| levels[l].iter().filter(move |r| r.lineage[at] == Some(resource.id));
    let id = resource.id;
    assert_eq!(resource.lineage[at], Some(id));
    assert_eq!(db.level_of(id).await.unwrap(), Some(resource.level));
    let own = |f: fn(&Attachment) -> u64| resource.attachments.iter().map(f).sum::<u64>();
    let mut size = own(|a| a.size_bytes);
    let mut stored = own(|a| a.stored_size_bytes);
    if let Some(child) = resource.level.child() {
        let children: Vec<OrthancId> = below(child as usize).map(|r| r.id).collect();
        assert_eq!(resource.children, children, "children of {id}");
        size += below(child as usize).map(|r| r.size_bytes).sum::<u64>();
        stored += below(child as usize).map(|r| r.stored_size_bytes).sum::<u64>();
        assert!(!children.is_empty(), "an empty {:?}", resource.level);
        for child in &children {
            assert!(resource.lineage[..=at].iter().all(Option::is_some), "lineage of {child}");
        }
    }
    assert_eq!((resource.size_bytes, resource.stored_size_bytes), (size, stored), "sizes of {:?} {id}", resource.level);
    let number = |l: usize| if l > at { below(l).count() as u64 } else { 0 };
    let counts = resource.counts;
    let instances = if at == 3 { 0 } else { number(3) };
    assert_eq!((counts.studies, counts.series, counts.instances), (number(1), number(2), instances), "{:?} {id}", resource.level);
    let statistics = db.resource_statistics(resource.level, id).await.unwrap();
    assert_eq!((statistics.counts, statistics.size_bytes, statistics.stored_size_bytes), (counts, size, stored));
    let dicom: u64 =
        if at == 3 { resource.attachments[0].size_bytes } else { below(3).map(|r| r.attachments[0].size_bytes).sum() };
    assert_eq!(statistics.dicom_size_bytes, dicom);
    if resource.level == Level::Study {
        let modalities: BTreeSet<_> =
            below(2).filter_map(|r| r.tags[2].get(tags::MODALITY).map(str::trim)).filter(|m| !m.is_empty()).collect();
        assert_eq!(resource.modalities, Vec::from_iter(modalities));
    }
    if matches!(resource.level, Level::Study | Level::Series) {
        let classes: BTreeSet<_> =
            below(3).filter_map(|r| r.metadata.get(&MetadataKind::SOP_CLASS_UID)).map(|m| m.value.clone()).collect();
        if !classes.is_empty() {
            assert_eq!(resource.sop_classes, Vec::from_iter(classes));
        }
    }
}
