//! `HttpGet`, `HttpPost`, `HttpPut`, `HttpDelete` to other servers, and what they are sent with.

use super::{bad_parameters, global, headers, text};
use crate::state::Shared;
use bytes::Bytes;
use mlua::{Lua, MultiValue, Value};
use model::ports::http::{HttpBody, HttpClient, HttpMethod, HttpRequest};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What every request of a state is sent with. It stays until a script sets it again.
#[derive(Clone, Debug, Default)]
struct Session {
    credentials: Option<(String, String)>,
    timeout: Option<Duration>,
}

pub(super) fn register(lua: &Lua, shared: &Arc<Shared>) -> mlua::Result<()> {
    let session = Arc::new(Mutex::new(Session::default()));
    for (name, method) in [
        ("HttpGet", HttpMethod::Get),
        ("HttpPost", HttpMethod::Post),
        ("HttpPut", HttpMethod::Put),
        ("HttpDelete", HttpMethod::Delete),
    ] {
        let (shared, session) = (shared.clone(), session.clone());
        let function = lua.create_function(move |lua, arguments: MultiValue| {
            let session = session.lock().unwrap_or_else(PoisonError::into_inner).clone();
            call(lua, &shared, session, name, method, &arguments)
        })?;
        global(lua, name, function)?;
    }
    register_session(lua, session)
}

/// `SetHttpCredentials(user, password)`, `SetHttpTimeout(seconds)`.
fn register_session(lua: &Lua, session: Arc<Mutex<Session>>) -> mlua::Result<()> {
    let of_session = session.clone();
    let credentials = lua.create_function(move |lua, arguments: MultiValue| {
        match (text(lua, arguments.front())?, text(lua, arguments.get(1))?, arguments.len()) {
            (Some(user), Some(password), 2) => {
                let pair = (user.to_string_lossy(), password.to_string_lossy());
                of_session.lock().unwrap_or_else(PoisonError::into_inner).credentials = Some(pair);
                Ok(Value::Nil)
            }
            _ => bad_parameters("SetHttpCredentials"),
        }
    })?;
    global(lua, "SetHttpCredentials", credentials)?;
    let timeout = lua.create_function(move |lua, arguments: MultiValue| {
        let seconds = arguments.front().map(|value| lua.coerce_number(value.clone())).transpose()?.flatten();
        match (seconds, arguments.len()) {
            (Some(seconds), 1) if (0.0..=1e6).contains(&seconds) => {
                let timeout = Duration::from_secs(seconds as u64);
                session.lock().unwrap_or_else(PoisonError::into_inner).timeout = Some(timeout);
                Ok(Value::Nil)
            }
            _ => bad_parameters("SetHttpTimeout"),
        }
    })?;
    global(lua, "SetHttpTimeout", timeout)
}

/// `HttpGet(url, [headers])`, `HttpPost(url, [body, [headers]])` and so on. Returns the body of the answer, of `HttpDelete` a word; nil if the server cannot be reached.
fn call(
    lua: &Lua,
    shared: &Shared,
    session: Session,
    name: &'static str,
    method: HttpMethod,
    arguments: &MultiValue,
) -> mlua::Result<Value> {
    let has_body = matches!(method, HttpMethod::Post | HttpMethod::Put);
    let last = usize::from(has_body) + 1;
    let body = match arguments.get(1).filter(|_| has_body) {
        None | Some(Value::Nil) => Some(Bytes::new()),
        body => text(lua, body)?.map(|body| Bytes::copy_from_slice(&body.as_bytes())),
    };
    let (Some(url), Some(body), true) = (text(lua, arguments.front())?, body, arguments.len() <= last + 1) else {
        return bad_parameters(name);
    };
    let Some(client) = &shared.setup.http else { return Ok(Value::Nil) };
    let headers = headers(lua, arguments.get(last))?.into_iter().collect();
    let Session { credentials, timeout } = session;
    let request = HttpRequest {
        headers,
        body: HttpBody::Bytes(body),
        credentials,
        timeout,
        ..HttpRequest::new(method, url.to_string_lossy())
    };
    match shared.call(ask(client.clone(), request, shared.setup.limits.memory_bytes))? {
        None => Ok(Value::Nil),
        Some(Ok((_, body))) if method != HttpMethod::Delete => Ok(Value::String(lua.create_string(&body)?)),
        Some(Ok((true, _))) => Ok(Value::String(lua.create_string("SUCCESS")?)),
        Some(Ok((false, _))) => {
            tracing::error!(target: "lua", "{name}: the server refuses");
            Ok(Value::Nil)
        }
        Some(Err(error)) => {
            tracing::error!(target: "lua", "{name}: {error}");
            Ok(Value::Nil)
        }
    }
}

/// Whether it went well, and the body of the answer.
async fn ask(client: Arc<dyn HttpClient>, request: HttpRequest, limit: usize) -> model::Result<(bool, Bytes)> {
    let answer = client.send(request).await?;
    Ok((answer.is_success(), answer.read(limit).await?))
}
