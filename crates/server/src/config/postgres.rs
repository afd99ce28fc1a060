//! Whether the index is in PostgreSQL, and where: the section `PostgreSQL`.

use super::Settings;
use super::orthanc::Errors;
use index::postgres::{PostgresConfig, SCHEMA, Server};
use std::time::Duration;

/// The index of the section, if it is enabled.
pub(super) fn postgres(settings: &Settings, errors: &mut Errors) -> Option<PostgresConfig> {
    if settings.flag("PostgreSQL.EnableStorage") {
        let message = "files are not kept in the database; use StorageDirectory or AwsS3Storage";
        errors.take("PostgreSQL.EnableStorage", Err::<(), _>(message));
    }
    if !settings.flag("PostgreSQL.EnableIndex") {
        return None;
    }
    let text = |name: &str| settings.text(name).to_owned();
    let uri = text("PostgreSQL.ConnectionUri");
    let server = if uri.is_empty() {
        let host = text("PostgreSQL.Host");
        if host.is_empty() {
            errors.take("PostgreSQL.Host", Err::<(), _>("is required, or PostgreSQL.ConnectionUri"));
        }
        Server::Parts {
            host,
            port: settings.port("PostgreSQL.Port"),
            database: text("PostgreSQL.Database"),
            user: text("PostgreSQL.Username"),
            password: text("PostgreSQL.Password"),
            ssl: settings.flag("PostgreSQL.EnableSsl"),
        }
    } else {
        Server::Uri(uri)
    };
    // `public` is the default of Orthanc, whose tables may be there: ours have a schema of their own.
    let schema = match settings.text("PostgreSQL.Schema") {
        "" | "public" => SCHEMA,
        other => other,
    };
    Some(PostgresConfig {
        server,
        schema: schema.to_owned(),
        connections: usize::try_from(settings.integer("PostgreSQL.IndexConnectionsCount")).unwrap_or(usize::MAX).max(2),
        application_name: text("PostgreSQL.ApplicationName"),
        retries: u32::try_from(settings.integer("PostgreSQL.MaximumConnectionRetries")).unwrap_or(u32::MAX),
        retry_interval: Duration::from_secs(settings.integer("PostgreSQL.ConnectionRetryInterval")),
        stable_age: Duration::from_secs(settings.integer("StableAge")),
    })
}
