//! The resource that a path names: `/studies/{id}/…`.

use axum::extract::FromRequestParts;
use http::request::Parts;
use model::{Error, ErrorKind, Level, OrthancId};
use web::HttpError;

/// The level and id at the beginning of the path.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub level: Level,
    pub id: OrthancId,
}

/// The level at the beginning of the path.
#[derive(Clone, Copy, Debug)]
pub struct AtLevel(pub Level);

fn level(parts: &Parts) -> Result<Level, Error> {
    let folder = parts.uri.path().split('/').nth(1).unwrap_or_default();
    Level::ALL.into_iter().find(|l| l.folder() == folder).ok_or_else(|| ErrorKind::UnknownResource.into())
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let id = parts.uri.path().split('/').nth(2).unwrap_or_default().parse()?;
        Ok(Self { level: level(parts)?, id })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AtLevel {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        Ok(Self(level(parts)?))
    }
}
