//! What the jobs of one transaction share: the time, what they know of parents, and sums that are written once at the end.

use super::blobs::Intents;
use super::error::sql;
use crate::jobs;
use crate::text::{read_set, set_json};
use model::{ChangeType, Level, OrthancId, Quota, Result};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Settings that every transaction reads.
pub(super) struct Clock {
    /// Random, one per opened index.
    pub(super) node: [u8; 16],
    pub(super) stable_age_ms: AtomicI64,
    pub(super) quota: Mutex<Quota>,
    /// See [`super::Options::clock`].
    pub(super) simulated: Option<&'static AtomicI64>,
}

impl Clock {
    /// Microseconds since 1970, for jobs and leases. SQLite's own clock, which counts milliseconds, is this one.
    pub(super) fn now_us(&self) -> i64 {
        match self.simulated {
            Some(clock) => clock.load(Ordering::Relaxed),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, jobs::in_micros),
        }
    }
}

/// What is added to the row of a parent. All counts may be negative.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delta {
    pub(super) studies: i64,
    pub(super) series: i64,
    pub(super) instances: i64,
    pub(super) size: Sizes,
    /// Sets `LastUpdate`.
    pub(super) touch: bool,
    /// Begins a new quiet period (`StableAge`).
    pub(super) restart: bool,
}

/// Bytes of all attachments and of DICOM files, after decompression and as stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) bytes: i64,
    pub(super) stored: i64,
    pub(super) dicom: i64,
    pub(super) dicom_stored: i64,
}

impl Sizes {
    pub(super) fn add(&mut self, other: Sizes, sign: i64) {
        self.bytes += sign * other.bytes;
        self.stored += sign * other.stored;
        self.dicom += sign * other.dicom;
        self.dicom_stored += sign * other.dicom_stored;
    }
}

/// A study that this batch touched.
pub(super) struct StudyState {
    pub(super) id: i64,
    pub(super) patient: i64,
    pub(super) modalities: BTreeSet<String>,
    pub(super) sop_classes: BTreeSet<String>,
    pub(super) changed: bool,
}

/// A series that this batch touched.
pub(super) struct SeriesState {
    pub(super) id: i64,
    pub(super) study: i64,
    pub(super) patient: i64,
    pub(super) sop_classes: BTreeSet<String>,
    pub(super) changed: bool,
    /// With those of this batch.
    pub(super) instances: i64,
    pub(super) expected: Option<u32>,
    pub(super) completed: bool,
}

/// One transaction of the writer.
pub(super) struct Batch<'c> {
    pub(super) conn: &'c Connection,
    pub(super) node: [u8; 16],
    pub(super) now_ms: i64,
    clock: &'c Clock,
    stable_at: i64,
    pub(super) patients: HashMap<OrthancId, i64>,
    pub(super) studies: HashMap<OrthancId, StudyState>,
    pub(super) series: HashMap<OrthancId, SeriesState>,
    pub(super) intents: Intents,
    deltas: BTreeMap<(Level, i64), Delta>,
    totals: Delta,
    patients_delta: i64,
    last_seq: Option<i64>,
}

impl<'c> Batch<'c> {
    pub(super) fn new(conn: &'c Connection, clock: &'c Clock) -> Result<Self> {
        let now_ms = now_ms(conn)?;
        Ok(Self {
            conn,
            node: clock.node,
            now_ms,
            clock,
            stable_at: now_ms.saturating_add(clock.stable_age_ms.load(Ordering::Relaxed)),
            patients: HashMap::new(),
            studies: HashMap::new(),
            series: HashMap::new(),
            intents: Intents::default(),
            deltas: BTreeMap::new(),
            totals: Delta::default(),
            patients_delta: 0,
            last_seq: None,
        })
    }

