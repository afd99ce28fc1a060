//! Opening the database: reachable, modern enough, not behind a transaction pooler, ours, migrated to the present.

use super::error::{connecting, sql};
use super::functions;
use super::pool::Session;
use super::trigrams;
use model::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::Client;

/// One step of the schema. A program that knows the schema up to number N opens a database whose newest step says that it is
/// `compatible` with N: so the previous release keeps running, and may be restarted, while the next one migrates.
struct Migration {
    number: i32,
    compatible: i32,
    statements: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, compatible: 1, statements: include_str!("../migrations/postgres/0001_resources.sql") },
    Migration { number: 2, compatible: 1, statements: include_str!("../migrations/postgres/0002_remotes.sql") },
    Migration { number: 3, compatible: 1, statements: include_str!("../migrations/postgres/0003_jobs.sql") },
    Migration { number: 4, compatible: 1, statements: include_str!("../migrations/postgres/0004_uploads.sql") },
    Migration { number: 5, compatible: 1, statements: include_str!("../migrations/postgres/0005_job_events.sql") },
    Migration { number: 6, compatible: 1, statements: include_str!("../migrations/postgres/0006_job_lists.sql") },
    Migration { number: 7, compatible: 1, statements: include_str!("../migrations/postgres/0007_recycling.sql") },
    Migration { number: 8, compatible: 1, statements: include_str!("../migrations/postgres/0008_upload_folders.sql") },
    Migration { number: 9, compatible: 1, statements: include_str!("../migrations/postgres/0009_events.sql") },
    Migration { number: 10, compatible: 1, statements: include_str!("../migrations/postgres/0010_notes.sql") },
    Migration { number: 11, compatible: 1, statements: include_str!("../migrations/postgres/0011_key_values.sql") },
    Migration { number: 12, compatible: 1, statements: include_str!("../migrations/postgres/0012_uploaded_files.sql") },
];

/// `server_version_num` of the oldest release that is supported.
const OLDEST: i32 = 130_000;

/// How long one process waits while another migrates.
const MIGRATION_WAIT: Duration = Duration::from_secs(600);

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Database, message)
}

/// A connection outside of the pool. It ends when it is dropped.
pub(super) async fn connect(session: &Session) -> Result<Client> {
    let (client, connection) = session.config.connect(session.tls.clone()).await.map_err(connecting)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    });
    session.prepare(&client).await.map_err(sql)?;
    Ok(client)
}

/// Checks the database and brings its schema to the present.
///
/// # Errors
/// `DatabaseUnavailable`; `Database` with what is wrong, and then nothing was touched.
pub(super) async fn prepare(session: &Session) -> Result<()> {
    let client = connect(session).await?;
    check_server(&client).await?;
    check_pooling(session, &client).await?;
    let lock = Lock::take(&client, &session.schema).await?;
    let result = migrate(&client, session).await;
    lock.release(&client).await?;
    result
}

async fn check_server(client: &Client) -> Result<()> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), pg_is_in_recovery(),
             current_setting('server_encoding'), current_setting('synchronous_commit')",
            &[],
        )
        .await
        .map_err(sql)?;
    let (number, version): (i32, String) = (row.get(0), row.get(1));
    if number < OLDEST {
        return Err(refused(format!("PostgreSQL {version} is too old; version 13 or newer is needed")));
    }
    if row.get(2) {
        return Err(Error::new(ErrorKind::DatabaseUnavailable, "this PostgreSQL is a standby; the primary is needed"));
    }
    let encoding: String = row.get(3);
    if encoding != "UTF8" {
        return Err(refused(format!("the database has the encoding {encoding}; UTF8 is needed")));
    }
    if row.get::<_, String>(4) == "off" {
        tracing::warn!("synchronous_commit is off: what was acknowledged may be lost when the database crashes");
    }
    Ok(())
}

