//! The states: made when all others are busy, so that no script waits for another one.

use crate::Setup;
use crate::callbacks::Callbacks;
use crate::state::State;
use model::ports::hooks::Definition;
use model::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Scripts that run at once, beside those that these call; more wait.
const MAX_STATES: usize = 16;
/// How long a script may wait for a state.
const PATIENCE: Duration = Duration::from_secs(30);
/// A script that calls the server, which calls a script, and so on.
const MAX_DEPTH: u8 = 4;

tokio::task_local! {
    /// How many scripts wait for what this task does.
    static DEPTH: u8;
}

/// Does what a script asks for. The callbacks that this calls get states of their own: they must not wait for that script.
pub(crate) async fn nested<T>(depth: u8, work: impl Future<Output = T>) -> T {
    DEPTH.scope(depth + 1, work).await
}

pub(crate) struct Pool {
    setup: Arc<Setup>,
    idle: Mutex<Vec<State>>,
    permits: Arc<Semaphore>,
    definitions: Mutex<Arc<Vec<Definition>>>,
    /// Rises with each [`Self::define`].
    generation: AtomicU64,
    /// The callbacks that are defined, as of a generation.
    defined: Mutex<Option<(u64, Callbacks)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(setup: Arc<Setup>) -> Arc<Self> {
        Arc::new(Self {
            setup,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_STATES)),
            definitions: Mutex::default(),
            generation: AtomicU64::new(0),
            defined: Mutex::default(),
        })
    }

    /// What scripts have defined while the servers run.
    pub(crate) fn define(&self, definitions: Vec<Definition>) {
        *lock(&self.definitions) = Arc::new(definitions);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// The callbacks that are defined.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn callbacks(self: &Arc<Self>) -> Result<Callbacks> {
        let generation = self.generation.load(Ordering::SeqCst);
        let known = *lock(&self.defined);
        if let Some((_, callbacks)) = known.filter(|(of, _)| *of == generation) {
            return Ok(callbacks);
        }
        let callbacks = self.run(|state, _| Ok(Callbacks::of(|name| state.function(name).is_some()))).await?;
        *lock(&self.defined) = Some((generation, callbacks));
        Ok(callbacks)
    }

    /// Works in a state that nobody else uses.
    ///
    /// # Errors
    /// `Busy` if there is none for long, `Script` if scripts call each other too deeply.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut State, u8) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let depth = DEPTH.try_with(|depth| *depth).unwrap_or(0);
        if depth > MAX_DEPTH {
            let message = format!("a script calls the server, which calls a script, and so on, more than {MAX_DEPTH} times");
            return Err(Error::new(ErrorKind::Script, message));
        }
        let permit = match depth {
            0 => {
                let permit = tokio::time::timeout(PATIENCE, self.permits.clone().acquire_owned()).await;
                Some(permit.map_err(|_| Error::new(ErrorKind::Busy, "too many scripts run at once"))?)
            }
            _ => None,
        };
        let pool = self.clone();
        let run = tokio::task::spawn_blocking(move || {
            let mut state = pool.take()?;
            state.catch_up(&lock(&pool.definitions).clone());
            let result = work(&mut state, depth);
            pool.give_back(state);
            drop(permit);
            result
        });
        run.await.map_err(|e| Error::new(ErrorKind::Internal, "a script hit a bug of the server").caused_by(e))?
    }

    fn take(&self) -> Result<State> {
        let idle = lock(&self.idle).pop();
        idle.map_or_else(|| State::new(self.setup.clone()), Ok)
    }

    fn give_back(&self, state: State) {
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_STATES {
            idle.push(state);
        }
    }
}
