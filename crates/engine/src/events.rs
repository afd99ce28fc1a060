//! Delivers events to scripts: at least once, in the order of each resource, in one process at a time (Orthanc: Lua `OnStoredInstance`,
//! `OnStableStudy`, `OnJobSuccess` and so on).

use crate::jobs::kinds::SequenceOfOperations;
use crate::jobs::{self, JobOptions};
use crate::read::{self, Extent, Stored};
use crate::{Ctx, Engine, blobs};
use dataset::json::{Format, JsonOptions, orthanc};
use futures_util::{StreamExt, stream};
use model::event::{Event, EventKind, EventKinds, Subject};
use model::{ChangeType, Error, ErrorKind, Fields, FindRequest, Level, MetadataKind, Origin, OrthancId, RequestOrigin, Result};
use model::{Resource, TagMap};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks at the outbox.
const LOOK: Duration = Duration::from_millis(250);
/// Events taken at once.
const MANY: usize = 32;
/// How long they are held. One script may run for five minutes.
const HELD: Duration = Duration::from_secs(900);
/// After so long, what was taken and is not begun goes back to the others.
const PATIENCE: Duration = Duration::from_secs(300);
/// Subjects whose events are delivered at once.
const AT_ONCE: usize = 4;
/// Longer values are left out of what callbacks see of a data set (Orthanc).
const MAX_VALUE_BYTES: usize = 256;

/// Says what scripts listen to. Call it at the start, before anything can happen.
pub async fn listen(eng: &Engine) -> Result<()> {
    let kinds = kinds_of(&eng.hooks.callbacks().await?);
    eng.index.listen(eng.node.id(), kinds).await?;
    *eng.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(kinds);
    Ok(())
}

/// Says it again if it may have changed.
pub(crate) async fn listen_again(eng: &Engine) -> Result<()> {
    let told = *eng.listening.lock().unwrap_or_else(PoisonError::into_inner);
    match told {
        Some(told) if told != kinds_of(&eng.hooks.callbacks().await?) => listen(eng).await,
        _ => Ok(()),
    }
}

/// Every callback of an event, by kind and level of the resource.
fn names(kind: EventKind, level: Option<Level>) -> Vec<String> {
    let of = |prefix: &str| level.map(|level| format!("On{prefix}{}", level.name())).into_iter().collect();
    match kind {
        EventKind::Change(ChangeType::NewInstance) => vec!["OnStoredInstance".to_owned(), "OnNewInstance".to_owned()],
        EventKind::Change(ChangeType::NewPatient | ChangeType::NewStudy | ChangeType::NewSeries) => of("New"),
        EventKind::Change(ChangeType::StablePatient | ChangeType::StableStudy | ChangeType::StableSeries) => of("Stable"),
        EventKind::Change(ChangeType::UpdatedAttachment | ChangeType::UpdatedMetadata) => of("Updated"),
        EventKind::Change(_) => vec![],
        EventKind::Deleted => of("Deleted"),
        EventKind::JobSubmitted => vec!["OnJobSubmitted".to_owned()],
        EventKind::JobSuccess => vec!["OnJobSuccess".to_owned()],
        EventKind::JobFailure => vec!["OnJobFailure".to_owned()],
    }
}

fn kinds_of(callbacks: &[&'static str]) -> EventKinds {
    let others = [EventKind::Deleted, EventKind::JobSubmitted, EventKind::JobSuccess, EventKind::JobFailure];
    let all = ChangeType::ALL.map(EventKind::Change).into_iter().chain(others);
    let listened = |kind: &EventKind| {
        let levels = Level::ALL.map(Some);
        levels.into_iter().flat_map(|level| names(*kind, level)).any(|name| callbacks.contains(&name.as_str()))
    };
    all.filter(listened).fold(EventKinds::default(), EventKinds::with)
}

/// Delivers until `stop`. `Initialize` is called before, `Finalize` behind all others.
pub(crate) async fn run(eng: Arc<Engine>, stop: CancellationToken) {
    let call = async |name: &str| report(name, eng.hooks.event(name, vec![]).await);
    call("Initialize").await;
    let mut failing = false;
    let mut next_beat = Instant::now();
    while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
        let result = async {
            while deliver(&eng, &stop).await? {}
            if eng.config.heart_beat > Duration::ZERO && Instant::now() >= next_beat {
                next_beat = Instant::now() + Duration::from_secs(1).min(eng.config.heart_beat);
                heart_beat(&eng).await?;
            }
            Ok::<_, Error>(())
        };
        match result.await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "events of scripts cannot be delivered now");
                }
                failing = true;
            }
        }
    }
    call("Finalize").await;
}

