//! `/series/{id}/ordered-slices`.

use crate::routes::{Routes, about};
use crate::state::Rest;
use crate::target::Target;
use axum::extract::State;
use engine::slices::{self, Kind};
use serde_json::{Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

/// Frames that are listed one by one; a file may claim any number of them.
const MAX_LISTED_FRAMES: u32 = 100_000;

pub fn routes() -> Routes {
    let ordered =
        about("The files and frames of a series in the order of their positions.").json().fails("Nothing tells the order");
    Routes::default().get("/series/{id}/ordered-slices", get_ordered, ordered)
}

/// `GET /series/{id}/ordered-slices`: files and frames in the order of their positions.
async fn get_ordered(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<Json> {
    let (kind, slices) = slices::ordered(&rest.engine, &ctx, target.id).await?;
    let files: Vec<Value> = slices.iter().map(|s| json!(format!("/instances/{}/file", s.instance))).collect();
    let mut frames = vec![];
    for slice in &slices {
        let most = MAX_LISTED_FRAMES.saturating_sub(frames.len() as u32);
        frames.extend((0..slice.frames.min(most)).map(|n| json!(format!("/instances/{}/frames/{n}", slice.instance))));
    }
    let short: Vec<Value> = slices.iter().map(|s| json!([s.instance.to_string(), 0, s.frames])).collect();
    Ok(Json(json!({
        "Dicom": files,
        "Slices": frames,
        "SlicesShort": short,
        "Type": match kind {
            Kind::Volume => "Volume",
            Kind::Sequence => "Sequence",
        },
    })))
}
