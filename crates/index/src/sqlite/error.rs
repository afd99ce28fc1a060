//! Maps SQLite's errors to kinds, once.

use model::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// `?` on a statement: `.map_err(sql)?`.
pub(super) fn sql(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorKind::StorageFull,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        _ => ErrorKind::Database,
    };
    // SQLite's own messages hold no values, only names of tables and columns.
    Error::new(kind, format!("SQLite: {error}")).caused_by(error)
}
