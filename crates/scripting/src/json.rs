//! Between JSON and Lua: `ParseJson`, `DumpJson`, arguments of callbacks.

use mlua::{Lua, Value};
use serde_json::{Map, Number, Value as Json};

/// Tables within tables; one that holds itself is deeper.
const MAX_DEPTH: usize = 100;

/// JSON as Lua values. Whole numbers of 32 bits are integers, others are floats (Orthanc).
pub(crate) fn to_lua(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => to_number(number),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (i, item) in items.iter().enumerate() {
                table.raw_set(i + 1, to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
        Json::Object(members) => {
            let table = lua.create_table_with_capacity(0, members.len())?;
            for (name, member) in members {
                table.raw_set(name.as_str(), to_lua(lua, member)?)?;
            }
            Value::Table(table)
        }
    })
}

fn to_number(number: &Number) -> Value {
    let value = number.as_f64().unwrap_or(f64::NAN);
    let small = f64::from(i32::MIN) <= value && value <= f64::from(u32::MAX);
    if small && value.fract() == 0.0 { Value::Integer(value as i64) } else { Value::Number(value) }
}

/// A Lua value as JSON. A table with the keys 1 to n, in this order, is an array, as an empty one is. With `keep_strings`, what is
/// neither a table nor nil becomes a string.
///
/// # Errors
/// What JSON cannot hold: functions, tables that hold themselves, numbers that are not finite.
pub(crate) fn from_lua(lua: &Lua, value: &Value, keep_strings: bool) -> mlua::Result<Json> {
    at_depth(lua, value, keep_strings, 0)
}

fn at_depth(lua: &Lua, value: &Value, keep_strings: bool, depth: usize) -> mlua::Result<Json> {
    if depth > MAX_DEPTH {
        return Err(mlua::Error::runtime(format!("tables within more than {MAX_DEPTH} tables have no JSON")));
    }
    match value {
        Value::Nil => Ok(Json::Null),
        Value::Boolean(value) if !keep_strings => Ok(Json::Bool(*value)),
        Value::Boolean(value) => Ok(Json::String(value.to_string())),
        Value::Integer(_) | Value::Number(_) if keep_strings => {
            let text = lua.coerce_string(value.clone())?.map(|text| text.to_string_lossy());
            Ok(Json::String(text.unwrap_or_default()))
        }
        Value::Integer(value) => Ok(from_number(*value as f64)),
        Value::Number(value) if value.is_finite() => Ok(from_number(*value)),
        Value::String(text) => Ok(Json::String(text.to_string_lossy())),
        Value::Table(table) => from_table(lua, table, keep_strings, depth),
        other => Err(mlua::Error::runtime(format!("a {} has no JSON", other.type_name()))),
    }
}

fn from_number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() <= f64::from(i32::MAX) {
        return Json::from(value as i64);
    }
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

fn from_table(lua: &Lua, table: &mlua::Table, keep_strings: bool, depth: usize) -> mlua::Result<Json> {
    let mut members = vec![];
    let mut is_array = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let name = lua.coerce_string(key)?.ok_or_else(|| mlua::Error::runtime("keys of JSON are strings or numbers"))?;
        let name = name.to_string_lossy();
        is_array = is_array && name.parse() == Ok(members.len() + 1);
        members.push((name, at_depth(lua, &value, keep_strings, depth + 1)?));
    }
    Ok(if is_array {
        Json::Array(members.into_iter().map(|(_, value)| value).collect())
    } else {
        Json::Object(Map::from_iter(members))
    })
}
