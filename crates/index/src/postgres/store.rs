//! Storing a batch: one call commits it; what is there already is answered, or replaced on its own.
//!
//! `store_1` takes any batch. A batch of one series that this process stored into before, as most are, tries `store_more_1`, which costs
//! less, unless room must be made within a quota.

use super::batch;
use super::error::{is_conflict, sql};
use super::pool;
use super::quota::Room;
use super::readers::prepare;
use super::writer::TRIES;
use crate::text::{metadata_json, tags_json};
use deadpool_postgres::{Object, Pool};
use model::instance::Overwrite;
use model::{Compression, Error, ErrorKind, Level, NewInstance, OrthancId, Quota, Result, StoreStatus, Stored};
use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// Series that a process remembers.
const SERIES: usize = 1000;

/// What every store needs.
pub(super) struct Stores {
    pub(super) pool: Pool,
    pub(super) node: Uuid,
    /// The row of the totals that this process adds to.
    pub(super) shard: i32,
    pub(super) stable_age_ms: AtomicI64,
    pub(super) quota: Mutex<Quota>,
    /// Series that are probably there.
    pub(super) series: Mutex<HashSet<OrthancId>>,
}

impl Stores {
    fn knows(&self, batch: &[&Item]) -> bool {
        let known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        batch.iter().all(|item| known.contains(&item.new.ids.series))
    }

    fn remember(&self, batch: &[&Item]) {
        let mut known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > SERIES {
            known.clear();
        }
        known.extend(batch.iter().map(|item| item.new.ids.series));
    }

    fn forget(&self, batch: &[&Item]) {
        let mut known = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for item in batch {
            known.remove(&item.new.ids.series);
        }
    }

    pub(super) fn stable_age_ms(&self) -> i64 {
        self.stable_age_ms.load(Ordering::Relaxed)
    }

    pub(super) fn quota(&self) -> Quota {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance with what only it needs in its row.
pub(super) struct Item {
    pub(super) new: NewInstance,
    pub(super) tags: String,
    pub(super) metadata: String,
    pub(super) bytes: i64,
    pub(super) stored: i64,
    pub(super) pixel_offset: Option<i64>,
    pub(super) tail_offset: Option<i64>,
}

impl Item {
    /// # Errors
    /// `OutOfRange` for sizes from 2^63.
    pub(super) fn new(new: NewInstance) -> Result<Self> {
        Ok(Self {
            tags: tags_json(&new.tags[Level::Instance as usize])?,
            metadata: metadata_json(&new.metadata[Level::Instance as usize])?,
            bytes: size(new.blob.size_bytes)?,
            stored: size(new.blob.stored_size_bytes)?,
            pixel_offset: new.pixel_offset.map(size).transpose()?,
            tail_offset: new.tail_offset.map(size).transpose()?,
            new,
        })
    }

    pub(super) fn id(&self) -> OrthancId {
        self.new.ids.instance
    }

    fn answer(&self, status: StoreStatus, recycled: u32) -> Stored {
        Stored { ids: self.new.ids, status, keeps_blob: status == StoreStatus::Success, recycled }
    }

    fn keeps_old(&self, old: &Existing) -> bool {
        match self.new.overwrite {
            Overwrite::Never => true,
            Overwrite::Always => false,
            Overwrite::IfChanged => (old.bytes, old.checksum) == (self.bytes, self.new.blob.checksum.cast_signed()),
        }
    }
}

/// A row that stands in the way of a new one.
struct Existing {
    at: usize,
    row: i64,
    /// The leftover of a deleted series.
    hidden: bool,
    bytes: i64,
    checksum: i64,
}

/// Stores instances with different public ids. Each gets its own outcome.
pub(super) async fn store(stores: &Stores, items: &[Item]) -> Vec<Result<Stored>> {
    let mut outcomes: Vec<Option<Result<Stored>>> = items.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..items.len()).collect();
    let mut replaced = vec![];
    // Each round stores all or answers some.
    while !open.is_empty() {
        let batch: Vec<&Item> = open.iter().map(|at| &items[*at]).collect();
        match call(stores, &batch).await {
            Ok(Called { existing, mut recycled }) if existing.is_empty() => {
                for at in open.drain(..) {
                    outcomes[at] = Some(Ok(items[at].answer(StoreStatus::Success, std::mem::take(&mut recycled))));
                }
            }
            Ok(Called { existing, .. }) => {
                for old in &existing {
                    let at = open[old.at];
                    if !old.hidden && items[at].keeps_old(old) {
                        outcomes[at] = Some(Ok(items[at].answer(StoreStatus::AlreadyStored, 0)));
                    } else {
                        replaced.push(at);
                    }
                }
                let gone: Vec<usize> = existing.iter().map(|old| open[old.at]).collect();
                open.retain(|at| !gone.contains(at));
            }
            // The database refused the batch, so nothing of it is there: each tries alone.
            Err(error) if open.len() > 1 && error.kind() != ErrorKind::DatabaseUnavailable => {
                for at in open.drain(..) {
                    outcomes[at] = Some(alone(stores, &items[at]).await);
                }
            }
            Err(error) => {
                for at in open.drain(..) {
                    outcomes[at] = Some(Err(Error::new(error.kind(), error.message())));
                }
            }
        }
    }
    for at in replaced {
        outcomes[at] = Some(alone(stores, &items[at]).await);
    }
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(ErrorKind::Internal.into()))).collect()
}

