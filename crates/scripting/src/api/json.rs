//! `ParseJson`, `DumpJson`, `GetOrthancConfiguration`.

use super::{global, text};
use crate::json::{from_lua, to_lua};
use crate::state::Shared;
use mlua::{Lua, MultiValue, Value};
use std::sync::Arc;

pub(super) fn register(lua: &Lua, shared: &Arc<Shared>) -> mlua::Result<()> {
    global(lua, "ParseJson", lua.create_function(parse)?)?;
    global(lua, "DumpJson", lua.create_function(dump)?)?;
    let shared = shared.clone();
    let configuration = lua.create_function(move |lua, ()| to_lua(lua, &shared.setup.configuration))?;
    global(lua, "GetOrthancConfiguration", configuration)
}

/// `ParseJson(text)`: nil if it is no JSON.
fn parse(lua: &Lua, arguments: MultiValue) -> mlua::Result<Value> {
    let Some(json) = text(lua, arguments.front())? else { return Ok(Value::Nil) };
    match serde_json::from_slice(&json.as_bytes()) {
        Ok(json) => to_lua(lua, &json),
        Err(_) => Ok(Value::Nil),
    }
}

/// `DumpJson(value, [keepStrings])`.
fn dump(lua: &Lua, arguments: MultiValue) -> mlua::Result<Value> {
    let keep_strings = match (arguments.len(), arguments.get(1)) {
        (1, _) => false,
        (2, Some(Value::Boolean(keep))) => *keep,
        _ => return Ok(Value::Nil),
    };
    let json = from_lua(lua, arguments.front().unwrap_or(&Value::Nil), keep_strings)?;
    Ok(Value::String(lua.create_string(json.to_string())?))
}
