//! Names of blobs that are reserved before they are written, and the deletion list.

use super::node::{IS_DEAD, Node};
use super::readers::query_typed;
use super::writer::write;
use crate::names::{BLOCK, Prefix, name, split};
use deadpool_postgres::Pool;
use model::{AttachmentId, Result};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// The bits of some names by block, as text of `0` and `1`: what a statement settles.
pub(super) fn masks(blobs: impl Iterator<Item = AttachmentId>) -> BTreeMap<Prefix, String> {
    let mut blocks: BTreeMap<Prefix, [u8; BLOCK]> = BTreeMap::new();
    for blob in blobs {
        let (prefix, number) = split(blob);
        let bits = blocks.entry(prefix).or_insert([b'0'; BLOCK]);
        match bits.get_mut(number) {
            Some(bit) => *bit = b'1',
            // Not a name of ours: no block has room for this.
            None => bits.fill(b'1'),
        }
    }
    blocks.into_iter().map(|(prefix, bits)| (prefix, bits.iter().copied().map(char::from).collect())).collect()
}

/// Reserves `n` names for this process.
pub(super) async fn reserve(pool: &Pool, node: &Node, n: usize) -> Result<Vec<AttachmentId>> {
    let (mut names, mut prefixes, mut settled) = (Vec::with_capacity(n), vec![], vec![]);
    while names.len() < n {
        let block = (n - names.len()).min(BLOCK);
        let (prefix, _) = split(AttachmentId::random());
        names.extend((0..block).map(|number| name(&prefix, number)));
        prefixes.push(prefix.to_vec());
        settled.push("0".repeat(block) + &"1".repeat(BLOCK - block));
    }
    if !names.is_empty() {
        let statement = "INSERT INTO blob_intent (prefix, node, settled)
            SELECT d.prefix, $1, d.settled::bit varying FROM unnest($2::bytea[], $3::text[]) d (prefix, settled)";
        write(pool, statement, &[&node.id, &prefixes, &settled]).await?;
    }
    Ok(names)
}

/// Gives names back.
pub(super) async fn release(pool: &Pool, node: &Node, blobs: &[AttachmentId]) -> Result<()> {
    let blocks = masks(blobs.iter().copied());
    let prefixes: Vec<&[u8]> = blocks.keys().map(<[u8; 14]>::as_slice).collect();
    let masks: Vec<&str> = blocks.values().map(String::as_str).collect();
    let statement = "WITH given AS (
            UPDATE blob_intent b SET settled = b.settled | d.mask::bit varying
            FROM unnest($2::bytea[], $3::text[]) d (prefix, mask) WHERE b.prefix = d.prefix AND b.node = $1
            RETURNING b.prefix, b.settled
        ) SELECT prefix FROM given WHERE position(B'0' IN settled) = 0";
    let full = write(pool, statement, &[&node.id, &prefixes, &masks]).await?;
    if !full.is_empty() {
        let full: Vec<Vec<u8>> = full.iter().map(|row| row.get(0)).collect();
        write(pool, "DELETE FROM blob_intent WHERE prefix = ANY ($1) AND position(B'0' IN settled) = 0", &[&full]).await?;
    }
    Ok(())
}

/// Puts names that are still open on the deletion list. A transaction that uses one holds its block until it has ended.
pub(super) async fn abandon(pool: &Pool, node: &Node, blobs: &[AttachmentId]) -> Result<()> {
    let statement = "WITH given AS (
            UPDATE blob_intent b SET settled = b.settled | $3::text::bit varying
            WHERE b.prefix = $1 AND b.node = $2 AND position(B'1' IN b.settled & $3::text::bit varying) = 0 RETURNING b.prefix
        ) INSERT INTO deleted_blob (blob) SELECT $4 FROM given ON CONFLICT DO NOTHING";
    for blob in blobs {
        for (prefix, mask) in masks([*blob].into_iter()) {
            write(pool, statement, &[&prefix.as_slice(), &node.id, &mask, &blob.0]).await?;
        }
    }
    Ok(())
}

/// The statement of [`sweep`].
pub(super) fn sweep_sql() -> String {
    format!(
        "WITH dead AS MATERIALIZED (
             SELECT intent.prefix FROM blob_intent intent WHERE {IS_DEAD} LIMIT 200 FOR UPDATE SKIP LOCKED
         ), gone AS (
             DELETE FROM blob_intent b USING dead WHERE b.prefix = dead.prefix RETURNING b.prefix, b.settled
         ), orphans AS (
             INSERT INTO deleted_blob (blob)
             SELECT encode(gone.prefix || int2send(n::int2), 'hex')::uuid FROM gone CROSS JOIN generate_series(0, {BLOCK} - 1) n
             WHERE get_bit(gone.settled, n) = 0
             ON CONFLICT DO NOTHING RETURNING 1
         ) SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM orphans)"
    )
}

/// Puts the open names of dead processes on the deletion list and forgets their blocks. A block that a transaction holds is left alone.
pub(super) async fn sweep(pool: &Pool) -> Result<u64> {
    let statement = sweep_sql();
    let mut orphans = 0;
    loop {
        let rows = write(pool, &statement, &[]).await?;
        let (blocks, names): (i64, i64) = rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
        orphans += names.unsigned_abs();
        if blocks == 0 {
            break;
        }
    }
    super::node::forget_dead(pool).await?;
    Ok(orphans)
}

/// Up to `limit` blobs of the deletion list that have been there for `age`.
pub(super) async fn deleted(pool: &Pool, limit: usize, age: Duration) -> Result<Vec<AttachmentId>> {
    let statement = "SELECT blob FROM deleted_blob
        WHERE deleted_at <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1 LIMIT $2";
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query_typed(pool, statement, &[Type::INT8, Type::INT8], &[&age, &limit]).await?;
    Ok(rows.iter().map(|row| AttachmentId(row.get(0))).collect())
}

/// How many blobs are on the deletion list.
pub(super) async fn count_deleted(pool: &Pool) -> Result<u64> {
    let rows = query_typed(pool, "SELECT count(*) FROM deleted_blob", &[], &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

/// Removes blobs from the deletion list.
pub(super) async fn forget(pool: &Pool, blobs: &[AttachmentId]) -> Result<()> {
    let mut blobs: Vec<Uuid> = blobs.iter().map(|blob| blob.0).collect();
    // Several processes may remove the same ones, in the same order.
    blobs.sort_unstable();
    write(pool, "DELETE FROM deleted_blob WHERE blob = ANY ($1)", &[&blobs]).await.map(|_| ())
}
