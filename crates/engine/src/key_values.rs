//! What scripts keep for all processes, by the names of a store and of a key (Orthanc: Lua `StoreKeyValue` and so on).

use crate::{Ctx, Engine};
use model::{Error, ErrorKind, Result};

/// Of the names of a store and of a key, together.
const MOST_NAME_BYTES: usize = 2000;
/// Of one value.
const MOST_VALUE_BYTES: usize = 16 << 20;

/// # Errors
/// `TooLarge` for longer names than an index of a database takes.
fn check(store: &[u8], key: &[u8]) -> Result<()> {
    if store.len() + key.len() <= MOST_NAME_BYTES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, format!("the names of store and key have more than {MOST_NAME_BYTES} bytes")))
}

/// Adds or replaces a value. The very next read through any process sees it.
///
/// # Errors
/// `TooLarge`, `ReadOnly`, `DatabaseUnavailable`.
pub async fn put(eng: &Engine, _ctx: &Ctx, store: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
    eng.writable()?;
    check(store, key)?;
    if value.len() > MOST_VALUE_BYTES {
        return Err(Error::new(ErrorKind::TooLarge, format!("the value has more than {MOST_VALUE_BYTES} bytes")));
    }
    eng.index.put_value(store, key, value).await
}

/// The value, if there is one.
///
/// # Errors
/// `TooLarge`, `DatabaseUnavailable`.
pub async fn get(eng: &Engine, _ctx: &Ctx, store: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
    check(store, key)?;
    eng.index.value(store, key).await
}

/// Deletes a value, if there is one.
///
/// # Errors
/// As [`put`].
pub async fn delete(eng: &Engine, _ctx: &Ctx, store: &[u8], key: &[u8]) -> Result<()> {
    eng.writable()?;
    check(store, key)?;
    eng.index.delete_value(store, key).await
}
