//! `/tools/bulk-content`, `/tools/bulk-delete`: many resources in one call.

use crate::creation;
use crate::fields::{RECORD, Show};
use crate::routes::{Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::view;
use axum::body::Body;
use axum::extract::State;
use dataset::json::Format;
use engine::bulk;
use model::{Error, ErrorKind, Level, OrthancId, Result};
use serde_json::Value;
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Routes {
    let resources = || ("Resources", schema::list(schema::text()));
    let content = schema::object(
        &["Resources"],
        vec![
            resources(),
            ("Level", schema::one_of(&Level::ALL.map(Level::name))),
            ("Metadata", schema::flag()),
            ("Short", schema::flag()),
            ("Full", schema::flag()),
        ],
    );
    let delete = schema::object(&["Resources"], vec![resources()]);
    Routes::default()
        .post("/tools/bulk-content", post_content, about("The records of many resources.").json_body(content).json())
        .post("/tools/bulk-delete", post_delete, about("Deletes many resources.").json_body(delete).text())
}

async fn fields(body: Body) -> Result<creation::Fields> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(creation::Fields(members)),
        _ => Err(Error::new(ErrorKind::BadRequest, "The body must contain a JSON object")),
    }
}

/// The ids in `Resources`. What is no identifier names no resource.
fn resources(fields: &creation::Fields) -> Result<Vec<OrthancId>> {
    let bad = || Error::new(ErrorKind::BadDicom, "List of strings expected in field: Resources");
    let texts = fields.0.get("Resources").and_then(creation::strings).ok_or_else(bad)?;
    Ok(texts.into_iter().filter_map(|id| id.parse().ok()).collect())
}

/// `POST /tools/bulk-content`: records of `Resources`, or of what is at `Level` above and below them.
async fn post_content(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Json> {
    let fields = fields(body).await?;
    let show = Show { metadata: fields.flag("Metadata", true)?, ..RECORD };
    let format = match (fields.flag("Short", false)?, fields.flag("Full", false)?) {
        (true, _) => Format::Short,
        (_, true) => Format::Full,
        _ => Format::Simplified,
    };
    let level = fields.string("Level")?.map(|name| {
        Level::parse(name).ok_or_else(|| Error::new(ErrorKind::OutOfRange, format!("Invalid resource type {name:?}")))
    });
    let level = level.transpose()?;
    let ids = resources(&fields)?;
    let found = match level {
        None => bulk::named(&rest.engine, &ctx, &ids, show.fields(Level::Instance)).await?,
        Some(level) => bulk::at_level(&rest.engine, &ctx, &ids, level, show.fields(level)).await?,
    };
    Ok(Json(view::list(&rest, &ctx, found, Some(show), format).await?))
}

/// `POST /tools/bulk-delete`: what is in `Resources` goes; what is not there is passed over.
async fn post_delete(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<String> {
    let fields = fields(body).await?;
    let bad = |_| Error::new(ErrorKind::BadRequest, "The body must contain a Resources array");
    bulk::delete(&rest.engine, &ctx, &resources(&fields).map_err(bad)?).await?;
    Ok(String::new())
}
