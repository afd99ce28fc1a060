//! Plugs databases, storage areas, scripts and the HTTP client into the engine: the only place that knows all of them.

use crate::config::orthanc::Config;
use anyhow::{Context, bail};
use client::Client;
use engine::{Engine, Parts};
use index::{postgres, sqlite};
use model::ports::hooks::NoHooks;
use model::ports::{Hooks, HttpClient, Index};
use scripting::{Lua, RestAnswer, RestRequest};
use std::path::Path;
use std::sync::Arc;

/// The file of the SQLite index, in `IndexDirectory`.
const INDEX_FILE: &str = "pleiad.sqlite";

/// Opens what is configured. The interpreter comes along, if there is one.
///
/// # Errors
/// What cannot be opened, with the option that names it.
pub async fn engine(config: &mut Config) -> anyhow::Result<(Arc<Engine>, Option<Arc<Lua>>)> {
    if config.postgres.is_none() {
        refuse_orthancs_index(&config.index)?;
    }
    let storage = storage::open(config.storage.clone()).await.context("cannot open the storage area")?;
    let index = index(config).await.context("cannot open the index")?;
    let http: Arc<dyn HttpClient> = Arc::new(Client::new(&config.client)?);
    let lua = lua(config, &http);
    let hooks: Arc<dyn Hooks> = lua.clone().map_or_else(|| Arc::new(NoHooks) as _, |lua| lua as _);
    let parts = Parts { index, storage, hooks, http, config: config.engine.clone() };
    let engine = Arc::new(Engine::new(parts));
    if let Some(lua) = &lua {
        lua.start(engine.clone()).await.context("a script of LuaScripts fails")?;
    }
    Ok((engine, lua))
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

/// Lua, if there are scripts, or may be.
fn lua(config: &mut Config, http: &Arc<dyn HttpClient>) -> Option<Arc<Lua>> {
    let setup = config.scripts.take()?;
    Some(Arc::new(Lua::new(scripting::Setup { http: Some(http.clone()), ..setup })))
}

/// Scripts call the routes of the API without a network.
pub fn attach(lua: &Lua, router: axum::Router) {
    let door = web::InsideDoor::new(router);
    lua.attach(Box::new(move |request, max_bytes| {
        let door = door.clone();
        Box::pin(async move {
            let RestRequest { method, uri, headers, body } = request;
            let (status, body) = door.answer(method, &uri, headers, body, max_bytes).await?;
            Ok(RestAnswer { status, body })
        })
    }));
}
