//! Maps PostgreSQL's errors to kinds, once.

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use model::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

/// `?` on a statement: `.map_err(sql)?`.
pub(super) fn sql(error: tokio_postgres::Error) -> Error {
    let kind = match error.code() {
        Some(code) => kind(code),
        // Without an answer of the server: the connection was refused, lost or closed; or a value had the wrong type.
        None if is_connection(&error) => ErrorKind::DatabaseUnavailable,
        None => ErrorKind::Database,
    };
    Error::new(kind, message(&error)).caused_by(error)
}

/// `?` on an attempt to connect. A server that cannot even begin (`internal_error`: its disk is full, "could not write init file") says
/// nothing about what was asked of it.
pub(super) fn connecting(error: tokio_postgres::Error) -> Error {
    match error.code() {
        Some(code) if *code == SqlState::INTERNAL_ERROR => {
            Error::new(ErrorKind::DatabaseUnavailable, message(&error)).caused_by(error)
        }
        _ => sql(error),
    }
}

fn kind(code: &SqlState) -> ErrorKind {
    match code.code() {
        // disk_full: reads go on, and so does everything else as soon as there is room; so it is not the end of a job.
        "53100" => ErrorKind::DatabaseUnavailable,
        // A fence of ours that did not hold, a lock that was not got in time, a deadlock or conflict that retries did not solve.
        FENCE | FENCED | "55P03" | "40001" | "40P01" => ErrorKind::Busy,
        // read_only_sql_transaction: a standby; cannot_connect_now; too_many_connections; idle_in_transaction_session_timeout
        "25006" | "57P03" | "53300" | "25P03" => ErrorKind::DatabaseUnavailable,
        // object_not_in_prerequisite_state: the database accepts no connections
        "55000" => ErrorKind::DatabaseUnavailable,
        // admin_shutdown, crash_shutdown, database_dropped, query_canceled
        "57P01" | "57P02" | "57P04" | "57014" => ErrorKind::DatabaseUnavailable,
        // connection_exception
        other if other.starts_with("08") => ErrorKind::DatabaseUnavailable,
        _ => ErrorKind::Database,
    }
}

/// What our functions raise when the intent of a blob is gone.
pub(super) const FENCE: &str = "PL001";

/// What `job_finish_2` raises when one of several jobs is owned by another process.
const FENCED: &str = "PL002";

/// Whether the connection is gone, or the server says that it is about to be.
pub(super) fn is_connection(error: &tokio_postgres::Error) -> bool {
    if error.is_closed() || matches!(error.code().map(SqlState::code), Some("57P01" | "57P02" | "57P03")) {
        return true;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    error.to_string().contains("timed out")
}

/// Messages of PostgreSQL name tables, columns and constraints; its details hold values, so they are left out.
fn message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("PostgreSQL: {} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("PostgreSQL: {error}: {cause}"),
            None => format!("PostgreSQL: {error}"),
        },
    }
}

/// Whether the same statement may succeed when it is repeated at once: nothing of it was committed.
pub(super) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    matches!(error.code().map(SqlState::code), Some("40001" | "40P01"))
}

/// `?` on a connection of the pool.
pub(super) fn pool(error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => connecting(error),
        PoolError::Closed => Error::new(ErrorKind::DatabaseUnavailable, "the index is closed"),
        PoolError::Timeout(TimeoutType::Wait) => Error::new(
            ErrorKind::DatabaseUnavailable,
            "all connections to PostgreSQL are busy (PostgreSQL.IndexConnectionsCount)",
        ),
        PoolError::Timeout(_) => Error::new(ErrorKind::DatabaseUnavailable, "PostgreSQL did not accept a connection in time"),
        other => Error::new(ErrorKind::Internal, "the pool of connections failed").caused_by(other.to_string()),
    }
}
