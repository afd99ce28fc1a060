//! Room `scripting`: Lua 5.3 behind `model::ports::Hooks`, in sandboxes without files, processes or native modules.
//!
//! There are several states, so that no script waits for another one (`docs/decisions/0013-lua-states.md`). Start at [`Lua::new`],
//! then `pool`, `state`, and `api` with what scripts may call.

mod api;
mod callbacks;
mod filters;
mod json;
mod limits;
mod pool;
mod state;
#[cfg(test)]
mod tests;

pub use api::rest::{RestAnswer, RestApi, RestRequest};
pub use limits::Limits;

use async_trait::async_trait;
use dataset::{DataSet, Dictionary};
use engine::Engine;
use model::ports::hooks::{Definition, Destination, Executed, Incoming, IncomingHttp, Verdict};
use model::ports::{Hooks, HttpClient};
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// What every state is made from.
pub struct Setup {
    /// The scripts of the configuration with their names, in order (`LuaScripts`).
    pub scripts: Vec<(String, String)>,
    /// What `GetOrthancConfiguration` returns.
    pub configuration: Value,
    pub limits: Limits,
    /// The names of tags in what callbacks see.
    pub dictionary: Arc<Dictionary>,
    /// How scripts call other servers.
    pub http: Option<Arc<dyn HttpClient>>,
    /// What scripts call without a door; it is there once the engine is.
    pub engine: OnceLock<Arc<Engine>>,
    /// How scripts call the REST API; it is there once the API is.
    pub rest: OnceLock<RestApi>,
}

/// The interpreter.
pub struct Lua {
    setup: Arc<Setup>,
    pool: Arc<pool::Pool>,
}

/// What a script fails with: what the server answered it, if it did not catch that, keeps its kind if it may pass.
pub(crate) fn failed(error: &mlua::Error) -> Error {
    let passing = [ErrorKind::Busy, ErrorKind::DatabaseUnavailable];
    let kind = error.downcast_ref::<Error>().map(Error::kind).filter(|kind| passing.contains(kind));
    Error::new(kind.unwrap_or(ErrorKind::Script), error.to_string())
}

impl Lua {
    /// States are made as they are needed.
    pub fn new(setup: Setup) -> Self {
        let setup = Arc::new(setup);
        Self { pool: pool::Pool::new(setup.clone()), setup }
    }

    /// Lets scripts use the engine (only the first call counts), and makes the first state.
    ///
    /// # Errors
    /// `Script` if a script of the configuration fails.
    pub async fn start(&self, engine: Arc<Engine>) -> Result<()> {
        let _ = self.setup.engine.set(engine);
        let ignored = |state: &mut state::State, _| {
            Ok(callbacks::IGNORED.into_iter().filter(|name| state.function(name).is_some()).collect::<Vec<_>>())
        };
        for name in self.pool.run(ignored).await? {
            tracing::warn!(target: "lua", "a script defines {name}, which this version does not call");
        }
        Ok(())
    }

    /// Lets scripts call the REST API. Only the first call counts.
    pub fn attach(&self, rest: RestApi) {
        let _ = self.setup.rest.set(rest);
    }
}

#[async_trait]
impl Hooks for Lua {
    async fn received_instance(&self, incoming: &Incoming<'_>) -> Result<Verdict> {
        filters::received(&self.pool, &self.setup.dictionary, incoming).await
    }

    async fn outgoing_instance(&self, header: &DataSet, destination: Destination) -> Result<bool> {
        filters::outgoing(&self.pool, &self.setup.dictionary, header, destination).await
    }

    async fn incoming_http(&self, request: &(dyn Fn() -> IncomingHttp + Send + Sync)) -> Result<bool> {
        filters::http(&self.pool, request).await
    }

    async fn execute(&self, id: &str, script: String) -> Result<Executed> {
        let id = id.to_owned();
        let run = move |state: &mut state::State, depth| state.execute(&id, &script, depth);
        let (output, assigned) = self.pool.run(run).await?;
        Ok(Executed { output, assigned })
    }

    fn is_on(&self) -> bool {
        true
    }

    async fn callbacks(&self) -> Result<Vec<&'static str>> {
        Ok(self.pool.callbacks().await?.names())
    }

    async fn event(&self, callback: &str, arguments: Vec<Value>) -> Result<Vec<Value>> {
        let callback = callback.to_owned();
        self.pool.run(move |state, depth| state.event(&callback, &arguments, depth)).await
    }

    fn define(&self, definitions: Vec<Definition>) {
        self.pool.define(definitions);
    }
}
