//! Callbacks that decide about what comes in, new instances and HTTP requests, and about instances that go out.

use crate::pool::Pool;
use dataset::Dictionary;
use dataset::json::{Format, JsonOptions, orthanc};
use mlua::Value;
use model::ports::hooks::{Destination, Incoming, IncomingHttp, Verdict};
use model::{Error, ErrorKind, Origin, RequestOrigin, Result};
use serde_json::{Value as Json, json};
use std::sync::Arc;

const RECEIVED: &str = "ReceivedInstanceFilter";
const RECEIVED_BY_STORE: &str = "ReceivedCStoreInstanceFilter";
const OUTGOING: &str = "OutgoingCStoreInstanceFilter";
const HTTP: &str = "IncomingHttpRequestFilter";
/// Longer values are left out of what callbacks see of a data set (Orthanc).
const MAX_VALUE_BYTES: usize = 256;

/// A data set as callbacks see it.
pub(crate) fn tags(data: &dataset::DataSet, dictionary: &Dictionary) -> Json {
    let options = JsonOptions { max_string_length: MAX_VALUE_BYTES, ..JsonOptions::default() };
    orthanc(data, Format::Simplified, &options, dictionary)
}

/// Where an instance comes from.
fn origin(origin: &Origin) -> Json {
    let mut json = json!({"RequestOrigin": origin.door.name()});
    match origin.door {
        RequestOrigin::DicomProtocol => {
            json["RemoteIp"] = origin.remote_ip.as_str().into();
            json["RemoteAet"] = origin.remote_aet.as_str().into();
            json["CalledAet"] = origin.called_aet.as_str().into();
        }
        RequestOrigin::RestApi | RequestOrigin::WebDav => {
            json["RemoteIp"] = origin.remote_ip.as_str().into();
            json["Username"] = origin.http_user.as_str().into();
        }
        RequestOrigin::Unknown | RequestOrigin::Plugins | RequestOrigin::Lua => {}
    }
    json
}

/// Asks the filters of new instances.
///
/// # Errors
/// `Script` if a filter fails, or answers what it must not: the instance is not stored.
pub(crate) async fn received(pool: &Arc<Pool>, dictionary: &Dictionary, incoming: &Incoming<'_>) -> Result<Verdict> {
    let defined = pool.callbacks().await?;
    let by_store = defined.has(RECEIVED_BY_STORE) && incoming.origin.door == RequestOrigin::DicomProtocol;
    if !defined.has(RECEIVED) && !by_store {
        return Ok(Verdict::Accept);
    }
    let info = json!({"HasPixelData": incoming.has_pixel_data, "TransferSyntaxUID": incoming.transfer_syntax});
    let arguments = [tags(incoming.header, dictionary), origin(incoming.origin), info];
    pool.run(move |state, depth| {
        if !predicate(RECEIVED, state.call(RECEIVED, &arguments, depth)?)? {
            return Ok(Verdict::Discard);
        }
        if !by_store {
            return Ok(Verdict::Accept);
        }
        match state.call(RECEIVED_BY_STORE, &arguments, depth)? {
            None => Ok(Verdict::Accept),
            Some(value) => status(&value).ok_or_else(|| wrong(RECEIVED_BY_STORE, "a DIMSE status from 0 to 65535", &value)),
        }
    })
    .await
}

/// 0 accepts; any other DIMSE status refuses.
fn status(value: &Value) -> Option<Verdict> {
    let number = match value {
        Value::Integer(number) => u16::try_from(*number).ok()?,
        Value::Number(number) if number.fract() == 0.0 => u16::try_from(*number as i64).ok()?,
        _ => return None,
    };
    Some(if number == 0 { Verdict::Accept } else { Verdict::Refuse(number) })
}

fn wrong(name: &str, expected: &str, found: &Value) -> Error {
    Error::new(ErrorKind::Script, format!("{name} must return {expected}, not a {}", found.type_name()))
}

/// Asks the filter of instances that are sent by C-STORE.
///
/// # Errors
/// `Script` as in [`received`]: the instance is not sent.
pub(crate) async fn outgoing(
    pool: &Arc<Pool>,
    dictionary: &Dictionary,
    header: &dataset::DataSet,
    destination: Destination,
) -> Result<bool> {
    let destination = json!({"RemoteAet": destination.remote_aet, "RemoteIp": destination.remote_ip});
    let arguments = [tags(header, dictionary), destination];
    pool.run(move |state, depth| predicate(OUTGOING, state.call(OUTGOING, &arguments, depth)?)).await
}

/// What a filter says that answers yes or no; one that is not defined says yes.
fn predicate(name: &str, answer: Option<Value>) -> Result<bool> {
    match answer {
        None => Ok(true),
        Some(Value::Boolean(allowed)) => Ok(allowed),
        Some(other) => Err(wrong(name, "true or false", &other)),
    }
}

/// Asks the filter of HTTP requests.
///
/// # Errors
/// `Script` as in [`received`]: the request is not answered.
pub(crate) async fn http(pool: &Arc<Pool>, request: &(dyn Fn() -> IncomingHttp + Send + Sync)) -> Result<bool> {
    if !pool.callbacks().await?.has(HTTP) {
        return Ok(true);
    }
    let IncomingHttp { method, path, remote_ip, user, headers } = request();
    let headers: serde_json::Map<String, Json> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    let arguments = [method.into(), path.into(), remote_ip.into(), user.into(), headers.into()];
    pool.run(move |state, depth| predicate(HTTP, state.call(HTTP, &arguments, depth)?)).await
}
