//! `/{level}/{id}/reconstruct`, `/tools/reconstruct`: the index is told again what the files say.

use crate::routes::{Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::target::Target;
use axum::body::Body;
use axum::extract::State;
use engine::reconstruct::{self, Files, Reach};
use model::{Error, ErrorKind, Level, Result};
use serde_json::Value;
use std::sync::Arc;
use web::Caller;
use web::error::HttpResult;

pub fn routes() -> Routes {
    let wanted =
        schema::object(&[], vec![("LimitToThisLevelMainDicomTags", schema::flag()), ("ReconstructFiles", schema::flag())]);
    let post = |summary| about(summary).body("application/json", wanted.clone()).text();
    let everything = post("Reads all files again, and puts right what the index says of them.");
    Level::ALL.into_iter().fold(Routes::default().post("/tools/reconstruct", post_everything, everything), |routes, level| {
        let about = post("Reads the files of a resource again, and puts right what the index says of them.");
        routes.post(&format!("/{}/{{id}}/reconstruct", level.folder()), post_one, about)
    })
}

/// What the body asks for.
struct Wanted {
    reach: Reach,
    files: Files,
}

impl Wanted {
    /// Reads `LimitToThisLevelMainDicomTags` and `ReconstructFiles`; an empty body asks for neither.
    async fn read(body: Body) -> Result<Self> {
        let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
        let fields = match bytes.trim_ascii() {
            [] => Value::Object(Default::default()),
            text => serde_json::from_slice(text).map_err(|e| Error::new(ErrorKind::BadJson, e.to_string()))?,
        };
        let fields = fields.as_object().ok_or_else(|| Error::new(ErrorKind::BadJson, "the body must be a JSON object"))?;
        let flag = |name: &str| match fields.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Error::new(ErrorKind::BadDicom, format!("The field {name} must contain a Boolean"))),
        };
        Ok(Self {
            reach: if flag("LimitToThisLevelMainDicomTags")? { Reach::OwnLevel } else { Reach::AllLevels },
            files: if flag("ReconstructFiles")? { Files::Rewrite } else { Files::Keep },
        })
    }
}

/// `POST /{level}/{id}/reconstruct`.
async fn post_one(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, body: Body) -> HttpResult<()> {
    let wanted = Wanted::read(body).await?;
    Ok(reconstruct::reconstruct(&rest.engine, &ctx, (target.level, target.id), wanted.reach, wanted.files).await?)
}

/// `POST /tools/reconstruct`: everything that is stored; it may take long.
async fn post_everything(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<()> {
    let wanted = Wanted::read(body).await?;
    Ok(reconstruct::everything(&rest.engine, &ctx, wanted.files).await?)
}
