//! `RestApiGet`, `RestApiPost`, `RestApiPut`, `RestApiDelete`: the REST API of this process, without a network.

use super::{bad_parameters, global, headers, text};
use crate::state::Shared;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use mlua::{Lua, MultiValue, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request of a script.
#[derive(Clone, Debug)]
pub struct RestRequest {
    pub method: &'static str,
    /// Path and query.
    pub uri: String,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

/// Its answer.
#[derive(Clone, Debug)]
pub struct RestAnswer {
    pub status: u16,
    pub body: Bytes,
}

/// Answers requests of scripts, up to so many bytes. What it calls in turn must be called by the same task.
pub type RestApi = Box<dyn Fn(RestRequest, usize) -> BoxFuture<'static, model::Result<RestAnswer>> + Send + Sync>;

pub(super) fn register(lua: &Lua, shared: &Arc<Shared>) -> mlua::Result<()> {
    for (name, method) in [("RestApiGet", "GET"), ("RestApiPost", "POST"), ("RestApiPut", "PUT"), ("RestApiDelete", "DELETE")] {
        let shared = shared.clone();
        let function = lua.create_function(move |lua, arguments: MultiValue| call(lua, &shared, name, method, &arguments))?;
        global(lua, name, function)?;
    }
    Ok(())
}

/// `RestApiGet(uri, [builtin, [headers]])`, `RestApiPost(uri, body, [builtin, [headers]])` and so on. There are no plugins, so `builtin`
/// makes no difference.
fn call(lua: &Lua, shared: &Shared, name: &'static str, method: &'static str, arguments: &MultiValue) -> mlua::Result<Value> {
    let with_body = matches!(method, "POST" | "PUT");
    let builtin = if with_body { 2 } else { 1 };
    let uri = text(lua, arguments.front())?;
    let body = if with_body { text(lua, arguments.get(1))? } else { Some(lua.create_string("")?) };
    let is_flag = matches!(arguments.get(builtin), None | Some(Value::Boolean(_)));
    let (Some(uri), Some(body), true, true) = (uri, body, is_flag, arguments.len() <= builtin + 2) else {
        return bad_parameters(name);
    };
    let uri = uri.to_string_lossy();
    let Some(rest) = shared.setup.rest.get() else {
        tracing::error!(target: "lua", "{name}: the REST API does not answer yet");
        return Ok(Value::Nil);
    };
    let request = RestRequest {
        method,
        uri: uri.clone(),
        headers: headers(lua, arguments.get(builtin + 1))?,
        body: Bytes::copy_from_slice(&body.as_bytes()),
    };
    match shared.call(rest(request, shared.setup.limits.memory_bytes))? {
        None => Ok(Value::Nil),
        Some(Ok(answer)) if answer.status == 200 && method == "DELETE" => Ok(Value::Boolean(true)),
        Some(Ok(answer)) if answer.status == 200 => Ok(Value::String(lua.create_string(&answer.body)?)),
        Some(Ok(answer)) => {
            let path = uri.split('?').next().unwrap_or_default();
            tracing::error!(target: "lua", path, status = answer.status, "{name} failed");
            Ok(Value::Nil)
        }
        Some(Err(error)) => {
            tracing::error!(target: "lua", "{name} failed: {error}");
            Ok(Value::Nil)
        }
    }
}
