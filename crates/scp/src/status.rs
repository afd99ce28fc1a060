//! [`ErrorKind`] to DIMSE status.

use dimse::Status;
use model::ErrorKind;

/// C-STORE statuses, PS3.4 B.2.3 and PS3.7 C. Failures that another try may mend (0xA7xx) differ from those that the
/// sender must mend (0xA9xx, 0xC000).
pub(crate) fn c_store(kind: ErrorKind) -> Status {
    match kind {
        ErrorKind::StorageFull
        | ErrorKind::CannotWrite
        | ErrorKind::Busy
        | ErrorKind::TooLarge
        | ErrorKind::DatabaseUnavailable
        | ErrorKind::Timeout => Status::OUT_OF_RESOURCES,
        ErrorKind::SopClassMismatch => Status::DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
        ErrorKind::BadDicom | ErrorKind::InexistentTag => Status::CANNOT_UNDERSTAND,
        ErrorKind::Unauthenticated | ErrorKind::Forbidden | ErrorKind::ReadOnly => Status::NOT_AUTHORIZED,
        ErrorKind::Internal
        | ErrorKind::NotImplemented
        | ErrorKind::OutOfRange
        | ErrorKind::BadParameterType
        | ErrorKind::BadRequest
        | ErrorKind::BadJson
        | ErrorKind::InexistentItem
        | ErrorKind::InexistentFile
        | ErrorKind::UnknownDicomTag
        | ErrorKind::UnknownResource
        | ErrorKind::MethodNotAllowed
        | ErrorKind::Revision
        | ErrorKind::Duplicate
        | ErrorKind::NotAcceptable
        | ErrorKind::BadRange
        | ErrorKind::NetworkProtocol
        | ErrorKind::NoPresentationContext
        | ErrorKind::Database
        | ErrorKind::Corrupted
        | ErrorKind::Script
        | ErrorKind::CannotOrderSlices
        | ErrorKind::Canceled => Status::PROCESSING_FAILURE,
    }
}
