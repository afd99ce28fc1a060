-- The tables of `sqlite/0001_resources.sql`; what its comments say holds here. What differs is for the sake of updates in place:
-- whatever a store changes in the row of a parent (counters, sizes, deadline, `last_update`) is in no index, so that the new version
-- of the row needs no index entries. Hence `is_stable` beside `stable_at`, and `update_slot`: `last_update` in units of 256 seconds, which
-- changes rarely, is indexed, and is the first key of an order by `LastUpdate`.
-- Text compares by code point ("C"), which is the order of `model::matching`.

CREATE TABLE patient (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_count bigint NOT NULL DEFAULT 0,
    series_count bigint NOT NULL DEFAULT 0,
    instance_count bigint NOT NULL DEFAULT 0,
    size_bytes bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    dicom_bytes bigint NOT NULL DEFAULT 0,
    dicom_stored_bytes bigint NOT NULL DEFAULT 0,
    last_update bigint NOT NULL,
    stable_at bigint NOT NULL,
    is_stable boolean NOT NULL DEFAULT false,
    deleted smallint NOT NULL DEFAULT 0,
    protected boolean NOT NULL DEFAULT false,
    public_id bytea NOT NULL,
    patient_id text COLLATE "C",
    name text COLLATE "C",
    birth_date text COLLATE "C",
    sex text COLLATE "C",
    tags text NOT NULL,
    metadata text NOT NULL,
    revisions text NOT NULL DEFAULT '{}'
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX patient_public_id ON patient (public_id) WHERE deleted = 0;
CREATE INDEX patient_patient_id ON patient (patient_id, id) WHERE deleted = 0;
CREATE INDEX patient_name ON patient (name, id) WHERE deleted = 0;
CREATE INDEX patient_unstable ON patient (id) WHERE NOT is_stable;

CREATE TABLE study (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient bigint NOT NULL,
    series_count bigint NOT NULL DEFAULT 0,
    instance_count bigint NOT NULL DEFAULT 0,
    size_bytes bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    dicom_bytes bigint NOT NULL DEFAULT 0,
    dicom_stored_bytes bigint NOT NULL DEFAULT 0,
    last_update bigint NOT NULL,
    update_slot bigint NOT NULL,
    stable_at bigint NOT NULL,
    is_stable boolean NOT NULL DEFAULT false,
    deleted smallint NOT NULL DEFAULT 0,
    public_id bytea NOT NULL,
    study_uid text COLLATE "C",
    study_date text COLLATE "C",
    study_time text COLLATE "C",
    accession text COLLATE "C",
    study_id text COLLATE "C",
    description text COLLATE "C",
    referring text COLLATE "C",
    institution text COLLATE "C",
    patient_id text COLLATE "C",
    name text COLLATE "C",
    birth_date text COLLATE "C",
    sex text COLLATE "C",
    modalities text NOT NULL DEFAULT '[]',
    sop_classes text NOT NULL DEFAULT '[]',
    patient_tags text NOT NULL,
    tags text NOT NULL,
    metadata text NOT NULL,
    revisions text NOT NULL DEFAULT '{}'
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX study_public_id ON study (public_id) WHERE deleted = 0;
CREATE INDEX study_patient ON study (patient);
CREATE INDEX study_study_uid ON study (study_uid, id) WHERE deleted = 0;
CREATE INDEX study_study_date ON study (study_date, id) WHERE deleted = 0;
CREATE INDEX study_study_date_down ON study (study_date DESC NULLS LAST, id) WHERE deleted = 0;
CREATE INDEX study_accession ON study (accession, id) WHERE deleted = 0;
CREATE INDEX study_description ON study (description, id) WHERE deleted = 0;
CREATE INDEX study_patient_id ON study (patient_id, id) WHERE deleted = 0;
CREATE INDEX study_name ON study (name, id) WHERE deleted = 0;
CREATE INDEX study_name_down ON study (name DESC NULLS LAST, id) WHERE deleted = 0;
CREATE INDEX study_update_slot ON study (update_slot) WHERE deleted = 0;
CREATE INDEX study_unstable ON study (id) WHERE NOT is_stable;

CREATE TABLE series (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study bigint NOT NULL,
    instance_count bigint NOT NULL DEFAULT 0,
    size_bytes bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    dicom_bytes bigint NOT NULL DEFAULT 0,
    dicom_stored_bytes bigint NOT NULL DEFAULT 0,
    last_update bigint NOT NULL,
    stable_at bigint NOT NULL,
    is_stable boolean NOT NULL DEFAULT false,
    deleted smallint NOT NULL DEFAULT 0,
    completed boolean NOT NULL DEFAULT false,
    expected_instances bigint,
    public_id bytea NOT NULL,
    series_uid text COLLATE "C",
    modality text COLLATE "C",
    description text COLLATE "C",
    body_part text COLLATE "C",
    sop_classes text NOT NULL DEFAULT '[]',
    tags text NOT NULL,
    metadata text NOT NULL,
    revisions text NOT NULL DEFAULT '{}'
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX series_public_id ON series (public_id) WHERE deleted = 0;
CREATE INDEX series_study ON series (study);
CREATE INDEX series_series_uid ON series (series_uid, id) WHERE deleted = 0;
CREATE INDEX series_modality ON series (modality, id) WHERE deleted = 0;
CREATE INDEX series_unstable ON series (id) WHERE NOT is_stable;

CREATE TABLE instance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series bigint NOT NULL,
    index_in_series bigint,
    dicom_bytes bigint NOT NULL,
    dicom_stored_bytes bigint NOT NULL,
    size_bytes bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    pixel_offset bigint,
    tail_offset bigint,
    blob uuid NOT NULL,
    blob_revision bigint NOT NULL DEFAULT 0,
    compression smallint NOT NULL,
    public_id bytea NOT NULL,
    sop_uid text COLLATE "C",
    sop_class text COLLATE "C" NOT NULL,
    md5 text NOT NULL,
    stored_md5 text,
    tags text NOT NULL,
    metadata text NOT NULL,
    revisions text NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX instance_public_id ON instance (public_id);
CREATE INDEX instance_series ON instance (series, index_in_series);
CREATE INDEX instance_sop_uid ON instance (sop_uid);

CREATE TABLE attachment (
    level smallint NOT NULL,
    resource bigint NOT NULL,
    type integer NOT NULL,
    blob uuid NOT NULL,
    compression smallint NOT NULL,
    size_bytes bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    md5 text NOT NULL,
    stored_md5 text,
    revision bigint NOT NULL,
    PRIMARY KEY (level, resource, type)
);

-- A label may be longer than an index entry: its digest is the key.
CREATE TABLE label (
    level smallint NOT NULL,
    resource bigint NOT NULL,
    label text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX label_label ON label (md5(label), level, resource);
CREATE INDEX label_resource ON label (level, resource);

-- Nearly all lines are `NewInstance` (2): looked for alone, they are found by `seq`.
CREATE TABLE change (
    seq bigint PRIMARY KEY,
    resource bigint NOT NULL,
    at bigint NOT NULL,
    type smallint NOT NULL,
    level smallint NOT NULL,
    public_id bytea NOT NULL
);
CREATE INDEX change_type ON change (type, seq) WHERE type <> 2;
CREATE INDEX change_resource ON change (level, resource);

CREATE TABLE export_log (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    level smallint NOT NULL,
    public_id bytea NOT NULL,
    remote text NOT NULL,
    date text NOT NULL,
    patient_id text NOT NULL,
    study_uid text NOT NULL,
    series_uid text NOT NULL,
    sop_uid text NOT NULL
);

-- Global totals. A writer adds to one of the rows, so that processes do not wait for each other.
CREATE TABLE stat_shard (
    shard integer PRIMARY KEY,
    patients bigint NOT NULL DEFAULT 0,
    studies bigint NOT NULL DEFAULT 0,
    series bigint NOT NULL DEFAULT 0,
    instances bigint NOT NULL DEFAULT 0,
    size_bytes bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO stat_shard (shard) SELECT generate_series(0, 31);

-- Whoever appends changes adds to the counter last before its commit. Its row is the lock that makes numbers visible in order.
CREATE TABLE counter (
    name text PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO counter (name, value) VALUES ('change', 0);

-- One bit per name in `settled`.
CREATE TABLE blob_intent (
    prefix bytea PRIMARY KEY,
    node uuid NOT NULL,
    settled bit varying NOT NULL
) WITH (fillfactor = 30);
CREATE INDEX blob_intent_node ON blob_intent (node);

-- Processes that may write blobs, alive until their lease ends.
CREATE TABLE blob_node (
    node uuid PRIMARY KEY,
    alive_until timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE deleted_blob (
    blob uuid PRIMARY KEY
);

CREATE TABLE tombstone (
    level smallint NOT NULL,
    resource bigint NOT NULL,
    PRIMARY KEY (level, resource)
);

CREATE TABLE setting (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);