async fn heart_beat(eng: &Engine) -> Result<()> {
    const NAME: &str = "OnHeartBeat";
    if eng.hooks.callbacks().await?.contains(&NAME) && eng.index.heart_beat(eng.config.heart_beat).await? {
        report(NAME, eng.hooks.event(NAME, vec![]).await);
    }
    Ok(())
}

/// What a callback fails with is its author's affair: it is logged, and the event counts as delivered (Orthanc).
fn report(name: &str, called: Result<Vec<Value>>) -> Vec<Value> {
    called.unwrap_or_else(|error| {
        tracing::error!(target: "lua", "{name}: {error}");
        vec![]
    })
}

/// Delivers some events. Whether there were any.
async fn deliver(eng: &Arc<Engine>, stop: &CancellationToken) -> Result<bool> {
    if stop.is_cancelled() {
        return Ok(false);
    }
    let node = eng.node.id();
    let taken = eng.index.take_events(node, MANY, HELD).await?;
    let any = !taken.is_empty();
    let until = Instant::now() + PATIENCE;
    let mut by_subject: BTreeMap<Subject, Vec<Event>> = BTreeMap::new();
    for event in taken {
        by_subject.entry(event.subject).or_default().push(event);
    }
    let all = by_subject.into_values().map(|events| async move {
        let mut events = events.into_iter();
        for event in events.by_ref() {
            let begun = Instant::now() < until && !stop.is_cancelled();
            let done = if begun { one(eng, &event).await } else { Ok(false) };
            if !matches!(done, Ok(true)) {
                let back: Vec<i64> = [event.seq].into_iter().chain(events.map(|e| e.seq)).collect();
                eng.index.settle_events(node, &[], &back).await?;
                return done.map(|_| ());
            }
            eng.index.settle_events(node, &[event.seq], &[]).await?;
        }
        Ok::<_, Error>(())
    });
    let results: Vec<Result<()>> = stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect::<Result<()>>()?;
    Ok(any)
}

