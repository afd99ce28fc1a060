//! The tags of every instance of a patient, study or series, and those that they share.

use crate::routes::{Routes, about};
use crate::state::Rest;
use crate::tags::{FORMAT, IGNORE_LENGTH, options, wanted};
use crate::target::Target;
use axum::extract::State;
use dataset::json::orthanc;
use engine::read::{self, Extent};
use engine::{Ctx, Query, find};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{ErrorKind, Level, Result};
use serde_json::{Map, Value};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

/// Headers read at once.
const PARALLEL_READS: usize = 4;

pub fn routes() -> Routes {
    let tags = |summary| about(summary).query(&FORMAT).query(&[IGNORE_LENGTH]).json();
    [Level::Patient, Level::Study, Level::Series].into_iter().fold(Routes::default(), |routes, level| {
        let one = format!("/{}/{{id}}", level.folder());
        routes.get(&format!("{one}/instances-tags"), get_instances_tags, tags("The tags of each instance below.")).get(
            &format!("{one}/shared-tags"),
            get_shared_tags,
            tags("The tags that all instances below share."),
        )
    })
}

/// The tags of each instance below, by its id.
async fn all(rest: &Rest, ctx: &Ctx, target: Target, params: &Params) -> Result<Vec<(String, Value)>> {
    let (format, options) = (wanted(params), options(rest, params)?);
    let query = Query { related_to: vec![(target.level, target.id)], ..Query::all(Level::Instance) };
    let found = find::find(&rest.engine, ctx, &query).await?;
    if found.is_empty() {
        return Err(ErrorKind::UnknownResource.into());
    }
    let options = &options;
    let one = |id: model::OrthancId| async move {
        let stored = read::dataset(&rest.engine, ctx, id, Extent::Header).await?.with_empty_pixels();
        Ok((id.to_string(), orthanc(&stored.dataset, format, options, &rest.engine.config.dictionary)))
    };
    stream::iter(found.into_iter().map(|f| one(f.resource.id))).buffered(PARALLEL_READS).try_collect().await
}

/// `GET /{level}/{id}/instances-tags`.
async fn get_instances_tags(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    params: Params,
) -> HttpResult<Json> {
    let all = all(&rest, &ctx, target, &params).await?;
    Ok(Json(Value::Object(all.into_iter().collect::<Map<_, _>>())))
}

/// `GET /{level}/{id}/shared-tags`: the tags that have the same value in all instances.
async fn get_shared_tags(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let mut all = all(&rest, &ctx, target, &params).await?.into_iter().map(|(_, tags)| tags);
    let Some(Value::Object(mut shared)) = all.next() else { return Err(model::Error::from(ErrorKind::Internal).into()) };
    // Orthanc: neither sequences nor what is no text.
    shared.retain(|_, value| value.is_string() || value.get("Type").is_some_and(|kind| kind == "String"));
    for tags in all {
        shared.retain(|key, value| tags.get(key.as_str()) == Some(value));
    }
    Ok(Json(Value::Object(shared)))
}
