//! The table of routes. Each is added with what is said about it, so that one list makes both the router and the description of
//! the API in OpenAPI 3 ([`crate::openapi`]).

use crate::schema;
use crate::state::Rest;
use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Routes and their descriptions.
#[derive(Default)]
pub struct Routes {
    router: Router<Arc<Rest>>,
    table: Vec<Described>,
    undescribed: Vec<String>,
}

/// A route and what is said about it.
pub struct Described {
    /// As the router has it: `/jobs/{id}`, `/webdav/{*path}`.
    pub path: String,
    /// In small letters, as OpenAPI has it.
    pub method: &'static str,
    pub about: About,
}

impl Routes {
    pub fn get<H: Handler<T, Arc<Rest>>, T: 'static>(self, path: &str, handler: H, about: About) -> Self {
        self.add(path, ("get", MethodFilter::GET), handler, about)
    }

    pub fn post<H: Handler<T, Arc<Rest>>, T: 'static>(self, path: &str, handler: H, about: About) -> Self {
        self.add(path, ("post", MethodFilter::POST), handler, about)
    }

    pub fn put<H: Handler<T, Arc<Rest>>, T: 'static>(self, path: &str, handler: H, about: About) -> Self {
        self.add(path, ("put", MethodFilter::PUT), handler, about)
    }

    pub fn delete<H: Handler<T, Arc<Rest>>, T: 'static>(self, path: &str, handler: H, about: About) -> Self {
        self.add(path, ("delete", MethodFilter::DELETE), handler, about)
    }

    fn add<H: Handler<T, Arc<Rest>>, T: 'static>(
        mut self,
        path: &str,
        (method, filter): (&'static str, MethodFilter),
        handler: H,
        about: About,
    ) -> Self {
        self.router = self.router.route(path, on(filter, handler));
        self.table.push(Described { path: path.to_owned(), method, about });
        self
    }

    /// A route without a description: one that answers 501 to everything, or WebDAV, whose methods OpenAPI has no words for.
    pub fn undescribed(mut self, path: &str, routes: MethodRouter<Arc<Rest>>) -> Self {
        self.router = self.router.route(path, routes);
        self.undescribed.push(path.to_owned());
        self
    }

    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self.undescribed.extend(other.undescribed);
        self
    }

    pub fn into_router(self) -> Router<Arc<Rest>> {
        self.router
    }

    /// The routes with a description, and the paths of those without.
    pub fn into_table(self) -> (Vec<Described>, Vec<String>) {
        (self.table, self.undescribed)
    }
}

/// A parameter of the query string: its name, its type and what it does.
pub type Parameter = (&'static str, Kind, &'static str);

/// The type of a parameter.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Set by its name alone, or by `true`, `1`, `false`, `0`.
    Flag,
    /// Set by its name, whatever its value.
    Presence,
    Integer,
    /// An integer that is not negative.
    Count,
    Number,
    Text,
    OneOf(&'static [&'static str]),
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Flag => json!({ "type": "string", "enum": ["", "true", "1", "false", "0"] }),
            Self::Integer => schema::integer(),
            Self::Count => schema::count(),
            Self::Presence | Self::Text => schema::text(),
            Self::Number => json!({ "type": "number" }),
            Self::OneOf(names) => schema::one_of(names),
        }
    }
}

/// What is said about a route: an Operation Object of OpenAPI 3.
#[derive(Clone)]
pub struct About(Map<String, Value>);

/// Begins the description of a route with a sentence.
pub fn about(summary: &str) -> About {
    let mut operation = Map::new();
    operation.insert("summary".into(), summary.into());
    operation.insert("parameters".into(), json!([]));
    operation.insert("responses".into(), json!({}));
    About(operation)
}

impl About {
    /// Adds parameters of the query string. None is required unless [`Self::required`] says so.
    pub fn query(mut self, parameters: &[Parameter]) -> Self {
        for (name, kind, meaning) in parameters {
            let mut parameter = json!({ "name": name, "in": "query", "schema": kind.schema(), "description": meaning });
            if matches!(kind, Kind::Flag | Kind::Presence) {
                parameter["allowEmptyValue"] = true.into();
            }
            self.add_parameter(parameter);
        }
        self
    }

    /// Adds a parameter of the query string that must be there.
    pub fn required(mut self, (name, kind, meaning): Parameter) -> Self {
        let schema = kind.schema();
        self.add_parameter(json!({ "name": name, "in": "query", "schema": schema, "description": meaning, "required": true }));
        self
    }

    /// Adds headers that the route looks at.
    pub fn headers(mut self, headers: &[(&str, &str)]) -> Self {
        for (name, meaning) in headers {
            self.add_parameter(json!({ "name": name, "in": "header", "schema": schema::text(), "description": meaning }));
        }
        self
    }

    pub(crate) fn add_parameter(&mut self, parameter: Value) {
        if let Some(Value::Array(all)) = self.0.get_mut("parameters") {
            all.push(parameter);
        }
    }

    /// The body that the route takes; called again, another that it takes as well.
    pub fn body(mut self, mime: &str, schema: Value) -> Self {
        let body = self.0.entry("requestBody").or_insert_with(|| json!({ "content": {} }));
        body["content"][mime] = json!({ "schema": schema });
        self
    }

    /// A body of JSON that must be there.
    pub fn json_body(self, schema: Value) -> Self {
        let mut described = self.body("application/json", schema);
        described.0["requestBody"]["required"] = true.into();
        described
    }

    /// A body of text.
    pub fn text_body(self, schema: Value) -> Self {
        self.body("text/plain", schema)
    }

    /// A status that the route answers with, and the content type; called again for a status, another content type.
    pub fn answers(mut self, status: u16, mime: &str, meaning: &str) -> Self {
        let schema = match mime {
            "application/json" => json!({}),
            mime if mime.starts_with("text/") => schema::text(),
            _ => schema::bytes(),
        };
        let answer = &mut self.0["responses"][status.to_string()];
        answer["description"] = meaning.into();
        answer["content"][mime] = json!({ "schema": schema });
        self
    }

    /// A status that the route answers with, without a body.
    pub fn answers_nothing(mut self, status: u16, meaning: &str) -> Self {
        self.0["responses"][status.to_string()] = json!({ "description": meaning });
        self
    }

    /// 200 with JSON.
    pub fn json(self) -> Self {
        self.answers(200, "application/json", "JSON")
    }

    /// 200 with text, which may be empty.
    pub fn text(self) -> Self {
        self.answers(200, "text/plain", "Text")
    }

    /// 200 with a file, or 206 with a part of it. `If-None-Match` spares the transfer.
    pub fn file(self, mime: &str) -> Self {
        self.headers(&[
            ("Range", "The part that is wanted: `bytes=0-99`"),
            ("If-None-Match", "The version that the caller has, as `ETag` named it"),
        ])
        .answers(200, mime, "The file")
        .answers(206, mime, "The part that `Range` asks for")
        .answers(206, "application/octet-stream", "The part that `Range` asks for")
        .answers_nothing(304, "The version that the caller has is the current one")
    }

    /// 500, in a case that is no mistake of the server.
    pub fn fails(self, meaning: &str) -> Self {
        self.answers(500, "text/plain", meaning)
    }

    /// 500, if another server does not do as it is asked.
    pub fn calls_another_server(self) -> Self {
        self.fails("The other server cannot be reached, or refuses")
    }

    pub fn into_operation(self) -> Map<String, Value> {
        self.0
    }
}
