//! Errors of the library, mapped once to the kinds of `model`, without secrets.

use model::{Error, ErrorKind};
use reqwest::Url;
use std::error::Error as StdError;

/// A URL without user, password and query.
pub(crate) fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// The innermost cause.
pub(crate) fn root(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// A call that did not end well. What broke the body of the request is told as it is.
pub(crate) fn failed(place: &str, error: reqwest::Error) -> Error {
    let error = error.without_url();
    if let Some(source) = causes(&error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return Error::new(source.kind(), source.message());
    }
    let why = match root(&error) {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        why => why,
    };
    Error::new(ErrorKind::NetworkProtocol, format!("HTTP call to {place} failed: {why}")).caused_by(error)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| {
        let cause: &'a (dyn StdError + 'static) = *cause;
        cause.source()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_no_secrets() {
        let url = Url::parse("https://user:secret@host:81/a/b?token=secret#secret").unwrap();
        assert_eq!(place(&url), "https://host:81/a/b");
        assert_eq!(place(&Url::parse("http://h").unwrap()), "http://h/");
    }
}
