//! The functions of the server that scripts may call, one file for each area. They are named and behave as in the Orthanc book: what
//! fails is logged, and returns nil, unless a file says otherwise.

mod data;
mod http;
mod json;
pub(crate) mod rest;

use crate::state::Shared;
use mlua::{Function, Lua, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Registers all of them.
pub(crate) fn register(lua: &Lua, shared: &Arc<Shared>) -> mlua::Result<()> {
    data::register(lua, shared)?;
    json::register(lua, shared)?;
    http::register(lua, shared)?;
    rest::register(lua, shared)
}

fn global(lua: &Lua, name: &str, function: Function) -> mlua::Result<()> {
    lua.globals().raw_set(name, function)
}

/// A string, or a number that is taken for one.
fn text(lua: &Lua, value: Option<&Value>) -> mlua::Result<Option<mlua::LuaString>> {
    match value {
        Some(value @ (Value::String(_) | Value::Integer(_) | Value::Number(_))) => lua.coerce_string(value.clone()),
        _ => Ok(None),
    }
}

/// Headers from a table.
fn headers(lua: &Lua, value: Option<&Value>) -> mlua::Result<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    if let Some(Value::Table(table)) = value {
        for pair in table.pairs::<Value, Value>() {
            let (name, value) = pair?;
            if let (Some(name), Some(value)) = (text(lua, Some(&name))?, text(lua, Some(&value))?) {
                headers.insert(name.to_string_lossy(), value.to_string_lossy());
            }
        }
    }
    Ok(headers)
}

fn bad_parameters(function: &str) -> mlua::Result<Value> {
    tracing::error!(target: "lua", "bad parameters of {function}()");
    Ok(Value::Nil)
}
