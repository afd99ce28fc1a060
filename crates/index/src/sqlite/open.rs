//! Opening: the file, its lock, its migrations, its connections.

use super::{QUEUE, SqliteIndex, error, functions, write_loop};
use model::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

/// How to open an index.
#[derive(Clone, Debug)]
pub struct Options {
    /// `StableAge`
    pub stable_age: Duration,
    /// Connections for reading.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { stable_age: Duration::from_secs(60), readers: 8 }
    }
}

/// The migrations, in order; their numbers are the `user_version` of the file.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/sqlite/0001_schema.sql")];

/// Whether `path` is an index that Orthanc made.
pub fn is_orthanc_index(path: &Path) -> bool {
    let Ok(connection) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY) else { return false };
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('GlobalProperties', 'MainDicomTags')";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|n| n == 2)
}

/// Opens the index in the file `path`, which is made if it does not exist.
///
/// # Errors
/// `Database` if the file is no index of ours or of a newer version.
pub fn open(path: &Path, options: Options) -> Result<Arc<SqliteIndex>> {
    SqliteIndex::open(path, &options).map(Arc::new)
}

impl SqliteIndex {
    fn open(path: &Path, options: &Options) -> Result<Self> {
        if path.exists() && is_orthanc_index(path) {
            let message = format!("{} is an index of Orthanc: it is not touched", path.display());
            return Err(Error::new(ErrorKind::Database, message));
        }
        let mut writer = connect(path)?;
        migrate(&mut writer, path)?;
        let readers = options.readers.max(1);
        let connections = (0..readers).map(|_| connect(path)).collect::<Result<Vec<_>>>()?;
        let (tx, rx) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("index-writer".into())
            .spawn(move || write_loop(writer, rx))
            .map_err(|e| Error::new(ErrorKind::Internal, "cannot start the writer of the index").caused_by(e))?;
        Ok(Self {
            writer: Mutex::new(Some(tx)),
            thread: Mutex::new(Some(thread)),
            readers: Arc::new(Mutex::new(connections)),
            permits: Arc::new(Semaphore::new(readers)),
            stable_age_ms: AtomicU64::new(options.stable_age.as_millis() as u64),
            node: Uuid::new_v4(),
        })
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let open = |e: rusqlite::Error| {
        let inner = error(e);
        Error::new(inner.kind(), format!("cannot open the index {}", path.display())).caused_by(inner)
    };
    let connection = Connection::open(path).map_err(open)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(open)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
             PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 1073741824; PRAGMA wal_autocheckpoint = 4000;",
        )
        .map_err(open)?;
    connection.set_prepared_statement_cache_capacity(256);
    functions::register(&connection).map_err(open)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive).map_err(error)?;
    let version: u32 = tx.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(error)?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        let message = format!("the index {} was made by a newer version (schema {version})", path.display());
        return Err(Error::new(ErrorKind::Database, message));
    }
    for (number, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        tx.execute_batch(sql).map_err(error)?;
        tx.pragma_update(None, "user_version", number as u32 + 1).map_err(error)?;
    }
    tx.commit().map_err(error)
}