    /// What may be stored.
    pub(super) fn quota(&self) -> Quota {
        *self.clock.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes and patients that are stored, with those of this batch.
    pub(super) fn stored(&self) -> Result<(u64, u64)> {
        let (bytes, patients): (i64, i64) = self
            .conn
            .prepare_cached("SELECT sum(stored_bytes), sum(patients) FROM stat_shard")
            .and_then(|mut s| s.query_row([], |r| Ok((r.get(0)?, r.get(1)?))))
            .map_err(sql)?;
        let (bytes, patients) = (bytes + self.totals.size.stored, patients + self.patients_delta);
        Ok((u64::try_from(bytes).unwrap_or(0), u64::try_from(patients).unwrap_or(0)))
    }

    /// See [`Clock::now_us`].
    pub(super) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Seconds since 1970 on the database's clock.
    pub(super) fn now(&self) -> i64 {
        self.now_ms / 1000
    }

    /// When a resource that changes now is stable.
    pub(super) fn stable_at(&self) -> i64 {
        self.stable_at
    }

    /// Adds to a patient, study or series when the batch is flushed.
    pub(super) fn add(&mut self, level: Level, id: i64, delta: Delta) {
        let sum = self.deltas.entry((level, id)).or_default();
        sum.studies += delta.studies;
        sum.series += delta.series;
        sum.instances += delta.instances;
        sum.size.add(delta.size, 1);
        sum.touch |= delta.touch;
        sum.restart |= delta.restart;
    }

    /// Adds to the global totals.
    pub(super) fn add_totals(&mut self, patients: i64, delta: Delta) {
        self.patients_delta += patients;
        self.totals.studies += delta.studies;
        self.totals.series += delta.series;
        self.totals.instances += delta.instances;
        self.totals.size.add(delta.size, 1);
    }

    /// Appends a line to the feed. Numbers are visible in order because there is one writer.
    pub(super) fn change(&mut self, kind: ChangeType, level: Level, resource: i64, id: OrthancId) -> Result<()> {
        let last = match self.last_seq {
            Some(seq) => seq,
            None => last_seq(self.conn)?,
        };
        self.conn
            .prepare_cached("INSERT INTO change (seq, type, level, resource, public_id, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut s| s.execute(params![last + 1, kind as u16, level as u8, resource, id.0, self.now()]))
            .map_err(sql)?;
        self.last_seq = Some(last + 1);
        Ok(())
    }

    /// Writes all sums, so that rows tell the truth, and forgets what it knew of parents.
    pub(super) fn flush(&mut self) -> Result<()> {
        for ((level, id), delta) in std::mem::take(&mut self.deltas) {
            self.write_delta(level, id, delta)?;
        }
        self.write_sets()?;
        self.announce_completed()?;
        self.patients.clear();
        self.studies.clear();
        self.series.clear();
        self.write_totals()?;
        self.intents.flush(self.conn)?;
        if let Some(seq) = self.last_seq.take() {
            self.conn
                .prepare_cached("UPDATE counter SET value = ?1 WHERE name = 'change'")
                .and_then(|mut s| s.execute([seq]))
                .map_err(sql)?;
        }
        Ok(())
    }

    fn write_delta(&self, level: Level, id: i64, delta: Delta) -> Result<()> {
        const COMMON: &str = "instance_count = instance_count + ?4, size_bytes = size_bytes + ?5,
            stored_bytes = stored_bytes + ?6, dicom_bytes = dicom_bytes + ?7, dicom_stored_bytes = dicom_stored_bytes + ?8,
            last_update = coalesce(?9, last_update), stable_at = coalesce(?10, stable_at)";
        let (table, own) = match level {
            Level::Patient => (
                "patient",
                "study_count = study_count + ?2, series_count = series_count + ?3, recycle_at = coalesce(?10, recycle_at),",
            ),
            Level::Study => ("study", "series_count = series_count + ?2 + ?3,"),
            _ => ("series", "completed = CASE WHEN ?2 + ?3 + ?4 < 0 THEN 0 ELSE completed END,"),
        };
        let update = format!("UPDATE {table} SET {own} {COMMON} WHERE id = ?1");
        let mut statement = self.conn.prepare_cached(&update).map_err(sql)?;
        let touched = delta.touch.then_some(self.now());
        let stable_at = delta.restart.then_some(self.stable_at);
        let Sizes { bytes, stored, dicom, dicom_stored } = delta.size;
        let values =
            params![id, delta.studies, delta.series, delta.instances, bytes, stored, dicom, dicom_stored, touched, stable_at];
        statement.execute(values).map_err(sql)?;
        Ok(())
    }

    fn write_sets(&self) -> Result<()> {
        for study in self.studies.values().filter(|s| s.changed) {
            self.conn
                .prepare_cached("UPDATE study SET modalities = ?2, sop_classes = ?3 WHERE id = ?1")
                .and_then(|mut s| s.execute(params![study.id, set_json(&study.modalities), set_json(&study.sop_classes)]))
                .map_err(sql)?;
        }
        for series in self.series.values().filter(|s| s.changed) {
            self.conn
                .prepare_cached("UPDATE series SET sop_classes = ?2 WHERE id = ?1")
                .and_then(|mut s| s.execute(params![series.id, set_json(&series.sop_classes)]))
                .map_err(sql)?;
        }
        Ok(())
    }

    /// `CompletedSeries` for each series whose last expected instance came with this batch.
    fn announce_completed(&mut self) -> Result<()> {
        let mut full: Vec<(i64, u32, OrthancId)> = self
            .series
            .iter()
            .filter(|(_, s)| !s.completed && s.expected.is_some_and(|n| n > 0 && s.instances >= i64::from(n)))
            .filter_map(|(id, s)| Some((s.id, s.expected?, *id)))
            .collect();
        full.sort_unstable();
        for (row, expected, id) in full {
            let distinct: i64 = self
                .conn
                .prepare_cached(
                    "SELECT count(DISTINCT index_in_series) FROM instance
                     WHERE series = ?1 AND index_in_series BETWEEN 1 AND ?2",
                )
                .and_then(|mut s| s.query_row(params![row, expected], |r| r.get(0)))
                .map_err(sql)?;
            if distinct == i64::from(expected) {
                self.conn
                    .prepare_cached("UPDATE series SET completed = 1 WHERE id = ?1")
                    .and_then(|mut s| s.execute([row]))
                    .map_err(sql)?;
                self.change(ChangeType::CompletedSeries, Level::Series, row, id)?;
            }
        }
        Ok(())
    }

    fn write_totals(&mut self) -> Result<()> {
        let (patients, totals) = (std::mem::take(&mut self.patients_delta), std::mem::take(&mut self.totals));
        let Sizes { bytes, stored, .. } = totals.size;
        if [patients, totals.studies, totals.series, totals.instances, bytes, stored].iter().all(|n| *n == 0) {
            return Ok(());
        }
        self.conn
            .prepare_cached(
                "UPDATE stat_shard SET patients = patients + ?1, studies = studies + ?2, series = series + ?3,
                 instances = instances + ?4, size_bytes = size_bytes + ?5, stored_bytes = stored_bytes + ?6 WHERE shard = 0",
            )
            .and_then(|mut s| s.execute(params![patients, totals.studies, totals.series, totals.instances, bytes, stored]))
            .map_err(sql)?;
        Ok(())
    }
}

/// The number of the newest change ever.
pub(super) fn last_seq(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT value FROM counter WHERE name = 'change'")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)
}

/// Milliseconds since 1970 on the database's clock.
pub(super) fn now_ms(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)
}

/// Reads a JSON array column into a set.
pub(super) fn set_column(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<BTreeSet<String>> {
    let text: String = row.get(column)?;
    read_set(&text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e)))
}
