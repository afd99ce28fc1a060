//! One closed list of error kinds. Each door maps every kind to its own status (`web` to HTTP, `scp` to DIMSE).

use std::fmt;

/// What every room returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reasons why a request can fail. A new kind must be placed in each door's table before it compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A bug or an impossible state.
    Internal,
    /// The feature is known to Orthanc but not to this version.
    NotImplemented,
    /// An argument is outside of its range.
    OutOfRange,
    /// An argument has the wrong type.
    BadParameterType,
    /// The request itself makes no sense.
    BadRequest,
    /// The body is not valid JSON, or not of the expected shape.
    BadJson,
    /// A named item (label, metadata, …) does not exist.
    InexistentItem,
    /// An attachment or file does not exist.
    InexistentFile,
    /// A DICOM tag is not in the data set.
    InexistentTag,
    /// A tag name that no dictionary knows.
    UnknownDicomTag,
    /// No such resource or route.
    UnknownResource,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The bytes are not DICOM (or not what they must be).
    BadDicom,
    /// The data set's SOP class or instance differs from the announced one.
    SopClassMismatch,
    /// The caller gave no or wrong credentials.
    Unauthenticated,
    /// The caller is known but may not do this.
    Forbidden,
    /// This process never writes.
    ReadOnly,
    /// `If-Match` names another revision than the current one.
    Revision,
    /// Something of that name exists already.
    Duplicate,
    /// None of the accepted media types can be produced.
    NotAcceptable,
    /// A `Range` outside of the data.
    BadRange,
    /// The body exceeds a configured limit.
    TooLarge,
    /// A peer or the client did not answer in time.
    Timeout,
    /// A remote did not follow its protocol.
    NetworkProtocol,
    /// A remote DICOM node takes no such object, or not in its transfer syntax.
    NoPresentationContext,
    /// Too much is going on; try again.
    Busy,
    /// The database cannot be reached now; try again.
    DatabaseUnavailable,
    /// The database refused or is damaged.
    Database,
    /// Stored bytes are missing or differ from their checksum.
    Corrupted,
    /// The disk or quota is full.
    StorageFull,
    /// A file cannot be written.
    CannotWrite,
    /// A script failed.
    Script,
    /// Nothing says in which order the slices of a series are.
    CannotOrderSlices,
    /// The job was cancelled.
    Canceled,
}

impl ErrorKind {
    /// Orthanc's sentence for the kind (`OrthancError` in error bodies).
    pub fn text(self) -> &'static str {
        use ErrorKind::*;
        match self {
            Internal => "Internal error",
            NotImplemented => "Not implemented yet",
            OutOfRange => "Parameter out of range",
            BadParameterType => "Bad type for a parameter",
            BadRequest => "Bad request",
            BadJson => "Cannot parse a JSON document",
            InexistentItem => "Accessing an inexistent item",
            InexistentFile => "Inexistent file",
            InexistentTag => "Inexistent tag",
            UnknownDicomTag => "Unknown DICOM tag",
            UnknownResource => "Unknown resource",
            MethodNotAllowed => "Method not allowed",
            BadDicom => "Bad file format",
            SopClassMismatch => "The data set does not match its SOP class or instance",
            Unauthenticated => "Bad credentials were provided to an HTTP request",
            Forbidden => "Access to a resource is forbidden",
            ReadOnly => "Cannot modify a read-only data structure",
            Revision => "A bad revision number was provided, which might indicate conflict between multiple writers",
            Duplicate => "Duplicate resource",
            NotAcceptable => "Cannot send a response which is acceptable according to the Accept HTTP header",
            BadRange => "Incorrect range request",
            TooLarge => "The body is too large",
            Timeout => "Timeout",
            NetworkProtocol => "Error in the network protocol",
            NoPresentationContext => "DicomUserConnection: No acceptable presentation context for modality",
            Busy => "The server is busy",
            DatabaseUnavailable => "The database is currently not available (probably a transient situation)",
            Database => "Error with the database engine",
            Corrupted => "Corrupted file (e.g. inconsistent MD5 hash)",
            StorageFull => "The file storage is full",
            CannotWrite => "Cannot write to file",
            Script => "Cannot execute a Lua command",
            CannotOrderSlices => "Unable to order the slices of the series",
            Canceled => "This job was canceled",
        }
    }

    /// A kind with this number; the first if several share it.
    pub fn from_code(code: i32) -> Option<Self> {
        use ErrorKind::*;
        let distinct = [
            Internal,
            NotImplemented,
            OutOfRange,
            BadParameterType,
            InexistentItem,
            BadRequest,
            NetworkProtocol,
            Database,
            InexistentFile,
            CannotWrite,
            BadDicom,
            Timeout,
            UnknownResource,
            StorageFull,
            Corrupted,
            InexistentTag,
            ReadOnly,
            UnknownDicomTag,
            BadJson,
            Unauthenticated,
            NotAcceptable,
            DatabaseUnavailable,
            Canceled,
            BadRange,
            Revision,
            Forbidden,
            Duplicate,
            Script,
            CannotOrderSlices,
        ];
        distinct.into_iter().find(|kind| kind.code() == code)
    }

    /// Orthanc's number for the kind (`OrthancStatus`, Orthanc book, "Error codes").
    pub fn code(self) -> i32 {
        use ErrorKind::*;
        match self {
            Internal | MethodNotAllowed => -1,
            NotImplemented => 2,
            OutOfRange => 3,
            BadParameterType => 5,
            InexistentItem => 7,
            BadRequest | TooLarge => 8,
            NetworkProtocol => 9,
            Database => 11,
            InexistentFile => 13,
            CannotWrite => 14,
            BadDicom | SopClassMismatch => 15,
            Timeout => 16,
            UnknownResource => 17,
            StorageFull => 19,
            Corrupted => 20,
            InexistentTag => 21,
            ReadOnly => 22,
            UnknownDicomTag => 27,
            BadJson => 28,
            Unauthenticated => 29,
            NotAcceptable => 34,
            Busy | DatabaseUnavailable => 36,
            Canceled => 37,
            BadRange => 41,
            Revision => 43,
            Forbidden => 45,
            Duplicate => 46,
            NoPresentationContext => 2015,
            Script => 2031,
            CannotOrderSlices => 2040,
        }
    }
}

/// An error with its kind, a message for the client, and the cause for the log.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    payload: Option<Box<serde_json::Value>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message that names what was wrong (file, option, tag, remote).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), payload: None, source: None }
    }

    /// Adds the cause.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what a client can read by program (Orthanc: `ErrorPayload`).
    pub fn with_payload(mut self, payload: serde_json::Value) -> Self {
        self.payload = Some(Box::new(payload));
        self
    }

    /// `ErrorPayload`
    pub fn payload(&self) -> Option<&serde_json::Value> {
        self.payload.as_deref()
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message for the client; may be empty.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, "")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() { f.write_str(self.kind.text()) } else { write!(f, "{}: {}", self.kind.text(), self.message) }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}