/// A pooler that gives a server's connection away after each transaction breaks prepared statements, settings of the session and
/// advisory locks. It shows when two connections that are both open work in one process of the server.
async fn check_pooling(session: &Session, first: &Client) -> Result<()> {
    let second = connect(session).await?;
    let pid = async |client: &Client| -> Result<i32> {
        client.query_one("SELECT pg_backend_pid()", &[]).await.map(|r| r.get(0)).map_err(sql)
    };
    let own = pid(first).await?;
    for _ in 0..4 {
        second.batch_execute("BEGIN").await.map_err(sql)?;
        let other = pid(&second).await?;
        let again = pid(first).await?;
        second.batch_execute("COMMIT").await.map_err(sql)?;
        if other == own || again != own || !session.is_kept(first).await? {
            return Err(refused(
                "the connection to PostgreSQL changes between transactions: a pooler in transaction mode is in between. Connect \
                 directly, or use its session mode"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

/// Keeps other processes from migrating at the same time.
struct Lock {
    key: i64,
}

impl Lock {
    /// Tries again and again: a statement that waits inside the server would hold a snapshot, for which `CREATE INDEX CONCURRENTLY`
    /// of the other process would wait.
    async fn take(client: &Client, schema: &str) -> Result<Self> {
        // FNV-1a of the schema's name: several schemas of one database are independent.
        let hash = schema.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let key = i64::from_ne_bytes(hash.to_ne_bytes());
        let begin = std::time::Instant::now();
        let mut announced = false;
        loop {
            let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await.map_err(sql)?;
            if row.get(0) {
                return Ok(Self { key });
            }
            if begin.elapsed() > MIGRATION_WAIT {
                return Err(Error::new(ErrorKind::DatabaseUnavailable, "another process is still migrating the index"));
            }
            if !announced && begin.elapsed() > Duration::from_secs(2) {
                tracing::info!("waiting for another process that prepares the index");
                announced = true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn release(self, client: &Client) -> Result<()> {
        client.query_one("SELECT pg_advisory_unlock($1)", &[&self.key]).await.map(|_| ()).map_err(sql)
    }
}

async fn migrate(client: &Client, session: &Session) -> Result<()> {
    let schema = session.quoted_schema();
    let exists: bool =
        client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("{schema}.schema_version")]).await.map_err(sql)?.get(0);
    let (number, compatible) = if exists {
        let row = client
            .query_one("SELECT coalesce(max(number), 0), coalesce(max(compatible), 0) FROM schema_version", &[])
            .await
            .map_err(sql)?;
        (row.get(0), row.get(1))
    } else {
        create_schema(client, session).await?;
        (0, 0)
    };
    let known = MIGRATIONS.last().map_or(0, |m| m.number);
    if compatible > known {
        return Err(refused(format!("the schema {schema} was migrated by a later version (schema {number})")));
    }
    for migration in MIGRATIONS.iter().filter(|m| m.number > number) {
        let Migration { number, compatible, statements } = migration;
        let script = format!(
            "BEGIN; {statements}
             INSERT INTO schema_version (number, compatible) VALUES ({number}, {compatible}); COMMIT;"
        );
        if let Err(error) = client.batch_execute(&script).await {
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(sql(error));
        }
    }
    functions::create(client).await?;
    trigrams::create(client).await
}

/// Creates the schema, unless the database is Orthanc's.
async fn create_schema(client: &Client, session: &Session) -> Result<()> {
    let orthanc: Option<String> = client
        .query_opt(
            "SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname IN ('resources', 'globalproperties') AND c.relkind IN ('r', 'p')
             GROUP BY n.nspname HAVING count(*) = 2 LIMIT 1",
            &[],
        )
        .await
        .map_err(sql)?
        .map(|r| r.get(0));
    if let Some(theirs) = orthanc {
        return Err(refused(format!(
            "the database holds an index of Orthanc (schema {theirs}); it was not touched. This version cannot adopt it: choose \
             another PostgreSQL.Database"
        )));
    }
    let schema = session.quoted_schema();
    client
        .batch_execute(&format!(
            "BEGIN; CREATE SCHEMA IF NOT EXISTS {schema};
             CREATE TABLE {schema}.schema_version (
                 number integer PRIMARY KEY,
                 compatible integer NOT NULL,
                 at timestamptz NOT NULL DEFAULT now()
             ); COMMIT;"
        ))
        .await
        .map_err(sql)
}
