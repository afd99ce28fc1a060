//! Opening the file: one process only, our own format only, migrated to the present.

use super::error::sql;
use model::matching::normalize;
use model::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `application_id` in the header of our files: `PLEI`.
const APPLICATION: i32 = 0x504C_4549;

/// Statements by number, from 1 (`user_version` of the file).
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_resources.sql"),
    include_str!("../migrations/sqlite/0002_remotes.sql"),
    include_str!("../migrations/sqlite/0003_jobs.sql"),
    include_str!("../migrations/sqlite/0004_uploads.sql"),
    include_str!("../migrations/sqlite/0005_job_events.sql"),
    include_str!("../migrations/sqlite/0006_job_lists.sql"),
    include_str!("../migrations/sqlite/0007_recycling.sql"),
    include_str!("../migrations/sqlite/0008_upload_folders.sql"),
    include_str!("../migrations/sqlite/0009_events.sql"),
    include_str!("../migrations/sqlite/0010_notes.sql"),
    include_str!("../migrations/sqlite/0011_key_values.sql"),
    include_str!("../migrations/sqlite/0012_uploaded_files.sql"),
];

/// Prepared statements kept by each connection.
const STATEMENTS: usize = 220;
/// Pages of the log (of 4 KiB) after which a commit copies them into the file.
const CHECKPOINT_PAGES: i64 = 4000;

/// How commits reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    Full,
    /// For an index that does not outlive the process.
    None,
}

/// Whether the file is an index of Orthanc's SQLite kind (usually named `index`). It is only read, and never locked.
pub fn is_orthanc_index(path: &Path) -> bool {
    let mut magic = [0; 16];
    let is_sqlite = File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && &magic == b"SQLite format 3\0";
    if !is_sqlite {
        return false;
    }
    // `immutable` keeps SQLite from creating files beside it. A file whose schema is still in its log has no tables yet;
    // its name is then all that is known.
    let tables = open_immutable(path).and_then(|conn| {
        conn.query_row(
            "SELECT sum(name IN ('GlobalProperties', 'Resources')), count(*) FROM sqlite_schema WHERE type = 'table'",
            [],
            |r| Ok((r.get::<_, Option<i64>>(0)?.unwrap_or(0), r.get::<_, i64>(1)?)),
        )
    });
    match tables {
        Ok((known, all)) => known == 2 || (all == 0 && path.file_name().is_some_and(|n| n == "index")),
        Err(_) => false,
    }
}

fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// How long a process that was killed a moment ago may still hold the index.
const PATIENCE: Duration = Duration::from_secs(3);

/// Keeps other processes out for as long as it lives.
pub(super) fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let cannot = |e: std::io::Error| {
        Error::new(ErrorKind::CannotWrite, format!("the index cannot be locked: {}", name.display())).caused_by(e)
    };
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(cannot)?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process uses the index {}; several processes need PostgreSQL", path.display());
                return Err(Error::new(ErrorKind::DatabaseUnavailable, message));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
    }
}

/// Opens the connection that writes; creates and migrates the file.
pub(super) fn writer(path: &Path, durability: Durability) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(path, flags)?;
    check_owner(&conn, path)?;
    let synchronous = if durability == Durability::Full { "FULL" } else { "OFF" };
    conn.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
    conn.pragma_update(None, "synchronous", synchronous).map_err(sql)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(sql)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20).map_err(sql)?;
    conn.pragma_update(None, "cache_size", -16_384).map_err(sql)?;
    migrate(&conn)?;
    Ok(conn)
}

/// Opens a connection that reads.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.pragma_update(None, "query_only", true).map_err(sql)?;
    conn.pragma_update(None, "cache_size", -4096).map_err(sql)?;
    Ok(conn)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, flags)
        .map_err(|e| Error::new(ErrorKind::Database, format!("the index cannot be opened: {}", path.display())).caused_by(e))?;
    conn.busy_timeout(std::time::Duration::from_secs(10)).map_err(sql)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans do not depend on values. Without this, SQLite with STAT4 compiles a statement again whenever a key is bound.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(sql)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("norm", 1, flags, |ctx| {
        Ok(match ctx.get_raw(0) {
            rusqlite::types::ValueRef::Text(text) => Some(normalize(&String::from_utf8_lossy(text))).filter(|t| !t.is_empty()),
            _ => None,
        })
    })
    .map_err(sql)?;
    Ok(conn)
}

/// # Errors
/// `Database` for a file of somebody else, or of a later version.
fn check_owner(conn: &Connection, path: &Path) -> Result<()> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
    let look = || -> rusqlite::Result<(i64, i64, i64)> {
        let tables = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
        Ok((tables, pragma("application_id")?, pragma("user_version")?))
    };
    let (tables, application, version) = look()
        .map_err(|e| Error::new(ErrorKind::Database, format!("{} is not a usable SQLite file", path.display())).caused_by(e))?;
    if tables > 0 && application != i64::from(APPLICATION) {
        let whose = if is_orthanc_index(path) { "is an index of Orthanc" } else { "belongs to another program" };
        return Err(Error::new(ErrorKind::Database, format!("{} {whose}; it was not touched", path.display())));
    }
    if version > MIGRATIONS.len() as i64 {
        let message = format!("{} was written by a later version (schema {version})", path.display());
        return Err(Error::new(ErrorKind::Database, message));
    }
    Ok(())
}

/// Each migration and its number are one transaction.
fn migrate(conn: &Connection) -> Result<()> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(sql)?;
    for (at, statements) in MIGRATIONS.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        let tx = conn.unchecked_transaction().map_err(sql)?;
        tx.execute_batch(statements).map_err(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION).map_err(sql)?;
        tx.pragma_update(None, "user_version", at as i64 + 1).map_err(sql)?;
        tx.commit().map_err(sql)?;
    }
    Ok(())
}
