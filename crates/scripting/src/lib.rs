//! Room `scripting`: Lua 5.4 behind `model::ports::Hooks`, in a sandbox without files, processes or native modules.
//!
//! There is one interpreter on one thread: globals that a script sets are there for the next one, as in Orthanc.
//! Start at [`Lua::start`].

mod sandbox;

use async_trait::async_trait;
use dataset::DataSet;
use model::ports::Hooks;
use model::ports::hooks::Verdict;
use model::{Error, ErrorKind, Origin, Result};
use tokio::sync::{mpsc, oneshot};

/// Scripts that may wait; more callers wait for room.
const QUEUE: usize = 64;

struct Job {
    script: String,
    answer: oneshot::Sender<Result<String>>,
}

/// The interpreter.
pub struct Lua {
    jobs: mpsc::Sender<Job>,
}

impl Lua {
    /// Starts the interpreter's thread.
    ///
    /// # Errors
    /// `Internal` if there can be no thread, `Script` if the sandbox cannot be made.
    pub fn start() -> Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let sandbox = sandbox::Sandbox::new()?;
        std::thread::Builder::new()
            .name("lua".into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    let _ = job.answer.send(sandbox.run(&job.script));
                }
            })
            .map_err(|e| Error::new(ErrorKind::Internal, "cannot start the interpreter").caused_by(e))?;
        Ok(Self { jobs })
    }
}

#[async_trait]
impl Hooks for Lua {
    /// Callbacks of stored instances come later: nothing is refused.
    async fn received_instance(&self, _: &DataSet, _: &Origin) -> Result<Verdict> {
        Ok(Verdict::Accept)
    }

    async fn execute(&self, script: String) -> Result<String> {
        let gone = || Error::new(ErrorKind::Internal, "the interpreter has stopped");
        let (answer, result) = oneshot::channel();
        self.jobs.send(Job { script, answer }).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}
