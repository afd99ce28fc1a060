//! `/tools/find`, `/tools/count-resources`, `/tools/lookup`, `/tools/bulk-content`.

use crate::fields::{self, RECORD, Show};
use crate::routes::{Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::view;
use axum::body::Body;
use axum::extract::State;
use dataset::json::Format;
use engine::{Query, find};
use model::matching::{Ranges, parse_rule};
use model::query::{LabelsRule, MetadataConstraint, OrderAs, OrderBy, OrderKey};
use model::{Error, ErrorKind, Fields, Level, OrthancId, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Routes {
    Routes::default()
        .post("/tools/find", post_find, about("Searches for resources.").json_body(search()).json())
        .post("/tools/count-resources", post_count, about("Counts what a search would find.").json_body(search()).json())
        .post("/tools/lookup", post_lookup, about("Which resources have a DICOM identifier.").text_body(schema::text()).json())
}

/// What [`parse`] reads.
fn search() -> Value {
    let order = schema::object(
        &["Direction", "Type", "Key"],
        vec![
            ("Direction", schema::one_of(&["ASC", "DESC"])),
            (
                "Type",
                schema::one_of(&["DicomTag", "DicomTagAsInt", "DicomTagAsFloat", "Metadata", "MetadataAsInt", "MetadataAsFloat"]),
            ),
            ("Key", schema::text()),
        ],
    );
    schema::object(
        &["Level", "Query"],
        vec![
            ("Level", schema::one_of(&Level::ALL.map(Level::name))),
            ("Query", schema::map(schema::text())),
            ("MetadataQuery", schema::map(schema::text())),
            ("CaseSensitive", schema::flag()),
            ("Labels", schema::list(schema::text())),
            ("LabelsConstraint", schema::one_of(&["All", "Any", "None"])),
            ("OrderBy", schema::list(order)),
            ("Since", schema::count()),
            ("Limit", schema::count()),
            ("ParentPatient", schema::text()),
            ("ParentStudy", schema::text()),
            ("ParentSeries", schema::text()),
            ("Expand", schema::flag()),
            ("ResponseContent", schema::list(schema::one_of(&fields::PARTS))),
            ("RequestedTags", schema::list(schema::text())),
            ("Short", schema::flag()),
            ("Full", schema::flag()),
        ],
    )
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

/// The body as a JSON object.
async fn object(body: Body) -> Result<Map<String, Value>> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(bad("the body must contain a JSON object")),
    }
}

fn flag(body: &Map<String, Value>, key: &str) -> Result<bool> {
    match body.get(key) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| bad(format!("field {key:?} must be a Boolean"))),
    }
}

fn number(body: &Map<String, Value>, key: &str) -> Result<u64> {
    match body.get(key) {
        None => Ok(0),
        Some(value) if value.as_u64().is_some() => Ok(value.as_u64().unwrap_or(0)),
        Some(value) if value.is_i64() => {
            Err(Error::new(ErrorKind::OutOfRange, format!("field {key:?} must be a positive integer")))
        }
        Some(_) => Err(bad(format!("field {key:?} must be an integer"))),
    }
}

fn array<'a>(body: &'a Map<String, Value>, key: &str) -> Result<&'a [Value]> {
    match body.get(key) {
        None => Ok(&[]),
        Some(Value::Array(all)) => Ok(all),
        Some(_) => Err(bad(format!("field {key:?} must be an array"))),
    }
}

fn strings<'a>(body: &'a Map<String, Value>, key: &str) -> Result<Vec<&'a str>> {
    let member = |v: &'a Value| v.as_str().ok_or_else(|| bad(format!("field {key:?} must be an array of strings")));
    array(body, key)?.iter().map(member).collect()
}

/// What a search body asks for.
struct Asked {
    query: Query,
    show: Option<Show>,
    format: Format,
}

fn parse(rest: &Rest, body: &Map<String, Value>) -> Result<Asked> {
    let level =
        body.get("Level").and_then(Value::as_str).ok_or_else(|| bad("field \"Level\" is missing, or should be a string"))?;
    let level =
        Level::parse(level).ok_or_else(|| Error::new(ErrorKind::OutOfRange, format!("invalid resource type {level:?}")))?;
    let show = match (body.contains_key("ResponseContent"), flag(body, "Expand")?) {
        (true, _) => Some(Show::parse(strings(body, "ResponseContent")?.into_iter())?),
        (false, true) => Some(RECORD),
        (false, false) => None,
    };
    let requested = strings(body, "RequestedTags")?.into_iter().map(|t| fields::tag(rest, t)).collect::<Result<_>>()?;
    let format = match (flag(body, "Short")?, flag(body, "Full")?) {
        (true, _) => Format::Short,
        (_, true) => Format::Full,
        _ => Format::Simplified,
    };
    let mut query = Query {
        tags: tags(rest, body)?,
        case_sensitive: flag(body, "CaseSensitive")?,
        metadata: metadata(rest, body)?,
        labels: strings(body, "Labels")?.into_iter().map(str::to_owned).collect(),
        labels_rule: labels_rule(body)?,
        order: array(body, "OrderBy")?.iter().map(|o| order(rest, o)).collect::<Result<_>>()?,
        since: number(body, "Since")?,
        limit: number(body, "Limit")?,
        fields: show.map_or(Fields::NONE, |show| show.fields(level)),
        requested: if show.is_some() { requested } else { vec![] },
        related_to: related(body)?,
        ..Query::all(level)
    };
    let config = &rest.engine.config;
    let most = if level == Level::Instance { config.limit_find_instances } else { config.limit_find_results };
    if most > 0 {
        query.limit = if query.limit == 0 { most } else { query.limit.min(most) };
    }
    Ok(Asked { query, show, format })
}

