//! Connections: how they are made, what each is told first, and the pool of them.

use super::error::{self, sql};
use super::tls::{Tls, TlsOptions};
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use model::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::Client;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection.
const WAIT: Duration = Duration::from_secs(15);

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Server {
    /// `postgresql://…`, or `key=value` pairs of libpq; also `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.
    Uri(String),
    Parts {
        host: String,
        port: u16,
        database: String,
        user: String,
        password: String,
        /// Encrypted, without a look at the server's certificate (Orthanc: `EnableSsl`).
        ssl: bool,
    },
}

/// What every connection is made with and told.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: Tls,
    pub(super) schema: String,
}

impl Session {
    /// # Errors
    /// `Database` for an URI that cannot be read, certificates that cannot, or a schema's name that PostgreSQL would cut.
    pub(super) fn new(server: &Server, schema: &str, application: &str) -> Result<Self> {
        let (mut config, options) = match server {
            Server::Uri(uri) => {
                let (options, rest) = TlsOptions::split(uri);
                let config = rest.parse().map_err(|e: tokio_postgres::Error| {
                    let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
                    Error::new(ErrorKind::Database, format!("PostgreSQL.ConnectionUri cannot be read: {cause}"))
                })?;
                (config, options)
            }
            Server::Parts { host, port, database, user, password, ssl } => {
                let mut config = tokio_postgres::Config::new();
                config.host(if host.is_empty() { "localhost" } else { host }).port(*port);
                if !database.is_empty() {
                    config.dbname(database);
                }
                if !user.is_empty() {
                    config.user(user);
                }
                if !password.is_empty() {
                    config.password(password);
                }
                (config, TlsOptions::enabled(*ssl))
            }
        };
        if schema.is_empty() || schema.len() > 63 || schema.contains('\0') {
            return Err(Error::new(ErrorKind::Database, "the name of a schema has 1 to 63 bytes (PostgreSQL.Schema)"));
        }
        let (tls, mode) = Tls::new(&options)?;
        config
            .ssl_mode(mode)
            .application_name(if application.is_empty() { "pleiad" } else { application })
            .connect_timeout(CONNECT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30));
        Ok(Self { config, tls, schema: schema.to_owned() })
    }

    pub(super) fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// The settings of a connection. Plans are made once for each statement and do not depend on its values, tables are joined in the
    /// order in which a statement names them, by index, and nothing waits for ever.
    pub(super) async fn prepare(&self, client: &Client) -> std::result::Result<(), tokio_postgres::Error> {
        let schema = self.quoted_schema();
        client
            .batch_execute(&format!(
                "SET search_path TO {schema}; SET plan_cache_mode TO force_generic_plan; SET join_collapse_limit TO 1;
                 SET from_collapse_limit TO 1; SET enable_hashjoin TO off; SET enable_mergejoin TO off; SET jit TO off; SET enable_seqscan TO off;
                 SET max_parallel_workers_per_gather TO 0; SET default_transaction_isolation TO 'read committed';
                 SET lock_timeout TO '30s'; SET idle_in_transaction_session_timeout TO '30s'; SET TimeZone TO 'UTC'"
            ))
            .await
    }

    /// Whether the settings of [`Self::prepare`] are still those of the connection.
    pub(super) async fn is_kept(&self, client: &Client) -> Result<bool> {
        let row = client.query_one("SELECT current_setting('plan_cache_mode')", &[]).await.map_err(sql)?;
        Ok(row.get::<_, String>(0) == "force_generic_plan")
    }

    /// A pool of at most `connections`, made when they are needed.
    pub(super) fn pool(&self, connections: usize) -> Result<Pool> {
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let session = self.clone();
        Pool::builder(manager)
            .max_size(connections.max(2))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(WAIT), create: Some(CONNECT * 2), recycle: Some(CONNECT) })
            // The connection used last knows the statements best.
            .queue_mode(deadpool_postgres::QueueMode::Lifo)
            .post_create(Hook::async_fn(move |client, _| {
                let session = session.clone();
                Box::pin(async move { session.prepare(client).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|e| Error::new(ErrorKind::Internal, "no pool of connections").caused_by(e))
    }
}

/// A connection of the pool.
///
/// # Errors
/// `DatabaseUnavailable`.
pub(super) async fn get(pool: &Pool) -> Result<Object> {
    pool.get().await.map_err(error::pool)
}