/// Calls `store_more_1`, and again if it lost against another transaction. Returns whether it stored the batch; otherwise it did nothing.
async fn more_on(client: &Object, stores: &Stores, batch: &[&Item]) -> Result<bool, tokio_postgres::Error> {
    let Some(arguments) = batch::Arguments::more(stores, batch) else { return Ok(false) };
    let mut tries = TRIES;
    loop {
        let prepared = prepare(client, batch::call_more(), &[]).await?;
        match client.query_one(&prepared, &arguments.values()).await {
            Err(error) if is_conflict(&error) && tries > 1 => tries -= 1,
            result => {
                let stored: bool = result?.get(0);
                if !stored {
                    stores.forget(batch);
                }
                return Ok(stored);
            }
        }
    }
}

/// What came of a call of `store_1`: everything was stored, unless something is there already.
struct Called {
    existing: Vec<Existing>,
    /// Patients that went to make room.
    recycled: u32,
}

async fn call(stores: &Stores, batch: &[&Item]) -> Result<Called> {
    let mut client = pool::get(&stores.pool).await?;
    if stores.quota().is_none() && stores.knows(batch) && more_on(&client, stores, batch).await.map_err(sql)? {
        return Ok(Called { existing: vec![], recycled: 0 });
    }
    let called = call_on(&mut client, stores, batch, TRIES).await.map_err(Failure::into_error)?;
    if called.existing.is_empty() {
        stores.remember(batch);
    }
    Ok(called)
}

pub(super) enum Failure {
    Sql(tokio_postgres::Error),
    Other(Error),
}

impl Failure {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Sql(error) => sql(error),
            Self::Other(error) => error,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Calls `store_1`, and again if it lost against another transaction.
async fn call_on(client: &mut Object, stores: &Stores, batch: &[&Item], mut tries: usize) -> Result<Called, Failure> {
    let arguments = batch::Arguments::new(stores, batch)?;
    loop {
        match call_once(client, stores, batch, &arguments).await {
            Err(Failure::Sql(error)) if is_conflict(&error) && tries > 1 => tries -= 1,
            result => return result,
        }
    }
}

async fn call_once(
    client: &mut Object,
    stores: &Stores,
    batch: &[&Item],
    arguments: &batch::Arguments<'_>,
) -> Result<Called, Failure> {
    let store = prepare(client, batch::call(), &[]).await?;
    let (rows, recycled) = match Room::prepare(client, stores).await? {
        None => (client.query(&store, &arguments.values()).await?, 0),
        Some(room) => {
            let tx = client.transaction().await?;
            let recycled = room.make(&tx, stores, batch).await?;
            let rows = tx.query(&store, &arguments.values()).await?;
            tx.commit().await?;
            (rows, recycled)
        }
    };
    let existing = |row: &tokio_postgres::Row| Existing {
        at: usize::try_from(row.get::<_, i32>(0) - 1).unwrap_or(0),
        row: row.get(1),
        hidden: row.get(2),
        bytes: row.get(3),
        checksum: row.get(4),
    };
    Ok(Called { existing: rows.iter().map(existing).collect(), recycled })
}

/// Stores one instance that may have to replace another, in one transaction.
async fn alone(stores: &Stores, item: &Item) -> Result<Stored> {
    let mut client = pool::get(&stores.pool).await?;
    let mut tries = TRIES;
    loop {
        match replace(&mut client, stores, item).await {
            Err(Failure::Sql(error)) if is_conflict(&error) && tries > 1 => tries -= 1,
            Err(Failure::Sql(error)) => return Err(sql(error)),
            Err(Failure::Other(error)) => return Err(error),
            Ok(None) if tries > 1 => tries -= 1,
            Ok(None) => return Err(Error::new(ErrorKind::Busy, "others store and delete the same instance all the time")),
            Ok(Some(stored)) => return Ok(stored),
        }
    }
}

/// `None` if another transaction was faster.
async fn replace(client: &mut Object, stores: &Stores, item: &Item) -> Result<Option<Stored>, Failure> {
    let Called { existing, recycled } = call_on(client, stores, &[item], 1).await?;
    let Some(old) = existing.first() else { return Ok(Some(item.answer(StoreStatus::Success, recycled))) };
    if !old.hidden && item.keeps_old(old) {
        return Ok(Some(item.answer(StoreStatus::AlreadyStored, 0)));
    }
    let arguments = batch::Arguments::new(stores, &[item])?;
    let purge = client.prepare_cached("SELECT purge_1(3, ARRAY[$1::bigint])").await?;
    let delete = client.prepare_cached("SELECT there FROM delete_1(3, $1, $2, 500)").await?;
    let store = client.prepare_cached(batch::call()).await?;
    let room = Room::prepare(client, stores).await?;
    let tx = client.transaction().await?;
    if let Some(room) = &room {
        room.take_turn(&tx).await?;
    }
    if old.hidden {
        tx.query(&purge, &[&old.row]).await?;
    } else {
        tx.query(&delete, &[&item.id().0.as_slice(), &stores.shard]).await?;
    }
    let recycled = match &room {
        Some(room) => room.make(&tx, stores, &[item]).await?,
        None => 0,
    };
    let rest = tx.query(&store, &arguments.values()).await?;
    if !rest.is_empty() {
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some(item.answer(StoreStatus::Success, recycled)))
}

/// A size or offset as SQL integers hold it.
///
/// # Errors
/// `OutOfRange` from 2^63.
pub(super) fn size(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Error::new(ErrorKind::OutOfRange, format!("{bytes} bytes are too many")))
}

/// Orthanc's numbers: 1 none, 2 zlib with size.
pub(super) fn compression_number(compression: Compression) -> i16 {
    match compression {
        Compression::None => 1,
        Compression::Zlib => 2,
    }
}
