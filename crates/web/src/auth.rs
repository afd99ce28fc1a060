//! HTTP Basic authentication and the remote access rule (Orthanc: `RegisteredUsers`, `AuthenticationEnabled`,
//! `RemoteAccessAllowed`).

use crate::HttpError;
use crate::caller::{Remote, User};
use crate::passwords::Users;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};
use model::{Error, ErrorKind};
use std::sync::Arc;

/// Who may enter.
pub struct Access {
    /// Ask for credentials.
    pub authentication: bool,
    pub users: Users,
    /// Let others in than this host itself.
    pub remote: bool,
}

/// Answered to anyone: probes of orchestrators.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Middleware: refuses or names the user.
pub async fn check(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let is_local = request.extensions().get::<Remote>().is_some_and(|r| r.0.ip().to_canonical().is_loopback());
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    if !access.remote && !is_local {
        return HttpError(Error::new(ErrorKind::Forbidden, "only this host may connect (RemoteAccessAllowed)")).into_response();
    }
    if access.authentication {
        match identify(&access.users, request.headers()).await {
            Some(user) => request.extensions_mut().insert(User(user)),
            None => {
                let mut refused = HttpError(ErrorKind::Unauthenticated.into()).into_response();
                let realm = HeaderValue::from_static("Basic realm=\"Orthanc Secure Area\"");
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
                return refused;
            }
        };
    }
    next.run(request).await
}

/// The user whose password the `Authorization` header gives (RFC 7617).
async fn identify(users: &Users, headers: &HeaderMap) -> Option<String> {
    let credentials = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = credentials.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(token.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    users.check(user, password).await.then(|| user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn basic_credentials() {
        let users = Users::new(BTreeMap::from([("alice".into(), "pa:ss".into())])).unwrap();
        let check = async |value: &str| {
            identify(&users, &HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])).await
        };
        let b64 = |t: &str| base64::engine::general_purpose::STANDARD.encode(t);
        assert_eq!(check(&format!("Basic {}", b64("alice:pa:ss"))).await.as_deref(), Some("alice"));
        for bad in ["alice:pa:s", "alice:pa:sss", "alice:", "bob:pa:ss", "alice"] {
            assert_eq!(check(&format!("Basic {}", b64(bad))).await, None);
        }
        assert_eq!(check("Basic !!!").await, None);
        assert_eq!(check("Bearer x").await, None);
    }
}
