//! Errors of an S3 server, mapped once to the kinds of `model`. Each names the bucket and the key.

use model::{Error, ErrorKind};
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;

/// The error of an attempt to read the object at `place`.
pub(crate) fn reading(place: &str, error: object_store::Error) -> Error {
    map(place, error, ErrorKind::Corrupted)
}

/// The error of an attempt to write or remove the object at `place`.
pub(crate) fn writing(place: &str, error: object_store::Error) -> Error {
    map(place, error, ErrorKind::CannotWrite)
}

/// Whether a range was refused because it begins at the end of the object, or behind it.
pub(crate) fn is_beyond_end(error: &object_store::Error) -> bool {
    Answer::of(error).status == Some(416)
}

/// `otherwise` is the kind of what is neither missing nor worth another try.
fn map(place: &str, error: object_store::Error, otherwise: ErrorKind) -> Error {
    use object_store::Error as E;
    let answer = Answer::of(&error);
    let code = answer.code.as_str();
    let (kind, why) = match &error {
        _ if code == "NoSuchBucket" => (otherwise, "the bucket does not exist (BucketName, Region)".to_owned()),
        E::NotFound { .. } => (ErrorKind::InexistentFile, "no such object".to_owned()),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => (otherwise, format!("access denied{}", answer.in_words())),
        _ => match answer.status {
            Some(507) => (ErrorKind::StorageFull, answer.in_words()),
            _ if code.contains("StorageFull") || code.contains("QuotaExceeded") => (ErrorKind::StorageFull, answer.in_words()),
            Some(408 | 429 | 500..) => (ErrorKind::Busy, answer.in_words()),
            _ if matches!(code, "RequestTimeout" | "SlowDown" | "OperationAborted") => (ErrorKind::Busy, answer.in_words()),
            Some(_) => (otherwise, answer.in_words()),
            None if is_transient(&error) => (ErrorKind::Busy, format!("the storage does not answer: {}", root_of(&error))),
            None => (otherwise, error.to_string()),
        },
    };
    Error::new(kind, format!("{place}: {}", why.trim_start_matches(": "))).caused_by(error)
}

/// What the server answered, if it did.
#[derive(Default)]
struct Answer {
    status: Option<u16>,
    /// The error's code and text in S3's words; empty if the body has none.
    code: String,
    message: String,
}

impl Answer {
    /// The status and the body are in the text of the error only.
    fn of(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let number = text.split("status code: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let element = |name: &str| {
            let inner = text.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next());
            inner.unwrap_or_default().to_owned()
        };
        Self { status: number.and_then(|n| n.parse().ok()), code: element("Code"), message: element("Message") }
    }

    fn in_words(&self) -> String {
        let status = self.status.map(|s| format!(": status {s}")).unwrap_or_default();
        let detail = [&self.code, &self.message].into_iter().filter(|t| !t.is_empty()).map(|t| format!(": {t}"));
        std::iter::once(status).chain(detail).collect()
    }
}

/// Whether the connection failed rather than the request.
fn is_transient(error: &object_store::Error) -> bool {
    use HttpErrorKind::{Connect, Interrupted, Request, Timeout};
    causes(error)
        .filter_map(|e| e.downcast_ref::<HttpError>())
        .any(|e| matches!(e.kind(), Connect | Request | Timeout | Interrupted))
}

fn root_of(error: &object_store::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}
