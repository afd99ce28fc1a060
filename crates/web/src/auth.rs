//! HTTP Basic authentication and the remote access rule (Orthanc: `RegisteredUsers`, `AuthenticationEnabled`,
//! `RemoteAccessAllowed`).

use crate::HttpError;
use crate::caller::{Remote, User};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};
use model::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// User names and passwords.
#[derive(Clone, Default)]
pub struct Users(pub BTreeMap<String, String>);

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
        match identify(&access.users, request.headers()) {
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
fn identify(users: &Users, headers: &HeaderMap) -> Option<String> {
    let credentials = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = credentials.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(token.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    let expected = users.0.get(user)?;
    same(expected.as_bytes(), password.as_bytes()).then(|| user.to_owned())
}

/// Compares in a time that depends on the length of the guess only.
fn same(expected: &[u8], guess: &[u8]) -> bool {
    let mut difference = expected.len() ^ guess.len();
    for (i, byte) in guess.iter().enumerate() {
        difference |= usize::from(byte ^ expected.get(i).copied().unwrap_or(0));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials() {
        let users = Users(BTreeMap::from([("alice".into(), "pa:ss".into())]));
        let check = |value: &str| {
            identify(&users, &HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]))
        };
        let b64 = |t: &str| base64::engine::general_purpose::STANDARD.encode(t);
        assert_eq!(check(&format!("Basic {}", b64("alice:pa:ss"))).as_deref(), Some("alice"));
        for bad in ["alice:pa:s", "alice:pa:sss", "alice:", "bob:pa:ss", "alice"] {
            assert_eq!(check(&format!("Basic {}", b64(bad))), None);
        }
        assert_eq!(check("Basic !!!"), None);
        assert_eq!(check("Bearer x"), None);
    }
}
