//! What scripts keep and change in the index: `StoreKeyValue`, `GetKeyValue`, `DeleteKeyValue`, `SetStableStatus`.
//!
//! Here nil means "there is none", so whatever fails is an error of Lua.

use super::{global, text};
use crate::state::Shared;
use engine::{Ctx, Engine, Stability, annotations, key_values};
use mlua::{Lua, LuaString, MultiValue, Value};
use model::{Error, ErrorKind, Origin, OrthancId, RequestOrigin, Result};
use std::sync::Arc;

pub(super) fn register(lua: &Lua, shared: &Arc<Shared>) -> mlua::Result<()> {
    let of = shared.clone();
    let put = lua.create_function(move |lua, arguments: MultiValue| {
        let names = "StoreKeyValue(store, key, value)";
        let [store, key, value] = strings(lua, &arguments, names)?;
        let done = of.ask(names, async |eng, ctx| {
            key_values::put(eng, ctx, &store.as_bytes(), &key.as_bytes(), &value.as_bytes()).await
        })?;
        Ok(done.map(|()| true))
    })?;
    global(lua, "StoreKeyValue", put)?;
    let of = shared.clone();
    let get = lua.create_function(move |lua, arguments: MultiValue| {
        let names = "GetKeyValue(store, key)";
        let [store, key] = strings(lua, &arguments, names)?;
        let value = of.ask(names, async |eng, ctx| key_values::get(eng, ctx, &store.as_bytes(), &key.as_bytes()).await)?;
        value.flatten().map(|value| lua.create_string(value)).transpose()
    })?;
    global(lua, "GetKeyValue", get)?;
    let of = shared.clone();
    let delete = lua.create_function(move |lua, arguments: MultiValue| {
        let names = "DeleteKeyValue(store, key)";
        let [store, key] = strings(lua, &arguments, names)?;
        let done = of.ask(names, async |eng, ctx| key_values::delete(eng, ctx, &store.as_bytes(), &key.as_bytes()).await)?;
        Ok(done.map(|()| true))
    })?;
    global(lua, "DeleteKeyValue", delete)?;
    let of = shared.clone();
    global(lua, "SetStableStatus", lua.create_function(move |lua, arguments| set_stable(lua, &of, &arguments))?)
}

/// `SetStableStatus(resource, stable)`: whether the resource was in the other state, nil if there is no such resource (Orthanc).
fn set_stable(lua: &Lua, shared: &Shared, arguments: &MultiValue) -> mlua::Result<Option<bool>> {
    let names = "SetStableStatus(resource, stable)";
    let id = text(lua, arguments.front())?;
    let (Some(id), Some(Value::Boolean(stable)), 2) = (id, arguments.get(1), arguments.len()) else {
        return Err(mlua::Error::runtime(format!("{names} takes a string and a boolean")));
    };
    let to = if *stable { Stability::Stable } else { Stability::Unstable };
    let id = id.to_string_lossy();
    let changed = shared.ask(names, async |eng, ctx| {
        let set = async { annotations::set_stability(eng, ctx, id.parse::<OrthancId>()?, to).await };
        match set.await {
            Err(error) if error.kind() == ErrorKind::UnknownResource => {
                tracing::error!(target: "lua", "{names}: {error}");
                Ok(None)
            }
            changed => changed.map(Some),
        }
    })?;
    Ok(changed.flatten())
}

/// # Errors
/// Unless exactly these are given.
fn strings<const N: usize>(lua: &Lua, arguments: &MultiValue, names: &str) -> mlua::Result<[LuaString; N]> {
    let given = arguments.iter().map(|value| text(lua, Some(value))).collect::<mlua::Result<Option<Vec<_>>>>()?;
    let exact = given.and_then(|given| <[LuaString; N]>::try_from(given).ok());
    exact.ok_or_else(|| mlua::Error::runtime(format!("{names} takes {N} strings")))
}

impl Shared {
    /// What a use case answers; `None` if the script is run again for its definitions only.
    fn ask<T>(&self, names: &str, work: impl AsyncFnOnce(&Engine, &Ctx) -> Result<T>) -> mlua::Result<Option<T>> {
        let failed = |error: Error| mlua::Error::external(Error::new(error.kind(), format!("{names}: {error}")));
        let engine = self.setup.engine.get().ok_or_else(|| failed(ErrorKind::Busy.into()))?;
        let ctx = Ctx { origin: Origin { door: RequestOrigin::Lua, ..Origin::default() }, ..Ctx::default() };
        self.call(work(engine, &ctx))?.transpose().map_err(failed)
    }
}
