-- One row per resource. Text columns beside `tags`, `metadata` and `revisions` hold what `model::matching::normalize` makes of a
-- value, NULL if that is empty; `tags` holds the values themselves, as a JSON object keyed by `ggggeeee`. Sizes are bytes, `last_update` and `at` seconds,
-- `stable_at` milliseconds since 1970. A row with `deleted = 1` is invisible and waits for the sweep; so are the instances below it.

CREATE TABLE patient (
    id INTEGER PRIMARY KEY,
    deleted INTEGER NOT NULL DEFAULT 0,
    public_id BLOB NOT NULL,
    patient_id TEXT,
    name TEXT,
    birth_date TEXT,
    sex TEXT,
    study_count INTEGER NOT NULL DEFAULT 0,
    series_count INTEGER NOT NULL DEFAULT 0,
    instance_count INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    dicom_bytes INTEGER NOT NULL DEFAULT 0,
    dicom_stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_update INTEGER NOT NULL,
    stable_at INTEGER,
    protected INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    revisions TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE UNIQUE INDEX patient_public_id ON patient (public_id) WHERE deleted = 0;
CREATE INDEX patient_patient_id ON patient (patient_id) WHERE deleted = 0;
CREATE INDEX patient_name ON patient (name) WHERE deleted = 0;
CREATE INDEX patient_stable_at ON patient (stable_at) WHERE stable_at IS NOT NULL;

CREATE TABLE study (
    id INTEGER PRIMARY KEY,
    deleted INTEGER NOT NULL DEFAULT 0,
    patient INTEGER NOT NULL,
    public_id BLOB NOT NULL,
    study_uid TEXT,
    study_date TEXT,
    study_time TEXT,
    accession TEXT,
    study_id TEXT,
    description TEXT,
    referring TEXT,
    institution TEXT,
    -- the patient as the study's first instance describes it: files of one PatientID may differ
    patient_tags TEXT NOT NULL,
    patient_id TEXT,
    name TEXT,
    birth_date TEXT,
    sex TEXT,
    -- JSON arrays, sorted
    modalities TEXT NOT NULL DEFAULT '[]',
    sop_classes TEXT NOT NULL DEFAULT '[]',
    series_count INTEGER NOT NULL DEFAULT 0,
    instance_count INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    dicom_bytes INTEGER NOT NULL DEFAULT 0,
    dicom_stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_update INTEGER NOT NULL,
    stable_at INTEGER,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    revisions TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE UNIQUE INDEX study_public_id ON study (public_id) WHERE deleted = 0;
CREATE INDEX study_patient ON study (patient);
CREATE INDEX study_study_uid ON study (study_uid) WHERE deleted = 0;
CREATE INDEX study_study_date ON study (study_date) WHERE deleted = 0;
CREATE INDEX study_accession ON study (accession) WHERE deleted = 0;
CREATE INDEX study_description ON study (description) WHERE deleted = 0;
CREATE INDEX study_patient_id ON study (patient_id) WHERE deleted = 0;
CREATE INDEX study_name ON study (name) WHERE deleted = 0;
CREATE INDEX study_last_update ON study (last_update) WHERE deleted = 0;
CREATE INDEX study_stable_at ON study (stable_at) WHERE stable_at IS NOT NULL;

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    deleted INTEGER NOT NULL DEFAULT 0,
    study INTEGER NOT NULL,
    public_id BLOB NOT NULL,
    series_uid TEXT,
    modality TEXT,
    description TEXT,
    body_part TEXT,
    sop_classes TEXT NOT NULL DEFAULT '[]',
    expected_instances INTEGER,
    -- whether `CompletedSeries` was announced since the last deletion
    completed INTEGER NOT NULL DEFAULT 0,
    instance_count INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    dicom_bytes INTEGER NOT NULL DEFAULT 0,
    dicom_stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_update INTEGER NOT NULL,
    stable_at INTEGER,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    revisions TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE UNIQUE INDEX series_public_id ON series (public_id) WHERE deleted = 0;
CREATE INDEX series_study ON series (study);
CREATE INDEX series_series_uid ON series (series_uid) WHERE deleted = 0;
CREATE INDEX series_modality ON series (modality) WHERE deleted = 0;
CREATE INDEX series_stable_at ON series (stable_at) WHERE stable_at IS NOT NULL;

CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    series INTEGER NOT NULL,
    index_in_series INTEGER,
    public_id BLOB NOT NULL,
    sop_uid TEXT,
    sop_class TEXT NOT NULL,
    -- the DICOM file; `checksum` is the XXH3-64 of its content, an MD5 is NULL until somebody asks for it, and empty if there is none
    blob BLOB NOT NULL,
    compression INTEGER NOT NULL,
    dicom_bytes INTEGER NOT NULL,
    dicom_stored_bytes INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    md5 TEXT,
    stored_md5 TEXT,
    blob_revision INTEGER NOT NULL DEFAULT 0,
    pixel_offset INTEGER,
    tail_offset INTEGER,
    -- of all attachments
    size_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    revisions TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE UNIQUE INDEX instance_public_id ON instance (public_id);
CREATE INDEX instance_series ON instance (series, index_in_series);
CREATE INDEX instance_sop_uid ON instance (sop_uid);

-- All attachments but the DICOM file itself.
CREATE TABLE attachment (
    level INTEGER NOT NULL,
    resource INTEGER NOT NULL,
    type INTEGER NOT NULL,
    blob BLOB NOT NULL,
    compression INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    md5 TEXT,
    stored_md5 TEXT,
    revision INTEGER NOT NULL,
    PRIMARY KEY (level, resource, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE label (
    label TEXT NOT NULL,
    level INTEGER NOT NULL,
    resource INTEGER NOT NULL,
    PRIMARY KEY (label, level, resource)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_resource ON label (level, resource);

-- `seq` is given by the one writer; the newest number ever is in `counter`.
CREATE TABLE change (
    seq INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    level INTEGER NOT NULL,
    resource INTEGER NOT NULL,
    public_id BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX change_type ON change (type);
CREATE INDEX change_resource ON change (level, resource);

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
) STRICT;

-- Global totals, one row per writer, summed on read.
CREATE TABLE stat_shard (
    shard INTEGER PRIMARY KEY,
    patients INTEGER NOT NULL DEFAULT 0,
    studies INTEGER NOT NULL DEFAULT 0,
    series INTEGER NOT NULL DEFAULT 0,
    instances INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO stat_shard (shard) VALUES (0);

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('change', 0);

-- Blob names that a process may use: the `prefix` (14 bytes) and a number below the bits of `settled`. A set bit is a name that a
-- row refers to, or that was given back. The row goes when all bits are set.
CREATE TABLE blob_intent (
    prefix BLOB PRIMARY KEY,
    node BLOB NOT NULL,
    names INTEGER NOT NULL,
    settled BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE deleted_blob (
    blob BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Roots of deleted subtrees whose rows are still there.
CREATE TABLE tombstone (
    level INTEGER NOT NULL,
    resource INTEGER NOT NULL,
    PRIMARY KEY (level, resource)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