/// Delivers one event and submits the job that its callbacks ask for.
///
/// # Errors
/// Those of the index, also if it was a script that met them, and of the storage area: the event must come again.
async fn one(eng: &Arc<Engine>, event: &Event) -> Result<bool> {
    let (level, id) = match event.subject {
        Subject::Job(job) => (None, job.to_string()),
        Subject::Resource(level, id) => (Some(level), id.to_string()),
    };
    let callbacks = eng.hooks.callbacks().await?;
    for name in names(event.kind, level) {
        let Some(name) = callbacks.iter().find(|defined| **defined == name) else { continue };
        let mut arguments = vec![Value::String(id.clone())];
        if let Subject::Resource(level, id) = event.subject {
            match details(eng, name, level, id).await {
                Ok(more) => arguments.extend(more),
                // It was deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::UnknownResource => continue,
                // It will not get better, and others wait behind it.
                Err(error) if is_unreadable(&error) => {
                    tracing::error!(target: "lua", "{name}: instance {id} cannot be told: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        let operations = match eng.hooks.event(name, arguments).await {
            // The index was away, or no state was free: the script is not to blame.
            Err(error) if jobs::is_transient(error.kind()) => return Err(error),
            called => report(name, called),
        };
        if !operations.is_empty() {
            submit(eng, event.seq, name, operations).await?;
        }
    }
    Ok(true)
}

/// The event's number is the key of the job, so that a second delivery does not make a second job.
async fn submit(eng: &Arc<Engine>, seq: i64, name: &str, operations: Vec<Value>) -> Result<()> {
    let key = format!("event {seq} {name}");
    let origin = Origin { door: RequestOrigin::Lua, ..Origin::default() };
    let ctx = Ctx { origin, idempotency_key: Some(key) };
    let job = match SequenceOfOperations::new(operations) {
        Ok(job) => job,
        Err(error) => {
            tracing::error!(target: "lua", "{name}: {error}");
            return Ok(());
        }
    };
    jobs::submit(eng, &ctx, &job, JobOptions::default()).await.map(|_| ())
}

/// What a callback is told beside the id.
async fn details(eng: &Engine, name: &str, level: Level, id: OrthancId) -> Result<Vec<Value>> {
    let stored = name == "OnStoredInstance";
    if !stored && !name.starts_with("OnStable") {
        return Ok(vec![]);
    }
    let fields = Fields { metadata: true, ..Fields::NONE };
    let found = eng.index.find(&FindRequest::one(level, id, fields)).await?.pop();
    let found = found.ok_or_else(|| Error::new(ErrorKind::UnknownResource, format!("{} {id} is gone", level.name())))?;
    let metadata: Map<String, Value> =
        found.metadata.iter().map(|(kind, m)| (eng.config.metadata_names.name(*kind), m.value.as_str().into())).collect();
    if !stored {
        return Ok(vec![main_tags(eng, &found.tags[level as usize]), metadata.into()]);
    }
    let file = header(eng, id).await?;
    let options = JsonOptions { max_string_length: MAX_VALUE_BYTES, ..JsonOptions::default() };
    let tags = orthanc(&file.dataset, Format::Simplified, &options, &eng.config.dictionary);
    Ok(vec![tags, metadata.into(), origin(&found)])
}

/// Whether a file is lost or damaged, or cannot be read now.
fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::InexistentFile)
}

/// The header of an instance.
///
/// # Errors
/// `Corrupted` or `InexistentFile` if its file is lost or damaged; `CannotWrite` while the whole storage area is away.
async fn header(eng: &Engine, id: OrthancId) -> Result<Stored> {
    let read = async || read::dataset(eng, &Ctx::default(), id, Extent::Header).await;
    match read().await {
        Err(error) if is_unreadable(&error) => {
            blobs::probe(eng).await?;
            let again = read().await;
            if again.as_ref().is_err_and(is_unreadable) {
                blobs::probe(eng).await?;
            }
            again
        }
        file => file,
    }
}

fn main_tags(eng: &Engine, tags: &TagMap) -> Value {
    let name = |tag| eng.config.dictionary.name_of_number(tag).unwrap_or_else(|| "Unknown Tag & Data".to_owned());
    tags.iter().map(|(tag, value)| (name(tag), Value::from(value))).collect::<Map<_, _>>().into()
}

/// Where an instance came from, as far as its metadata tell.
fn origin(instance: &Resource) -> Value {
    let text = |kind| instance.metadata.get(&kind).map(|m| m.value.as_str()).unwrap_or_default();
    let door = text(MetadataKind::ORIGIN);
    let mut origin = json!({ "RequestOrigin": if door.is_empty() { RequestOrigin::Unknown.name() } else { door } });
    let more: &[(&str, MetadataKind)] = if door == RequestOrigin::DicomProtocol.name() {
        &[("RemoteIp", MetadataKind::REMOTE_IP), ("RemoteAet", MetadataKind::REMOTE_AET), ("CalledAet", MetadataKind::CALLED_AET)]
    } else if [RequestOrigin::RestApi.name(), RequestOrigin::WebDav.name()].contains(&door) {
        &[("RemoteIp", MetadataKind::REMOTE_IP), ("Username", MetadataKind::HTTP_USERNAME)]
    } else {
        &[]
    };
    for (name, kind) in more {
        origin[*name] = text(*kind).into();
    }
    origin
}
