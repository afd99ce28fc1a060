//! Plugs databases, storage areas, scripts and the HTTP client into the engine: the only place that knows all of them.

use crate::config::orthanc::Config;
use anyhow::{Context, bail};
use client::Client;
use engine::{Engine, Parts};
use index::{postgres, sqlite};
use model::ports::hooks::NoHooks;
use model::ports::{Hooks, HttpClient, Index};
use std::path::Path;
use std::sync::Arc;

/// The file of the SQLite index, in `IndexDirectory`.
const INDEX_FILE: &str = "pleiad.sqlite";

/// Opens what is configured.
///
/// # Errors
/// What cannot be opened, with the option that names it.
pub async fn engine(config: &Config) -> anyhow::Result<Arc<Engine>> {
    if config.postgres.is_none() {
        refuse_orthancs_index(&config.index)?;
    }
    let storage = storage::open(config.storage.clone()).await.context("cannot open the storage area")?;
    let index = index(config).await.context("cannot open the index")?;
    let http: Arc<dyn HttpClient> = Arc::new(Client::new(&config.client)?);
    let parts = Parts { index, storage, hooks: hooks(config)?, http, config: config.engine.clone() };
    Ok(Arc::new(Engine::new(parts)))
}

/// Orthanc's SQLite index is a file named `index`. It is never touched: its instances would be lost for Orthanc and for us.
fn refuse_orthancs_index(folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("index");
    if file.exists() {
        bail!(
            "{} is an index of Orthanc. This version cannot adopt it; choose another StorageDirectory (and IndexDirectory)",
            file.display()
        );
    }
    Ok(())
}

/// Opens the index, and makes it if it does not exist.
async fn index(config: &Config) -> anyhow::Result<Arc<dyn Index>> {
    if let Some(config) = &config.postgres {
        return postgres::open(config).await.context("the options of PostgreSQL name a database that cannot be used");
    }
    let (folder, stable_age) = (config.index.clone(), config.stable_age);
    let open = move || {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {} (IndexDirectory)", folder.display()))?;
        let options = sqlite::Options { stable_age, ..sqlite::Options::default() };
        anyhow::Ok(sqlite::open(&folder.join(INDEX_FILE), options)?)
    };
    tokio::task::spawn_blocking(open).await?
}

/// Lua, if scripts are allowed.
fn hooks(config: &Config) -> anyhow::Result<Arc<dyn Hooks>> {
    if config.scripts { Ok(Arc::new(scripting::Lua::start()?)) } else { Ok(Arc::new(NoHooks)) }
}
