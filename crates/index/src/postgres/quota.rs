//! Room for what is stored next: `quota_1`, in the transaction that stores it.

use super::delete::AT_ONCE;
use super::error::{is_conflict, sql};
use super::pool;
use super::readers::{Values, prepare};
use super::store::{Failure, Item, Stores};
use super::writer::{TRIES, write};
use deadpool_postgres::{Object, Transaction};
use model::{Level, OrthancId, Quota, StorageMode};
use tokio_postgres::{Row, Statement};

const MAKE_ROOM: &str = "SELECT quota_1($1, $2, $3, $4, $5, $6, $7, $8)";

/// Waits until no other process stores within the quota: for transactions that remove something first.
const TAKE_TURN: &str = "SELECT pg_advisory_xact_lock('stat_shard'::regclass::oid::bigint)";

/// What our function raises when there is no room.
const FULL: &str = "PL002";

/// The statements, prepared.
pub(super) struct Room {
    quota: Quota,
    make: Statement,
    turn: Statement,
}

impl Room {
    /// `None` without a quota.
    pub(super) async fn prepare(client: &Object, stores: &Stores) -> Result<Option<Self>, tokio_postgres::Error> {
        let quota = stores.quota();
        if quota.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { quota, make: prepare(client, MAKE_ROOM, &[]).await?, turn: prepare(client, TAKE_TURN, &[]).await? }))
    }

    pub(super) async fn take_turn(&self, tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        tx.query(&self.turn, &[]).await.map(drop)
    }

    /// Makes room for instances. How many patients went.
    pub(super) async fn make(&self, tx: &Transaction<'_>, stores: &Stores, batch: &[&Item]) -> Result<u32, Failure> {
        let instances: Vec<_> = batch.iter().map(|i| i.new.ids.instance).collect();
        let mut patients: Vec<_> = batch.iter().map(|i| i.new.ids.patient).collect();
        patients.sort_unstable();
        patients.dedup();
        let bytes = batch.iter().fold(0, |sum: i64, i| sum.saturating_add(i.stored));
        self.call(tx, stores, (&instances, &patients, bytes)).await
    }

    async fn call(
        &self,
        tx: &Transaction<'_>,
        stores: &Stores,
        (instances, stay, bytes): (&[OrthancId], &[OrthancId], i64),
    ) -> Result<u32, Failure> {
        let limit = |most: Option<u64>| most.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let (most_bytes, most_patients) = (limit(self.quota.bytes), limit(self.quota.patients));
        let recycles = self.quota.mode == StorageMode::Recycle;
        let ids = |of: &[OrthancId]| of.iter().map(|id| id.0.to_vec()).collect::<Vec<_>>();
        let (instances, stay) = (ids(instances), ids(stay));
        let values: Values<'_> = &[&stores.shard, &AT_ONCE, &most_bytes, &most_patients, &recycles, &instances, &stay, &bytes];
        match tx.query_one(&self.make, values).await {
            Ok(row) => Ok(row.get::<_, i32>(0).unsigned_abs()),
            Err(error) if error.code().is_some_and(|c| c.code() == FULL) => Err(Failure::Other(self.quota.exceeded())),
            Err(error) => Err(Failure::Sql(error)),
        }
    }

    /// Attaches something to a resource. Its size is in the totals when room is made for it.
    async fn attach(
        &self,
        client: &mut Object,
        stores: &Stores,
        (level, id): (Level, OrthancId),
        (statement, values): (&str, Values<'_>),
    ) -> Result<Vec<Row>, Failure> {
        let attach = prepare(client, statement, &[]).await?;
        let owner = prepare(client, "SELECT patient_of_1($1, $2)", &[]).await?;
        let tx = client.transaction().await?;
        self.take_turn(&tx).await?;
        let rows = tx.query(&attach, values).await?;
        let owner: Option<Vec<u8>> = tx.query_one(&owner, &[&(level as i32), &id.0.as_slice()]).await?.get(0);
        if let Some(owner) = owner.and_then(|id| <[u8; 20]>::try_from(id).ok()) {
            self.call(&tx, stores, (&[], &[OrthancId(owner)], 0)).await?;
        }
        tx.commit().await?;
        Ok(rows)
    }
}

/// Runs the statement that attaches something to a resource, within the quota.
///
/// # Errors
/// `StorageFull`; those of the statement.
pub(super) async fn attach(
    stores: &Stores,
    of: (Level, OrthancId),
    statement: &str,
    values: Values<'_>,
) -> model::Result<Vec<Row>> {
    let mut client = pool::get(&stores.pool).await?;
    let Some(room) = Room::prepare(&client, stores).await.map_err(sql)? else {
        drop(client);
        return write(&stores.pool, statement, values).await;
    };
    let mut tries = TRIES;
    loop {
        match room.attach(&mut client, stores, of, (statement, values)).await {
            Err(Failure::Sql(error)) if is_conflict(&error) && tries > 1 => tries -= 1,
            result => return result.map_err(Failure::into_error),
        }
    }
}
