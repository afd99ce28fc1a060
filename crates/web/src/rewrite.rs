//! What Orthanc tolerates in a request line: doubled and trailing slashes, and methods that the client cannot send itself.

use crate::params::Params;
use http::uri::PathAndQuery;
use http::{Method, Uri};

/// Brings a request into the form that routes know: `//patients/` is `/patients`, and `_method` in the query or the header
/// `X-HTTP-Method-Override` replaces the method (Orthanc: "faking" of PUT and DELETE).
pub fn normalize<B>(request: &mut http::Request<B>) {
    if let Some(method) = faked(request) {
        *request.method_mut() = method;
    }
    let path = request.uri().path();
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return;
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let Ok(new) = PathAndQuery::try_from(format!("/{}{query}", parts.join("/"))) else { return };
    let mut uri = request.uri().clone().into_parts();
    uri.path_and_query = Some(new);
    if let Ok(uri) = Uri::from_parts(uri) {
        *request.uri_mut() = uri;
    }
}

fn faked<B>(request: &http::Request<B>) -> Option<Method> {
    let header = request.headers().get("x-http-method-override").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let wanted = header.or_else(|| match (request.method(), request.uri().query()) {
        (&Method::GET | &Method::POST, Some(query)) if query.contains("_method") => {
            Params::parse(query).get("_method").map(str::to_owned)
        }
        _ => None,
    })?;
    [Method::GET, Method::PUT, Method::POST, Method::DELETE].into_iter().find(|m| m.as_str().eq_ignore_ascii_case(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, uri: &str, expected: (Method, &str)) {
        let mut request = http::Request::builder().method(method).uri(uri).body(axum::body::Body::empty()).unwrap();
        normalize(&mut request);
        assert_eq!((request.method().clone(), request.uri().to_string().as_str()), expected);
    }

    #[test]
    fn odd_request_lines() {
        check(Method::GET, "//patients//x/?a=//b", (Method::GET, "/patients/x?a=//b"));
        check(Method::GET, "/", (Method::GET, "/"));
        check(Method::GET, "///", (Method::GET, "/"));
        check(Method::GET, "/patients/x?_method=DELETE", (Method::DELETE, "/patients/x?_method=DELETE"));
        check(Method::PUT, "/patients/x?_method=DELETE", (Method::PUT, "/patients/x?_method=DELETE"));
        check(Method::GET, "/patients/x?_method=NOPE", (Method::GET, "/patients/x?_method=NOPE"));
    }
}
