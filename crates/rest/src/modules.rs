//! The tags of the DICOM module that belongs to a level, from the first instance at or below it.

use crate::routes::{Routes, about};
use crate::state::Rest;
use crate::tags::{FORMAT, IGNORE_LENGTH, options, wanted};
use crate::target::Target;
use axum::extract::State;
use dataset::DataSet;
use dataset::json::orthanc;
use engine::Ctx;
use engine::read::{self, Extent};
use model::{Level, Result, modules};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

pub fn routes() -> Routes {
    let module = |summary| about(summary).query(&FORMAT).query(&[IGNORE_LENGTH]).json();
    let patient = module("The tags of the patient module, as a file of the study has them.");
    let routes = Routes::default().get("/studies/{id}/module-patient", get_module_patient, patient);
    Level::ALL.into_iter().fold(routes, |routes, level| {
        routes.get(&format!("/{}/{{id}}/module", level.folder()), get_module, module("The tags of the module of the level."))
    })
}

async fn module(rest: &Rest, ctx: &Ctx, target: Target, module: Level, params: &Params) -> Result<Json> {
    let (format, options) = (wanted(params), options(rest, params)?);
    let all = read::first_dataset(&rest.engine, ctx, target.level, target.id, Extent::Header).await?.dataset;
    let mut tags = DataSet::with_charset(all.charset());
    for tag in modules::of(module) {
        if let Some(element) = all.get(*tag) {
            tags.put(element.clone());
        }
    }
    Ok(Json(orthanc(&tags, format, &options, &rest.engine.config.dictionary)))
}

/// `GET /{level}/{id}/module`: the tags of the level's own module.
async fn get_module(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    Ok(module(&rest, &ctx, target, target.level, &params).await?)
}

/// `GET /studies/{id}/module-patient`: the tags of the patient module, as the study's files have them.
async fn get_module_patient(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    params: Params,
) -> HttpResult<Json> {
    Ok(module(&rest, &ctx, target, Level::Patient, &params).await?)
}