fn tags(rest: &Rest, body: &Map<String, Value>) -> Result<Vec<(dataset::Tag, String)>> {
    let query = body.get("Query").and_then(Value::as_object);
    let query = query.ok_or_else(|| bad("field \"Query\" is missing, or should be a JSON object"))?;
    let one = |(name, value): (&String, &Value)| {
        let text = value.as_str().ok_or_else(|| bad(format!("tag {name:?} must be associated with a string")))?;
        Ok((fields::tag(rest, name)?, text.to_owned()))
    };
    query.iter().map(one).collect()
}

fn metadata(rest: &Rest, body: &Map<String, Value>) -> Result<Vec<MetadataConstraint>> {
    let Some(query) = body.get("MetadataQuery") else { return Ok(vec![]) };
    let query = query.as_object().ok_or_else(|| bad("field \"MetadataQuery\" must be a JSON object"))?;
    let case_sensitive = flag(body, "CaseSensitive")?;
    let mut all = vec![];
    for (name, value) in query {
        let kind = rest.engine.config.metadata_names.parse(name)?;
        let text = value.as_str().ok_or_else(|| bad(format!("metadata {name:?} must be associated with a string")))?;
        if let Some(rule) = parse_rule(text, Ranges::Literal) {
            all.push(MetadataConstraint { kind, rule, case_sensitive });
        }
    }
    Ok(all)
}

fn labels_rule(body: &Map<String, Value>) -> Result<LabelsRule> {
    match body.get("LabelsConstraint").map(Value::as_str) {
        None | Some(Some("All")) => Ok(LabelsRule::All),
        Some(Some("Any")) => Ok(LabelsRule::Any),
        Some(Some("None")) => Ok(LabelsRule::None),
        Some(_) => Err(bad("field \"LabelsConstraint\" must be \"All\", \"Any\", or \"None\"")),
    }
}

fn related(body: &Map<String, Value>) -> Result<Vec<(Level, OrthancId)>> {
    let mut all = vec![];
    for (key, level) in [("ParentPatient", Level::Patient), ("ParentStudy", Level::Study), ("ParentSeries", Level::Series)] {
        if let Some(value) = body.get(key) {
            let text = value.as_str().ok_or_else(|| bad(format!("field {key:?} must be a string")))?;
            // What is no identifier names no resource: the search finds nothing.
            all.push((level, text.parse().unwrap_or(OrthancId([0; 20]))));
        }
    }
    Ok(all)
}

fn order(rest: &Rest, value: &Value) -> Result<OrderBy> {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let descending = match text("Direction") {
        "ASC" => false,
        "DESC" => true,
        _ => return Err(bad("field \"Direction\" must be \"ASC\" or \"DESC\"")),
    };
    let kinds = [("", OrderAs::Text), ("AsInt", OrderAs::Integer), ("AsFloat", OrderAs::Float)];
    let kind = text("Type");
    for (suffix, cast) in kinds {
        if kind == format!("DicomTag{suffix}") {
            return Ok(OrderBy { key: OrderKey::Tag(fields::tag(rest, text("Key"))?), cast, descending });
        }
        if kind == format!("Metadata{suffix}") {
            let kind = rest.engine.config.metadata_names.parse(text("Key"))?;
            return Ok(OrderBy { key: OrderKey::Metadata(kind), cast, descending });
        }
    }
    let names = "\"DicomTag\", \"DicomTagAsInt\", \"DicomTagAsFloat\", \"Metadata\", \"MetadataAsInt\" or \"MetadataAsFloat\"";
    Err(bad(format!("field \"Type\" must be {names}")))
}

/// `POST /tools/find`.
async fn post_find(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Json> {
    let asked = parse(&rest, &object(body).await?)?;
    let found = find::find(&rest.engine, &ctx, &asked.query).await?;
    Ok(Json(view::list(&rest, &ctx, found, asked.show, asked.format).await?))
}

/// `POST /tools/count-resources`.
async fn post_count(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Json> {
    let asked = parse(&rest, &object(body).await?)?;
    Ok(Json(json!({ "Count": find::count(&rest.engine, &ctx, &asked.query).await? })))
}

/// `POST /tools/lookup`: the body is a DICOM identifier.
async fn post_lookup(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Json> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    let text = String::from_utf8_lossy(&bytes);
    let found = find::lookup(&rest.engine, &ctx, &text).await?;
    let view = |(level, id): (Level, OrthancId)| json!({ "ID": id.to_string(), "Path": format!("/{}/{id}", level.folder()), "Type": level.name() });
    Ok(Json(found.into_iter().map(view).collect()))
}
