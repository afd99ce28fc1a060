-- One wide row per resource. `tags` and `metadata` are small JSON objects; *_norm columns hold what searches compare.
-- Uniqueness is by parent, so that a resource whose ancestor is deleted never collides with its successor.
CREATE TABLE patient (
    id INTEGER PRIMARY KEY,
    public_id BLOB NOT NULL UNIQUE,
    patient_id_norm TEXT NOT NULL,
    name_norm TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    labels TEXT NOT NULL DEFAULT '[]',
    protected INTEGER NOT NULL DEFAULT 0,
    study_count INTEGER NOT NULL DEFAULT 0,
    series_count INTEGER NOT NULL DEFAULT 0,
    instance_count INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_update TEXT NOT NULL,
    stable_at REAL NOT NULL,
    is_stable INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX patient_by_patient_id ON patient (patient_id_norm);
CREATE INDEX patient_by_name ON patient (name_norm);
CREATE INDEX patient_unstable ON patient (stable_at) WHERE is_stable = 0;

CREATE TABLE study (
    id INTEGER PRIMARY KEY,
    public_id BLOB NOT NULL UNIQUE,
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    study_uid_norm TEXT NOT NULL,
    study_date TEXT NOT NULL,
    accession_norm TEXT NOT NULL,
    description_norm TEXT NOT NULL,
    patient_id_norm TEXT NOT NULL,
    name_norm TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    labels TEXT NOT NULL DEFAULT '[]',
    modalities TEXT NOT NULL DEFAULT '',
    sop_classes TEXT NOT NULL DEFAULT '',
    series_count INTEGER NOT NULL DEFAULT 0,
    instance_count INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_update TEXT NOT NULL,
    stable_at REAL NOT NULL,
    is_stable INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX study_by_patient ON study (patient_id);
CREATE INDEX study_by_uid ON study (study_uid_norm);
CREATE INDEX study_by_date ON study (study_date);
CREATE INDEX study_by_accession ON study (accession_norm);
CREATE INDEX study_by_patient_id ON study (patient_id_norm);
CREATE INDEX study_by_name ON study (name_norm);
CREATE INDEX study_unstable ON study (stable_at) WHERE is_stable = 0;

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    public_id BLOB NOT NULL UNIQUE,
    study_id INTEGER NOT NULL REFERENCES study (id),
    series_uid_norm TEXT NOT NULL,
    modality_norm TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    labels TEXT NOT NULL DEFAULT '[]',
    sop_classes TEXT NOT NULL DEFAULT '',
    expected_instances INTEGER,
    completed INTEGER NOT NULL DEFAULT 0,
    instance_count INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_update TEXT NOT NULL,
    stable_at REAL NOT NULL,
    is_stable INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX series_by_study ON series (study_id);
CREATE INDEX series_by_uid ON series (series_uid_norm);
CREATE INDEX series_unstable ON series (stable_at) WHERE is_stable = 0;

CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    public_id BLOB NOT NULL UNIQUE,
    series_id INTEGER NOT NULL REFERENCES series (id),
    study_id INTEGER NOT NULL,
    sop_uid_norm TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    index_in_series INTEGER,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    labels TEXT NOT NULL DEFAULT '[]',
    blob BLOB NOT NULL,
    blob_size INTEGER NOT NULL,
    stored_size INTEGER NOT NULL,
    md5 TEXT NOT NULL,
    stored_md5 TEXT NOT NULL,
    compression INTEGER NOT NULL DEFAULT 0,
    pixel_offset INTEGER,
    tail_offset INTEGER
);
CREATE INDEX instance_by_series ON instance (series_id);
CREATE INDEX instance_by_study ON instance (study_id);
CREATE INDEX instance_by_uid ON instance (sop_uid_norm);

-- Everything but the DICOM file itself.
CREATE TABLE attachment (
    level INTEGER NOT NULL,
    resource_id INTEGER NOT NULL,
    content_type INTEGER NOT NULL,
    study_id INTEGER,
    blob BLOB NOT NULL,
    blob_size INTEGER NOT NULL,
    stored_size INTEGER NOT NULL,
    md5 TEXT NOT NULL,
    stored_md5 TEXT NOT NULL,
    compression INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (level, resource_id, content_type)
) WITHOUT ROWID;

-- AUTOINCREMENT: a number is never given twice, also after the feed was emptied.
CREATE TABLE change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    level INTEGER NOT NULL,
    public_id BLOB NOT NULL,
    date TEXT NOT NULL
);
CREATE INDEX change_by_resource ON change (public_id);

CREATE TABLE export_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    level INTEGER NOT NULL,
    public_id BLOB NOT NULL,
    remote TEXT NOT NULL,
    date TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    sop_uid TEXT NOT NULL
);

CREATE TABLE totals (
    shard INTEGER PRIMARY KEY,
    patients INTEGER NOT NULL,
    studies INTEGER NOT NULL,
    series INTEGER NOT NULL,
    instances INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL
);
INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0, 0);

CREATE TABLE blob_intent (blob BLOB PRIMARY KEY, node BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE deleted_blob (blob BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
